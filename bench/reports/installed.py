"""Whether records of others are of what is installed here: versions, and sources of plug-ins."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prunebench.bench.results.plugin_sources import plugin_sources
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.errors import InputError, spelled
from prunebench.leaderboard.board.mixed_sources import FIELD
from prunebench.leaderboard.contributions.card import Card
from prunebench.leaderboard.contributions.folder import shortened
from prunebench.methods.compose import resolve_method
from prunebench.problems import first_problem
from prunebench.record import Record
from prunebench.registry import CRITERIA, DATASETS, Registry


def file_digests(files: Iterable[str | Path]) -> dict[str, str]:
    """SHA-256 of plug-in files by their names."""
    paths = [Path(file) for file in files]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def version_faults(records: Sequence[Record]) -> list[str]:
    """Records of another version than what is installed, a line for each kind of them; what is not
    installed here is left alone, if the records name the plug-in that it comes from."""
    counts: dict[str, list[str]] = defaultdict(list)
    for record in records:
        for line in _of_one(record):
            counts[line].append(record.key)
    return shortened([
        f"{line} ({len(keys)} records, {keys[0]} the first)" for line, keys in counts.items()
    ])  # fmt: skip


def _of_one(record: Record) -> list[str]:
    spec = record.spec
    try:
        RunSpec.model_validate(spec)
    except ValidationError as error:
        problem = first_problem(error, "specification", {"": RunSpec})
        return [f"the version of the specification is another one: {problem}"]
    named = sources_of(record)
    lines = []
    method = spec["method"]
    try:
        version = resolve_method(method["name"]).version
    except InputError:
        version = ""
        if not named.get("method"):
            lines.append(f"method {spelled(method['name'])}: nothing of that name comes with "
                         "prunebench, and the records name no plug-in")  # fmt: skip
    if version and version != method["version"]:
        lines.append(_other(f"method {method['name']}", method["version"], version))
    if version and "method" in named and "method" not in plugin_sources(spec):
        lines.append(f"method {method['name']} comes with prunebench, the records name the plug-in "
                     f"{spelled(named['method'])}")  # fmt: skip
    label = str(record.info.get("label") or "")
    if label and _names_another(label, method["name"]):
        lines.append(f"label {spelled(label)!r} of {spelled(method['name'])} is another method's")
    registries: tuple[tuple[str, Registry[Any]], ...]
    registries = ("dataset", DATASETS), ("criterion", CRITERIA)
    for kind, registry in registries:
        part = spec[kind]
        if part["name"] in registry.names():
            entry = registry.get(part["name"])
            own = str(entry.version if kind == "criterion" else entry.target.version)
            if own != part["version"]:
                lines.append(_other(f"{kind} {part['name']}", part["version"], own))
        elif not named.get(kind):
            lines.append(f"{kind} {spelled(part['name'])}: nothing of that name comes with "
                         "prunebench, and the records name no plug-in")  # fmt: skip
    return lines


def _names_another(label: str, method: str) -> bool:
    try:
        return resolve_method(label.partition(":")[0]).name != method
    except InputError:
        return False


def _other(what: str, recorded: str, installed: str) -> str:
    return f"version: {what} {spelled(recorded)}; accepted: {installed}, the one installed"


def sources_of(record: Record) -> Mapping[str, str]:
    """The sources of plug-ins that a record names, by kind."""
    found = record.environment.get(FIELD)
    named = found if isinstance(found, Mapping) else {}
    return {kind: text for kind, text in named.items() if isinstance(text, str) and text}


def edited_faults(records: Sequence[Record]) -> list[str]:
    """Records that another source of a loaded plug-in made, and records of plug-ins that are not
    loaded; for whoever hands them in."""
    lines: dict[str, int] = defaultdict(int)
    for record in records:
        now = plugin_sources(record.spec)
        for kind, source in sources_of(record).items():
            if kind not in now:
                lines[f"{kind} by the plug-in {spelled(source)}, which is not loaded; --plugin "
                      "FILE names it"] += 1  # fmt: skip
            elif now[kind] != source:
                lines[f"{kind} by the plug-in {spelled(source)}, which is {now[kind]} now: raise "
                      "its version and run it again"] += 1  # fmt: skip
    return [f"plug-in: {count} records of a {line}" for line, count in lines.items()]


def plugin_faults(card: Card, files: Iterable[str | Path]) -> list[str]:
    """Plug-in files that a maintainer gives and that are not those of a card.

    Args:
        card: Of the submission.
        files: The files.
    """
    wanted = {method.source.rpartition(" ")[0]: method.sha256 for method in card.methods
              if method.sha256}  # fmt: skip
    reasons = []
    for name, digest in file_digests(files).items():
        if name in wanted and wanted[name] != digest:
            reasons.append(f"--plugin {name}: its SHA-256 is {digest[:12]}..., the card says "
                           f"{wanted[name][:12]}...: another file made these records")  # fmt: skip
    return reasons
