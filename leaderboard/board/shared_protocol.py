"""What runs of one table have in common: mixed protocols are refused by name."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prunebench.errors import InputError, spelled
from prunebench.leaderboard.board.collect import REFERENCE_TRAINED, Run
from prunebench.leaderboard.board.designs import Design
from prunebench.leaderboard.filters import named_value, shown
from prunebench.record import (
    OPENSET,
    canonical,
    content_key,
    corruption_name,
    first_difference,
    noise_name,
)

_LONGEST = 40
#: Parts of a setting beside its noise.
_BESIDE = ("imbalance", "corrupt")


@dataclass(frozen=True)
class SharedProtocol:
    """What all runs of one design share.

    Attributes:
        board: Label of the design.
        dataset_version: Version of the data set.
        schema: Version of the specification.
        budget: ``samples``, ``paper`` or ``epochs``.
        recipe, criterion, reference, validation: As in the specification.
        test_size: Test samples; None where no record holds it.
        fewer_tested: Test samples of settings under which classes leave the task.
        precision: How cards computed; empty where no run comes from one.
    """

    board: str
    dataset_version: str
    schema: int
    budget: str
    recipe: dict[str, Any]
    criterion: dict[str, Any]
    reference: dict[str, Any]
    validation: dict[str, Any]
    test_size: int | None
    precision: str = ""
    fewer_tested: tuple[int, ...] = ()

    @property
    def recipe_text(self) -> str:
        """Name and version of the recipe, its main fields, a hash of all of them, and the
        precision of runs from cards."""
        shown = ("model", "epochs", "batch_size")
        fields = [f"{name} {self.recipe[name]}" for name in shown if name in self.recipe]
        name = f"{self.recipe.get('name', '?')} v{self.recipe.get('version', '?')}"
        text = f"{name} ({', '.join([*fields, f'hash {content_key(self.recipe)[:8]}'])})"
        return f"{text}, on cards in {self.precision}" if self.precision else text


def check_design(design: Design) -> SharedProtocol:
    """The protocol of a design, once its runs agree in what no table may mix.

    The version of the specification and the test set are one per design (and one per noise that
    takes classes out of the task), versions one per method, the noise rule one per setting, and the
    noisy labels one per (setting, seed); ``full+reference`` and ``infobatch+reference`` may carry
    other labels, for they train on the reference.

    Raises:
        InputError: Two values where there must be one, both named, with a filter that
            keeps one of them.
    """
    runs, label = design.runs, design.label
    _one(runs, label, "spec schema", "schema", lambda r: {}, lambda r: r.record.spec.get("schema"))
    _one(runs, label, "version", "method.version", lambda r: {"method": r.method},
         lambda r: r.record.spec["method"].get("version"))  # fmt: skip
    _one(runs, label, "test size", "info.test_size", _classes_left, _info("test_size"))
    named = _settings(runs)
    _one(runs, label, "noise rule", "noise", named, _noise)
    for part in _BESIDE:
        _one(runs, label, part, part, named, _spec(part))
    labelled = [r for r in runs if r.method not in REFERENCE_TRAINED]
    _one(labelled, label, "label digest", "info.label_digest",
         lambda r: {**named(r), "seed": r.seed}, _info("label_digest"))  # fmt: skip
    own = [run for run in runs if not run.carried] or list(runs)
    spec = own[0].record.spec
    sizes = sorted({s for s in map(_info("test_size"), runs) if s is not None})
    return SharedProtocol(
        board=label,
        dataset_version=str(spec["dataset"].get("version", "?")),
        schema=spec.get("schema", 0),
        budget=str(spec.get("budget", "samples")),
        recipe=spec.get("recipe") or {},
        criterion=spec.get("criterion") or {},
        reference=spec.get("reference") or {},
        validation=spec.get("validation") or {},
        test_size=sizes[-1] if sizes else None,
        precision=_precision(runs),
        fewer_tested=tuple(sizes[:-1]),
    )


def _precision(runs: Iterable[Run]) -> str:
    """The recipe's precision and what was rounded to TF32, with counts where that differs."""
    said: Counter[str] = Counter()
    for run in runs:
        environment = run.record.environment
        if not str(environment.get("device")).startswith("cuda"):
            continue
        rounded = spelled(str(environment.get("tf32", ""))[:_LONGEST])
        where = f"for {rounded}" if rounded else "not recorded"
        recipe = run.record.spec.get("recipe") or {}
        said[f"{recipe.get('precision', 'fp32')} (TF32 {where})"] += 1
    counted = [f"{text} in {count} runs" for text, count in sorted(said.items())]
    return ", ".join(counted) if len(said) > 1 else "".join(said)


def _one(
    runs: Iterable[Run],
    label: str,
    what: str,
    field: str,
    group: Callable[[Run], Mapping[str, Any]],
    value: Callable[[Run], Any],
) -> None:
    """Refuses two values within a group, whose names are those of the filters that pick it."""
    first: dict[Hashable, tuple[Run, Any]] = {}
    for run in runs:
        mine = value(run)
        if mine is None:
            continue
        picked = group(run)
        other, theirs = first.setdefault(tuple(picked.values()), (run, mine))
        found = first_difference(theirs, mine)
        if found is None:
            continue
        path, a, b = found
        path = f".{path}" if path else ""
        values = " and ".join(sorted((_show(a), _show(b))))
        scope = ", ".join([label, *(f"{name} {item}" for name, item in picked.items())])
        flags = [f"--{name} {shlex.quote(str(item))}" for name, item in picked.items()]
        flags.append(f"--where {shlex.quote(f'{field}{path}={shown(a)}')}")
        raise InputError(
            f"{what}{path} {values} mixed in {scope} (records {other.record.key}, "
            f"{run.record.key})",
            where="leaderboard",
            accepted="one value; leave some out with filters (--method, --noise, --seed, --where, "
            f"...), or move some aside: prunebench drop RESULTS {' '.join(flags)}",
        )


def _show(value: Any) -> str:
    return repr(value) if isinstance(value, str) else canonical(value)


def _settings(runs: Iterable[Run]) -> Callable[[Run], Mapping[str, Any]]:
    """What names the setting of a run, as filters take it: its noise, and of imbalance and
    corruption what some run has."""
    fields = ("noise", *(name for name in _BESIDE if any(r.record.spec.get(name) for r in runs)))

    def names(run: Run) -> Mapping[str, Any]:
        found = {name: named_value(run.record, name) for name in fields}
        found["noise"] = noise_name(run.record.spec["noise"])
        if corrupt := run.record.spec.get("corrupt"):
            found["corrupt"] = corruption_name(corrupt)
        return found

    known = {id(run): names(run) for run in runs}
    return lambda run: known[id(run)]


def _classes_left(run: Run) -> Mapping[str, Any]:
    """The noise, where its images come from classes that leave the task and its test set."""
    noise = run.record.spec["noise"]
    leave = noise.get("rule") == OPENSET and not isinstance(noise.get("outside"), Mapping)
    return {"noise": noise_name(noise)} if leave else {}


def _noise(run: Run) -> Any:
    return {name: value for name, value in run.record.spec["noise"].items() if name != "name"}


def _spec(name: str) -> Callable[[Run], Any]:
    return lambda run: run.record.spec.get(name)


def _info(name: str) -> Callable[[Run], Any]:
    return lambda run: run.record.info.get(name)
