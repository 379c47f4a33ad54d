"""Which code runs here, as a digest; light enough for processes without torch."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

import prunebench


@cache
def source_digest(root: Path | None = None) -> str:
    """12 hex digits over the package's source files and their places; a warning when it differs,
    no key.

    Args:
        root: Folder of the package; None for the installed one.
    """
    root = Path(prunebench.__file__).parent if root is None else root
    digest = hashlib.sha256()
    # A checkout links the four folders; Path.rglob follows links from Python 3.13 on only.
    found = [Path(folder, name) for folder, _, names in os.walk(root, followlinks=True)
             for name in names if name.endswith(".py")]  # fmt: skip
    for path in sorted(found, key=lambda path: path.relative_to(root).as_posix()):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
