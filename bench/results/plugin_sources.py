"""Plug-ins that a run uses, and records that an earlier source of them made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prunebench.leaderboard.board.mixed_sources import Part, edited_lines, parts_of, sources
from prunebench.origins import origin
from prunebench.record import Record
from prunebench.registry import (
    CRITERIA,
    DATASETS,
    METHODS,
    MODELS,
    SAMPLERS,
    Entry,
    UnknownName,
    plugin_module,
)

_REGISTRIES = {
    "method": METHODS,
    "sampler": SAMPLERS,
    "dataset": DATASETS,
    "criterion": CRITERIA,
    "model": MODELS,
    "scoring model": MODELS,
    "outside": DATASETS,
}


def _registered(spec: Mapping[str, Any]) -> dict[str, Entry[Any]]:
    """Registered objects that a specification uses, by kind."""
    found = {}
    for kind, part in parts_of(spec).items():
        try:
            found[kind] = _REGISTRIES[kind].get(part.name)
        except UnknownName:
            continue
    return found


def _entries(spec: Mapping[str, Any]) -> dict[str, Entry[Any]]:
    """Those of them that come from others."""
    return {kind: e for kind, e in _registered(spec).items() if origin(e.module)}


def kinds_of(spec: Mapping[str, Any]) -> dict[str, bool]:
    """The kinds of parts that a specification has; whether one is here and is prunebench's own."""
    there = _registered(spec)
    return {kind: kind in there and not origin(there[kind].module) for kind in parts_of(spec)}


def plugin_sources(spec: Mapping[str, Any]) -> dict[str, str]:
    """File or package, and digest, of every plug-in that a run uses, by kind; for its record."""
    return {kind: origin(entry.module) for kind, entry in _entries(spec).items()}


def plugin_files(spec: Mapping[str, Any], given: Sequence[str | Path]) -> list[str]:
    """Those of some ``--plugin`` files that a run uses.

    Args:
        spec: Of the run.
        given: Files that are loaded.
    """
    modules = {entry.module for entry in _entries(spec).values()}
    return [str(path) for path in given if plugin_module(path) in modules]


def is_any_loaded() -> bool:
    """Whether anything registered comes from others."""
    return any(origin(entry.module) for one in _REGISTRIES.values() for entry in one)


def edited(records: Iterable[Record]) -> list[str]:
    """One line for each loaded plug-in whose source is not the one that made records.

    The registries are loaded only where a record names a plug-in.
    """
    named = [record for record in records if any(sources(record).values())]
    now: dict[Part, str] = {}
    for record in named:
        current = plugin_sources(record.spec)
        now |= {part: current[kind] for kind, part in parts_of(record.spec).items()
                if kind in current}  # fmt: skip
    return edited_lines(named, now)
