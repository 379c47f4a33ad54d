"""Designs: what all runs of one table share, named by what differs where a data set has several."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunebench.leaderboard.board.collect import FULL, WITH_REFERENCE, Run
from prunebench.leaderboard.filters import leaves, shown
from prunebench.record import DATA_NAME, OWN_CONTENT, Record, canonical, content_key

#: Fields of a specification that make a design.
FIELDS = ("dataset", "criterion", "recipe", "budget", "budget_share", "reference", "validation")
_EMPTY: tuple[Any, ...] = (None, {}, "")
_BUDGET = ("budget", "budget_share")
#: What designs differ in, in the order in which labels name it; further options in between.
_ORDER = ("dataset.kind", "dataset.params", "dataset.version", "dataset.identity", "criterion",
          "recipe.name", "recipe.model", "recipe.model_params", "recipe.epochs",
          "recipe.batch_size", "recipe.lr", "recipe", "budget", "budget_share", "reference",
          "validation")  # fmt: skip
#: Named wherever they differ; the others only where designs would share a label without them.
_ALWAYS = ("recipe.name", "recipe.model")
_WORDS = {
    "dataset.kind": "{}",
    "recipe.name": "{}", "recipe.model": "{}", "recipe.epochs": "{} epochs",
    "recipe.version": "recipe version {}", "dataset.version": "version {}",
    "dataset.identity": "content {}", "criterion.version": "criterion version {}",
    "reference.size": "reference {}", "reference.mode": "reference {}",
    "validation.size": "validation {}", "validation.labels": "validation labels {}",
}  # fmt: skip


@dataclass(frozen=True)
class Design:
    """Runs that may share a table.

    Attributes:
        label: Data set, the criterion where it is not cross-entropy, and what this design
            differs in from the others of both.
        base: The label without these words.
        content: Fields of the specification that the runs share; nulls are left out.
        runs: The runs, full training among them.
    """

    label: str
    base: str
    content: Mapping[str, Any]
    runs: tuple[Run, ...]

    @property
    def measured(self) -> bool:
        """Whether a run other than full training has an accuracy."""
        return any(run.accuracy is not None and not run.carried for run in self.runs)

    @property
    def frame(self) -> dict[str, Any]:
        """The content but for the recipe: what designs share that differ in recipe or network."""
        return _without(self.content, ("recipe",))


def content_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The design of a specification; fields that are null or empty count as absent."""
    return {name: value for name in FIELDS if (value := _full(spec.get(name))) not in _EMPTY}


