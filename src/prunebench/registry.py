"""One registry per kind of plug-in: a decorator registers, a name finds.

Built-in entries are found by importing their package; third parties use entry points
(``prunebench.methods`` and so on) or ``--plugin file.py``. A broken third-party plug-in is
kept in ``problems`` and never hides the others.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from prunebench.errors import InputError, error_line, nearest
from prunebench.origins import keep_origin, origin

#: Endings of a method's name that put another score in place of its own, and what that is called;
#: reserved for that.
ALIGN, BLS = "+align", "+bls"
SUFFIXES = {ALIGN: "AlignPrune", BLS: "BLS"}

#: How the module names of plug-in files begin.
PLUGIN = "prunebench_plugin_"

T = TypeVar("T")


class UnknownName(InputError):
    """No entry of that name; the message holds the nearest names."""


class NameCollision(InputError):
    """Two different objects claim one name."""


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered object: its name, version (part of every key) and where it comes from."""

    name: str
    target: T
    version: int
    module: str


@dataclass(frozen=True)
class BrokenPlugin:
    """A plug-in that could not be loaded."""

    source: str
    error: str


class Registry(Generic[T]):
    """Names of one kind.

    Args:
        kind: Singular noun for messages, such as ``"method"``.
        package: Module whose import registers the built-in entries.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self.group = f"prunebench.{kind}s" if not kind.endswith("on") else "prunebench.criteria"
        self.problems: list[BrokenPlugin] = []
        self._entries: dict[str, Entry[T]] = {}
        self._loaded = False

    def register(self, name: str, *, version: int = 1) -> Callable[[T], T]:
        """Decorator that registers a class or function under ``name``.

        Args:
            name: Lower-case name, letters, digits, ``-``, ``.`` and ``+``; a final one of
                ``SUFFIXES`` and ``:`` are reserved.
            version: Raise it whenever results change; it is part of every run's key.

        Raises:
            InputError: The name is malformed.
            NameCollision: The name belongs to something else already.
        """
        known = all(c.islower() or c.isdigit() or c in "-._+" for c in name)
        if not name or not known or name.endswith(tuple(SUFFIXES)):
            raise InputError(
                f"{self.kind} name {name!r} is malformed",
                accepted="lower-case letters, digits, '-', '_', '.' and '+'; no final "
                + " or ".join(repr(suffix) for suffix in SUFFIXES),
            )

        def add(target: T) -> T:
            module = str(getattr(target, "__module__", "?"))
            if _importing and not module.startswith("prunebench."):
                module = _importing[-1]  # also what a plug-in imports from files beside it
            old = self._entries.get(name)
            if old is not None and old.target is not target:
                raise NameCollision(
                    f"{self.kind} name {name!r} is taken by {_home(old.module)}",
                    where=_home(module),
                )
            self._entries[name] = Entry(name, target, version, module)
            return target

        return add

    def get(self, name: str) -> Entry[T]:
        """Finds an entry.

        Raises:
            UnknownName: Nothing has that name.
        """
        if name not in self._entries:
            self.load()
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownName(
                f"unknown {self.kind} {name!r}", accepted=nearest(name, self._entries)
            ) from None

    def names(self) -> list[str]:
        """All names, sorted."""
        self.load()
        return sorted(self._entries)

    def __iter__(self) -> Iterator[Entry[T]]:
        return (self._entries[name] for name in self.names())

    def forget(self, module: str) -> None:
        """Drops the entries of a module that failed to import half-way."""
        self._entries = {n: e for n, e in self._entries.items() if e.module != module}

    def load(self) -> None:
        """Imports the built-in package and every installed entry point, once."""
        if self._loaded:
            return
        self._loaded = True
        importlib.import_module(self.package)
        for point in entry_points(group=self.group):
            try:
                point.load()
                origin(point.module)
            except Exception as error:
                source = f"{point.name} = {point.value}"
                self.problems.append(BrokenPlugin(source, error_line(error)))


def split_suffix(name: str) -> tuple[str, str]:
    """A method's name without its suffix, and the suffix of ``SUFFIXES`` or ""."""
    suffix = next((s for s in SUFFIXES if name.endswith(s)), "")
    return name.removesuffix(suffix), suffix


def own_scored(label: str) -> str:
    """The label of the row whose method has its own score: ``seta (r=0.5)`` of
    ``seta+align (r=0.5)``; unchanged where it has."""
    suffix = next((s for s in SUFFIXES if s in label), "")
    return label.replace(suffix, "", 1)


def _home(module: str) -> str:
    """What a user knows a module by: a plug-in file's path, else the module's name."""
    loaded = sys.modules.get(module) if module.startswith(PLUGIN) else None
    return str(getattr(loaded, "__file__", None) or module)


METHODS: Registry[Any] = Registry("method", "prunebench.methods")
DATASETS: Registry[Any] = Registry("dataset", "prunebench.datasets")
MODELS: Registry[Any] = Registry("model", "prunebench.bench.networks.build")
RECIPES: Registry[Any] = Registry("recipe", "prunebench.bench.spec.recipes")
CRITERIA: Registry[Any] = Registry("criterion", "prunebench.methods")
SAMPLERS: Registry[Any] = Registry("sampler", "prunebench.methods")
REGISTRIES: tuple[Registry[Any], ...] = (METHODS, DATASETS, MODELS, RECIPES, CRITERIA, SAMPLERS)


#: Plug-in files that are being imported, innermost last.
_importing: list[str] = []


def plugin_module(path: str | Path) -> str:
    """Name under which a plug-in file is loaded."""
    file = Path(path).resolve()
    return f"{PLUGIN}{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"


def load_plugin(path: str | Path) -> None:
    """Imports a user's file so that its decorators run; a second call does nothing.

    Raises:
        InputError: The file is missing, fails to import, or claims a name that is taken.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise InputError(f"no such file: {path}", where="--plugin", accepted="a Python file")
    name = plugin_module(file)
    if name in sys.modules:
        return
    for registry in REGISTRIES:
        if registry.package == "prunebench.methods":
            registry.load()
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file", where="--plugin", accepted="a Python file")
    module = importlib.util.module_from_spec(spec)
    before = [*sys.modules]
    sys.modules[name] = module
    _importing.append(name)
    try:
        spec.loader.exec_module(module)
        keep_origin(name, before)
    except BaseException as error:
        del sys.modules[name]
        for registry in REGISTRIES:
            registry.forget(name)
        if isinstance(error, InputError) or not isinstance(error, Exception):
            raise
        raise InputError(
            f"the plug-in fails to import ({error_line(error)})", where=str(path)
        ) from error
    finally:
        _importing.pop()
