"""What may stand in one leaderboard: mixed protocols are refused by name."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from prunebench.errors import InputError
from prunebench.leaderboard.aggregate import FULL, WITH_REFERENCE, Run
from prunebench.leaderboard.tuned import refuse_leaks
from prunebench.record import canonical, content_key


@dataclass(frozen=True)
class Protocol:
    """What all runs of one data set and criterion share.

    Attributes:
        board: Data set, with the criterion where it is not cross-entropy.
        dataset_version: Version of the data set.
        schema: Version of the specification.
        budget: ``samples``, ``paper`` or ``epochs``.
        recipe, criterion, reference, validation: As in the specification.
        test_size: Test samples; None where no record tells.
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

    @property
    def recipe_text(self) -> str:
        """Name and version of the recipe, its main fields, and a hash of all of them."""
        shown = ("model", "epochs", "batch_size")
        fields = [f"{name} {self.recipe[name]}" for name in shown if name in self.recipe]
        name = f"{self.recipe.get('name', '?')} v{self.recipe.get('version', '?')}"
        return f"{name} ({', '.join([*fields, f'hash {content_key(self.recipe)[:8]}'])})"


def protocols(runs: Iterable[Run]) -> dict[str, Protocol]:
    """The protocol of each board.

    Budgets and versions of specification and methods are one per board; data set, recipe,
    criterion, reference, validation and test set one per data set; the noise rule one per
    (data set, noise), and the noisy labels one per (data set, noise, seed). Full training may
    carry another budget (at ratio 0 all budgets agree), and ``full+reference`` other labels
    and another reference mode, for it trains on the reference.

    Raises:
        InputError: Two values where there must be one, both named; or tuned options whose study
            saw what is reported.
    """
    runs = tuple(runs)
    refuse_leaks(runs)
    _one(runs, "spec schema", lambda r: "", lambda r: r.record.spec.get("schema"))
    _one(runs, "budget", lambda r: "", _budget)
    _one(
        runs,
        "version",
        lambda r: f"method {r.method}",
        lambda r: r.record.spec["method"].get("version"),
    )
    for name in ("dataset", "recipe", "criterion", "validation"):
        _one(runs, name, lambda r: f"data set {r.board}", _field(name))
    _one(runs, "reference", lambda r: f"data set {r.board}", _reference)
    _one(runs, "test size", lambda r: f"data set {r.board}", _info("test_size"))
    _one(runs, "noise rule", lambda r: f"data set {r.board}, {r.noise}", _noise)
    _one(
        [r for r in runs if r.method != WITH_REFERENCE],
        "label digest",
        lambda r: f"data set {r.board}, {r.noise}, seed {r.seed}",
        _info("label_digest"),
    )
    found: dict[str, Protocol] = {}
    for board in sorted({run.board for run in runs}):
        own = [run for run in runs if run.board == board]
        spec = own[0].record.spec
        budgets = [b for b in map(_budget, runs) if b is not None]
        sizes = [s for s in map(_info("test_size"), own) if s is not None]
        references = [s for s in map(_reference, own) if s is not None]
        found[board] = Protocol(
            board=board,
            dataset_version=str(spec["dataset"].get("version", "?")),
            schema=spec.get("schema", 0),
            budget=budgets[0] if budgets else str(spec.get("budget", "samples")),
            recipe=spec.get("recipe") or {},
            criterion=spec.get("criterion") or {},
            reference=(references[0] if references else spec.get("reference")) or {},
            validation=spec.get("validation") or {},
            test_size=sizes[0] if sizes else None,
        )
    return found


def _one(
    runs: Iterable[Run], what: str, group: Callable[[Run], Hashable], value: Callable[[Run], Any]
) -> None:
    first: dict[Hashable, tuple[Run, Any]] = {}
    for run in runs:
        mine = value(run)
        if mine is None:
            continue
        other, theirs = first.setdefault(group(run), (run, mine))
        if mine == theirs:
            continue
        path, (a, b) = _difference(theirs, mine)
        shown = " and ".join(sorted((_show(a), _show(b))))
        scope = f" in {group(run)}" if group(run) else ""
        raise InputError(
            f"{what}{path} {shown} mixed{scope} (records {other.record.key}, {run.record.key})",
            where="leaderboard",
            accepted="one value; filter the records or build a board for each",
        )


def _difference(a: Any, b: Any) -> tuple[str, tuple[Any, Any]]:
    """Path and values of the first difference inside nested mappings."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted(a.keys() | b.keys()):
            if a.get(name) != b.get(name):
                path, values = _difference(a.get(name), b.get(name))
                return f".{name}{path}", values
    return "", (a, b)


def _show(value: Any) -> str:
    return repr(value) if isinstance(value, str) else canonical(value)


def _field(name: str) -> Callable[[Run], Any]:
    return lambda run: run.record.spec.get(name)


def _budget(run: Run) -> Any:
    exempt = run.method == FULL and run.ratio == 0
    return None if exempt else run.record.spec.get("budget")


def _reference(run: Run) -> Any:
    return None if run.method == WITH_REFERENCE else run.record.spec.get("reference")


def _noise(run: Run) -> Any:
    return {name: value for name, value in run.record.spec["noise"].items() if name != "name"}


def _info(name: str) -> Callable[[Run], Any]:
    return lambda run: run.record.info.get(name)