def _full(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {k: v for k, item in value.items() if (v := _full(item)) not in _EMPTY}


def group_by_design(runs: Iterable[Run]) -> tuple[Design, ...]:
    """Sorts runs by design.

    Full training at ratio 0 is in the design of every budget, for at that ratio all budgets
    agree; ``full+reference``, which trains on the reference, in that of every reference where
    none is its own. Runs of full training that serve no other row (scoring runs, say) make
    designs of their own only where nothing else is there.

    Returns:
        The designs in order of label; a label is the data set's name alone, with the criterion
        where it is not cross-entropy, where these have one design.
    """
    found: dict[str, list[Run]] = defaultdict(list)
    contents: dict[str, dict[str, Any]] = {}
    carried: list[tuple[Run, dict[str, Any], str]] = []
    seen: dict[str, tuple[dict[str, Any], str]] = {}
    for run in runs:
        spec = run.record.spec
        # Far quicker than the canonical form, which equal records would make again and again.
        given = repr([spec.get(part) for part in FIELDS])
        if given not in seen:
            made = content_of(spec)
            seen[given] = made, canonical(made)
        content, name = seen[given]
        if run.carried:
            carried.append((run, content, name))
        else:
            contents.setdefault(name, content)
            found[name].append(run)
    measured = any(run.accuracy is not None for own in found.values() for run in own)
    fitting: dict[tuple[str, str], list[str]] = {}
    for run, content, name in carried:
        slot = run.method, name
        if slot not in fitting:
            fitting[slot] = _designs_of(run.method, content, contents)
            if not fitting[slot] and not measured:
                contents[name] = content
                fitting[slot] = [name]
        for fit in fitting[slot]:
            found[fit].append(run)
    contents = {name: _titled(content, found[name]) for name, content in contents.items()}
    labels = label_designs(contents)
    found_designs = [
        Design(labels[name], base_of(content), content, tuple(found[name]))
        for name, content in contents.items()
    ]
    return tuple(sorted(found_designs, key=lambda d: (d.base, _natural(d.label))))


def _titled(content: Mapping[str, Any], runs: Iterable[Run]) -> dict[str, Any]:
    return titled(content, (run.record for run in runs))


def titled(content: Mapping[str, Any], records: Iterable[Record]) -> dict[str, Any]:
    """A design with the data set as the user calls it: as most of its records do. The registered
    name stays as its kind, which tells apart two that are called alike."""
    counts = Counter(title for r in records if (title := r.info.get(DATA_NAME)))
    if not counts:
        return dict(content)
    dataset = content["dataset"]
    title = min(counts, key=lambda text: (-counts[text], text))
    return {**content, "dataset": {**dataset, "name": title, "kind": dataset["name"]}}


def _designs_of(
    method: str, content: Mapping[str, Any], contents: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    def agreeing(free: Sequence[str]) -> list[str]:
        wanted = _without(content, free)
        return [name for name, other in contents.items() if _without(other, free) == wanted]

    exact = agreeing(_BUDGET)
    return exact or (agreeing((*_BUDGET, "reference")) if method == WITH_REFERENCE else [])


def _without(content: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}


def spec_designs(
    specs: Iterable[Mapping[str, Any]], beside: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """The designs of evaluation runs by their canonical content; full training counts where its
    design has no other row.

    Args:
        specs: Specifications.
        beside: Further designs that full training may belong to.
    """
    found: dict[str, dict[str, Any]] = {}
    carried: list[tuple[str, dict[str, Any]]] = []
    for spec in specs:
        if spec.get("role", "eval") != "eval" or spec.get("replica", 0) != 0:
            continue
        if spec.get("part", "all") != "all":
            continue
        content, method = content_of(spec), str(spec["method"]["name"])
        if method in (FULL, WITH_REFERENCE) and spec["ratio"] == 0:
            carried.append((method, content))
        else:
            found.setdefault(canonical(content), content)
    rows = {**(beside or {}), **found}
    alone = [content for method, content in carried if not _designs_of(method, content, rows)]
    return found | {canonical(content): content for content in alone}


def base_of(content: Mapping[str, Any], words: Sequence[str] = ()) -> str:
    """Name of the data set, and of the criterion where it is not cross-entropy."""
    dataset = str(content["dataset"]["name"])
    if words:
        dataset = f"{dataset} ({', '.join(words)})"
    criterion = str(content.get("criterion", {}).get("name", "ce"))
    return dataset if criterion == "ce" else f"{dataset}, {criterion}"


def label_designs(contents: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A label for each design: the data set's, and words where several share it."""
    by_base: dict[str, list[str]] = defaultdict(list)
    for name, content in contents.items():
        by_base[base_of(content)].append(name)
    labels: dict[str, str] = {}
    for names in by_base.values():
        flat = {name: dict(leaves(contents[name])) for name in names}
        named = naming_fields(list(flat.values()))
        for name in names:
            data, rest = (
                [
                    words_of(path, flat[name].get(path))
                    for path in named
                    if path.startswith("dataset.") == wanted
                ]
                for wanted in (True, False)
            )
            labels[name] = ", ".join([base_of(contents[name], data), *rest])
    twice = {label for label, n in Counter(labels.values()).items() if n > 1}
    return {
        name: f"{label}, #{content_key(dict(contents[name]))[:8]}" if label in twice else label
        for name, label in labels.items()
    }


def naming_fields(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Paths in which designs differ, as few as needed to name them, network and recipe first."""
    paths = {path for own in flat for path in own}
    differing = [path for path in paths if len({canonical(own.get(path)) for own in flat}) > 1]
    chosen = [path for path in _ALWAYS if path in differing]
    wanted = len({canonical([own.get(path) for path in sorted(differing)]) for own in flat})
    parts = _parts(flat, chosen)
    for path in sorted(differing, key=order_of):
        if parts == wanted:
            break
        if path not in chosen and _parts(flat, [*chosen, path]) > parts:
            chosen.append(path)
            parts = _parts(flat, chosen)
    return sorted(chosen, key=order_of)


def _parts(flat: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> int:
    return len({canonical([own.get(path) for path in paths]) for own in flat})


def order_of(path: str) -> tuple[int, str]:
    """Sort key of a field: data, criterion, recipe and network, budget, held-out sets."""
    fits = [(len(start), i) for i, start in enumerate(_ORDER)
            if path == start or path.startswith(f"{start}.")]  # fmt: skip
    return (max(fits)[1] if fits else len(_ORDER)), path


def words_of(path: str, value: Any) -> str:
    """A field of a design as words: ``cnn``, ``5 epochs``, ``lr 0.1``."""
    text = shown(value)
    digest = re.fullmatch(rf"(?:{OWN_CONTENT})?([0-9a-f]{{32,}})(?::[0-9a-f]+)?", text)
    if digest:
        text = digest[1][:8]
    text = text if len(text) <= 40 else f"{text[:37]}..."
    plain = path.rpartition(".")[2].replace("_", " ") + " {}"
    return _WORDS.get(path, plain).format(text)


def _natural(label: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key in which 5 comes before 10."""
    parts = re.split(r"(\d+(?:\.\d+)?)", label)
    return tuple((0, float(p), p) if i % 2 else (1, 0.0, p) for i, p in enumerate(parts))
