"""Which source of a plug-in made a run, and which parts have runs by several sources."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prunebench.errors import spelled
from prunebench.record import Record
from prunebench.registry import split_suffix

#: Field of ``Record.environment``: kind -> file or package, and digest of its source.
FIELD = "plugins"
_LONGEST = 200
#: Kinds whose parts are of another kind in a second use.
_SAME = {"scoring model": "model", "outside": "dataset"}


@dataclass(frozen=True, order=True)
class Part:
    """A plug-in's method, data set, criterion or network as a specification names it."""

    kind: str
    name: str
    version: str = ""

    def __str__(self) -> str:
        version = f" (version {self.version})" if self.version else ""
        return spelled(f"{self.kind.replace('dataset', 'data set')} {self.name}{version}")

    @property
    def advice(self) -> str:
        """What to do where its source has changed."""
        what = "rename it" if self.kind == "model" else "raise version"
        return f"{what} or rerun"


def parts_of(spec: Mapping[str, Any]) -> dict[str, Part]:
    """The parts of a specification that a plug-in may bring, by kind: ``method``, ``sampler``,
    ``dataset``, ``criterion``, ``model``; and, where they are others, ``scoring model`` (of the
    scoring run) and ``outside`` (the data set that open-set noise takes its images from). (A
    recipe's content is part of the key itself.)

    The scorer of a suffix (``+align``, ``+bls``) counts with no method; the sampler of
    ``score@sampler`` is a part of its own.
    """
    given = {kind: _mapping(spec.get(kind)) for kind in ("method", "dataset", "criterion")}
    values = {kind: (v.get("name"), v.get("version", "")) for kind, v in given.items()}
    values["model"] = _mapping(spec.get("recipe")).get("model"), ""
    scoring = _mapping(spec.get("scoring_recipe")).get("model"), ""
    outside = _mapping(_mapping(spec.get("noise")).get("outside"))
    more = {"scoring model": scoring, "outside": (outside.get("name"), outside.get("version", ""))}
    values |= {kind: value for kind, value in more.items() if value[0] != values[_SAME[kind]][0]}
    found = {}
    for kind, (name, version) in values.items():
        if not (isinstance(name, str) and isinstance(version, str)):
            continue
        by = by_version = ""
        if kind == "method":
            name, _, by = name.partition("@")
            version, _, by_version = version.partition("@")
        if by:
            found["sampler"] = Part("sampler", by[:_LONGEST], by_version[:_LONGEST])
        base = version.partition("+")[0]
        found[kind] = Part(_SAME.get(kind, kind), split_suffix(name)[0][:_LONGEST], base[:_LONGEST])
    return found


def sources(record: Record) -> dict[Part, str]:
    """The source of each part, as the record names it; empty text where it names none."""
    named = _mapping(record.environment.get(FIELD))
    texts = {kind: text[:_LONGEST] for kind, text in named.items() if isinstance(text, str)}
    return {part: texts.get(kind, "") for kind, part in parts_of(record.spec).items()}


def mixed(records: Iterable[Record]) -> list[tuple[Part, dict[str, int]]]:
    """Parts of plug-ins whose runs were made by several sources: number of records by source.

    Records of earlier versions name no source; they count under an empty text, and make no
    mixture with one source alone.
    """
    counts: dict[Part, Counter[str]] = defaultdict(Counter)
    given = list(records)
    if not any(record.environment.get(FIELD) for record in given):
        return []
    for record in given:
        for part, source in sources(record).items():
            counts[part][source] += 1
    return [
        (part, dict(sorted(found.items())))
        for part, found in sorted(counts.items())
        if len(found.keys() - {""}) > 1
    ]


def mixed_lines(records: Iterable[Record]) -> list[str]:
    """One line for each of ``mixed``."""
    return [
        f"{part}: runs by several sources of the plug-in ("
        + ", ".join(f"{n} by {spelled(source) or 'one not recorded'}" for source, n in by.items())
        + f"): {part.advice}"
        for part, by in mixed(records)
    ]


def edited_lines(records: Iterable[Record], now: Mapping[Part, str]) -> list[str]:
    """One line for each part whose recorded source is not the one that is loaded.

    Args:
        records: Any records.
        now: The loaded source of parts, as ``sources`` names them.
    """
    found: dict[Part, Counter[str]] = defaultdict(Counter)
    for record in records:
        for part, source in sources(record).items():
            if source and now.get(part, source) != source:
                found[part][source] += 1
    return [
        f"{part}: "
        + ", ".join(f"{n} runs by {spelled(source)}" for source, n in sorted(by.items()))
        + f" are recorded, the plug-in is {now[part]} now: {part.advice}"
        for part, by in sorted(found.items())
    ]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
