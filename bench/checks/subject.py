"""The method or sampler under test: found by name, import path, class or file; built at will."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunebench.errors import InputError, error_line, nearest
from prunebench.methods.base import BatchPruner, DynamicPruner, Pruner, Sampler, StaticPruner
from prunebench.methods.compose import MethodInfo, join, list_methods, resolve_method
from prunebench.options import Option, resolve
from prunebench.registry import METHODS, SAMPLERS, Entry, Registry, UnknownName, load_plugin

Target = str | Path | type[Pruner] | type[Sampler]
ACCEPTED = (
    "the name of a method or sampler, base+align, base+bls, score@sampler, module:Class, a class, "
    "or file.py"
)
#: Scores that a sampler is checked with: hard end high and low, side high, low and window, evidence
#: of a snapshot and of all epochs.
SCORES = ("el2n", "margin", "moderate", "aum")


@dataclass(frozen=True)
class Subject:
    """A method and the options it is tested with."""

    info: MethodInfo
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The method's name, or its class's where it has none."""
        return self.info.name

    @property
    def shape(self) -> str:
        """``static``, ``batch`` or ``dynamic``, by base class."""
        for base, shape in ((StaticPruner, "static"), (BatchPruner, "batch")):
            if issubclass(self.info.target, base):
                return shape
        return "dynamic"

    @property
    def ratio(self) -> float:
        """A ratio that the method accepts."""
        return 0.0 if self.info.ratios == "zero" else 0.5

    def build(self, **params: Any) -> Pruner:
        """A fresh pruner; ``params`` go over the subject's own."""
        return self.info.build({**self.params, **params})

    def dynamic(self, **params: Any) -> DynamicPruner:
        """A fresh dynamic or batch-level pruner."""
        pruner = self.build(**params)
        assert isinstance(pruner, DynamicPruner)
        return pruner

    def static(self) -> StaticPruner:
        """A fresh static pruner."""
        pruner = self.build()
        assert isinstance(pruner, StaticPruner)
        return pruner


def find(target: Target, params: Mapping[str, Any] | None = None) -> list[Subject]:
    """The methods behind a target: several where a file registers several, and for a sampler its
    pairs with scores of several kinds.

    Raises:
        InputError: Nothing is there, it is no pruner, a file registers none, or an option does
            not exist.
    """
    found = []
    for info in _infos(target):
        given = {**info.fixed, **(params or {})}
        resolve(info.options, given, info.name)
        argument = info.target.argument
        if argument and not given.get(argument):
            raise InputError(f"{info.name!r} needs an argument", where="check",
                             accepted=f"{info.name}:{argument.upper()}")  # fmt: skip
        found.append(Subject(info, given))
    return found


def known_options(target: Target) -> dict[str, Option]:
    """Options of the methods behind a target.

    Raises:
        InputError: As ``find``.
    """
    return {name: option for info in _infos(target) for name, option in info.options.items()}


def _infos(target: Target) -> list[MethodInfo]:
    if isinstance(target, type):
        return _infos_of(target, target.__name__)
    text = str(target)
    if text.endswith(".py"):
        return _of_file(text)
    head, colon, attribute = text.partition(":")
    if colon and head.partition("@")[0] not in METHODS.names():
        return _imported(text, head, attribute)
    if text in SAMPLERS.names() and text not in METHODS.names():
        return _pairs(SAMPLERS.get(text).target)
    try:
        return [resolve_method(text)]
    except UnknownName as error:
        if "@" in text:
            raise InputError(error.what, where="check", accepted=error.accepted) from None
        known = [info.name for info in list_methods()] + SAMPLERS.names()
        raise InputError(
            f"unknown method {text!r}",
            where="check",
            accepted=f"{nearest(text, known)}; {ACCEPTED}",
        ) from None


def _pairs(sampler: type[Sampler]) -> list[MethodInfo]:
    """A sampler joined with scores of several kinds."""
    return [join(resolve_method(score), sampler) for score in SCORES]


def _infos_of(target: Any, where: str) -> list[MethodInfo]:
    """A class: a method, or a sampler with the scores that it is checked with."""
    if isinstance(target, type) and issubclass(target, Sampler):
        return _pairs(target)
    return [_info_of(target, where)]


def _info_of(target: Any, where: str) -> MethodInfo:
    if not (isinstance(target, type) and issubclass(target, (StaticPruner, DynamicPruner))):
        raise InputError(
            f"{target!r} is no pruner", where=where,
            accepted="a subclass of StaticPruner, DynamicPruner or Sampler",
        )  # fmt: skip
    name = target.__dict__.get("name") or target.__name__
    return MethodInfo(name, str(target.version), target, target.options, target.card)


def _imported(text: str, module: str, attribute: str) -> list[MethodInfo]:
    try:
        loaded = importlib.import_module(module)
    except Exception as error:
        raise InputError(
            f"cannot import {module!r} ({error_line(error)})", where="check", accepted=ACCEPTED
        ) from None
    try:
        found = getattr(loaded, attribute)
    except AttributeError:
        classes = [name for name, value in vars(loaded).items() if isinstance(value, type)]
        raise InputError(f"{module!r} has no {attribute!r}", where="check",
                         accepted=nearest(attribute, classes) or ACCEPTED) from None  # fmt: skip
    return _infos_of(found, text)


def _of_file(path: str) -> list[MethodInfo]:
    file = Path(path).resolve()
    if not file.is_file():
        raise InputError(f"no such file: {path}", where="check", accepted=ACCEPTED)
    METHODS.load()
    load_plugin(path)
    found = [resolve_method(entry.name) for entry in _entries_of(METHODS, file)]
    for entry in _entries_of(SAMPLERS, file):
        found += _pairs(entry.target)
    if not found:
        raise InputError(
            "the file registers no method and no sampler",
            where=path,
            accepted="classes under @register_method(NAME) or @register_sampler(NAME)",
        )
    return found


def _entries_of(registry: Registry[Any], file: Path) -> list[Entry[Any]]:
    return [
        entry
        for entry in registry
        if (module := sys.modules.get(entry.module)) is not None
        and getattr(module, "__file__", None) is not None
        and Path(str(module.__file__)).resolve() == file
    ]
