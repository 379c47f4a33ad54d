"""Where code of others comes from: a name and a digest of its source, taken when it is loaded."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

_KNOWN: dict[str, str] = {}


def origin(module: str) -> str:
    """File or package of a module and 12 hex digits over its source, such as ``mine.py 1f0c...``.

    A package counts with all its Python files. What was loaded stays what it was, whatever
    happens to the files afterwards. Empty for prunebench's own modules, and where there is no file.

    Args:
        module: Name of a loaded module.
    """
    if module not in _KNOWN:
        _KNOWN[module] = _found(module)
    return _KNOWN[module]


def keep_origin(module: str, before: Iterable[str]) -> None:
    """Takes the origin of a plug-in file that has just run, with what it imported beside itself.

    Args:
        module: Name under which it is loaded.
        before: Names of all modules that were loaded before it.
    """
    file = _file(module)
    if file is None:
        return
    others = [_file(name) for name in sys.modules.keys() - set(before) - {module}]
    beside = {path for path in others if path is not None and file.parent in path.parents}
    _KNOWN[module] = f"{file.name} {_digest(file.parent, [file, *beside])}"


def _found(module: str) -> str:
    parts = module.split(".")
    if parts[0] == "prunebench":
        return ""
    files = (_file(".".join(parts[: n + 1])) for n in range(len(parts)))
    file = next((path for path in files if path is not None), None)
    if file is None:
        return ""
    if file.name != "__init__.py":
        return f"{file.name} {_digest(file.parent, [file])}"
    return f"{file.parent.name} {_digest(file.parent, file.parent.rglob('*.py'))}"


def _file(module: str) -> Path | None:
    name = getattr(sys.modules.get(module), "__file__", None)
    return Path(name) if isinstance(name, str) and Path(name).is_file() else None


def _digest(root: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(set(files)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]
