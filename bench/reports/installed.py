"""Whether records of others are of what is installed here: versions, and sources of plug-ins."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prunebench.bench.results.plugin_sources import kinds_of, plugin_sources
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.errors import InputError, spelled
from prunebench.leaderboard.board.mixed_sources import FIELD, parts_of
from prunebench.leaderboard.contributions.card import Card
from prunebench.leaderboard.contributions.folder import shortened
from prunebench.methods.compose import resolve_method
from prunebench.options import resolve
from prunebench.problems import first_problem
from prunebench.record import Record
from prunebench.registry import CRITERIA, DATASETS, METHODS, Registry, plugin_module


def file_digests(files: Iterable[str | Path]) -> dict[str, str]:
    """SHA-256 of plug-in files by their names."""
    paths = [Path(file) for file in files]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def version_faults(records: Sequence[Record]) -> list[str]:
    """Records of another version than what is installed, a line for each kind of them; what is not
    installed here is left alone, if the records name the plug-in that it comes from."""
    return counted((line, record.key) for record in records for line in _of_one(record))


def counted(lines: Iterable[tuple[str, str]]) -> list[str]:
    """Each line once, with the number of the records that it is said of.

    Args:
        lines: Lines with keys of records.
    """
    counts: dict[str, list[str]] = defaultdict(list)
    for line, key in lines:
        counts[line].append(key)
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
    kinds = kinds_of(spec)
    for kind, source in named.items():
        if kind not in kinds:
            lines.append(f"plug-in {spelled(source)} of a {spelled(kind)}, which no specification "
                         "of them has")  # fmt: skip
        elif kinds[kind]:
            name = parts_of(spec)[kind].name
            lines.append(f"{kind} {spelled(name)} comes with prunebench, the records name the "
                         f"plug-in {spelled(source)}")  # fmt: skip
    lines += _odd_options(spec)
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


def _odd_options(spec: Mapping[str, Any]) -> list[str]:
    """Options of the data set and the criterion that they do not have, where they are here."""
    registries: tuple[tuple[str, Registry[Any]], ...]
    registries = ("dataset", DATASETS), ("criterion", CRITERIA)
    lines = []
    for kind, registry in registries:
        part = spec[kind]
        if part["name"] in registry.names():
            try:
                resolve(registry.get(part["name"]).target.options, part["params"], part["name"])
            except InputError as error:
                lines.append(f"{kind} {error}")
    return lines


def installed(records: Iterable[Record]) -> list[str]:
    """Names of the methods of some records that come with prunebench."""
    return sorted({r.spec["method"]["name"] for r in records if kinds_of(r.spec).get("method")})


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
    wanted = {method.sha256 for method in card.methods if method.sha256}
    by_name = {m.source.rpartition(" ")[0]: m.sha256 for m in card.methods if m.source}
    methods = {re.split("[@+]", method.name)[0] for method in card.methods}
    reasons = []
    for file in files:
        name, digest = Path(file).name, file_digests([file])[Path(file).name]
        offered = {entry.name for entry in METHODS if entry.module == plugin_module(file)}
        if digest in wanted or not (name in by_name or offered & methods):
            continue
        said = by_name.get(name) or next(iter(sorted(wanted)), "")
        reasons.append(f"--plugin {name}: its SHA-256 is {digest[:12]}..., the card says "
                       f"{said[:12] + '...' if said else 'none'}: another file made these records"
                       )  # fmt: skip
    return reasons
