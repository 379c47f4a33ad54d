"""A study as declared: what is tuned, on which seeds and split, within which budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from prunebench.bench.grids.grid_file import parse_seeds
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.bench.spec.run_spec import FIRST_TUNING_SEED, Validation
from prunebench.bench.train.task import load_raw, load_task
from prunebench.bench.tuning.space import Space, shortened, size, space_of
from prunebench.errors import InputError
from prunebench.methods.compose import MethodInfo, resolve_method
from prunebench.options import Value

#: Validation samples by default: a fifth of the training split, at most this many.
VALIDATION_LIMIT = 5000
#: Configurations that are run again on fresh seeds, besides the default.
FINALISTS = 3
#: Smallest group in which successive halving compares schedules.
_BRACKET = 8


@dataclass(frozen=True)
class Design:
    """Everything that decides a study's outcome.

    Attributes:
        fields: Arguments of ``resolve_cell``, without options of the method and seed.
        fixed: Options of the method that keep a given value.
        space: What is searched.
        seeds: Tuning seeds of every trial.
        fresh: Tuning seeds of the finalists.
        trials: Number of configurations.
        round: Configurations asked for at once.
        sampler_seed: Seed of the study.
        pareto: Two objectives: validation accuracy, and trained samples.
        fidelities: Shares of the recipe's epochs, ascending to 1.
    """

    fields: Mapping[str, Any]
    fixed: Mapping[str, Value]
    space: Space
    seeds: tuple[int, ...]
    fresh: tuple[int, ...]
    trials: int
    round: int
    sampler_seed: int
    pareto: bool = False
    fidelities: tuple[float, ...] = (1.0,)

    @cached_property
    def info(self) -> MethodInfo:
        """The method."""
        return resolve_method(self.fields["method"])

    @cached_property
    def base(self) -> Cell:
        """The cell of the defaults under the first seed."""
        return resolve_cell(**self.fields, params=dict(self.fixed), seed=self.seeds[0])

    @cached_property
    def content(self) -> dict[str, Any]:
        """The declaration as JSON values; a study can be continued under the same one only."""
        spec = {name: value for name, value in self.base.spec.content.items() if name != "seed"}
        return {
            "spec": spec,
            "space": [axis.content for axis in self.space],
            "seeds": list(self.seeds),
            "final_seeds": list(self.fresh),
            "trials": self.trials,
            "round": self.round,
            "sampler": {"name": "TPE", "seed": self.sampler_seed, "optuna": _optuna()},
            "pareto": self.pareto,
            "fidelities": list(self.fidelities),
        }

    @property
    def count(self) -> int:
        """Configurations that will be tried: a small finite space may hold fewer than asked."""
        return int(min(self.trials, size(self.space)))

    @property
    def block(self) -> int:
        """Configurations that are asked for before the next are: a round, or a bracket of
        successive halving."""
        if len(self.fidelities) == 1:
            return self.round
        least = max(self.round, _BRACKET)
        return -(-least // self.round) * self.round

    def cell(self, point: Mapping[str, Value], seed: int, share: float = 1.0) -> Cell:
        """The cell of a point.

        Raises:
            InputError: Values that the method refuses.
        """
        fields = dict(self.fields)
        if share < 1:
            recipe = self.base.spec.recipe
            short: dict[str, Any] = {"epochs": self.epochs(share)}
            if recipe.warmup is not None:
                short["warmup"] = max(1, round(recipe.warmup * share))
            fields["recipe_params"] = {**(fields.get("recipe_params") or {}), **short}
        values = shortened(point, self.space, self.info.options, share)
        return resolve_cell(**fields, params={**self.fixed, **values}, seed=seed)

    def epochs(self, share: float) -> int:
        """Epochs of a complete schedule of a share."""
        return max(1, round(self.base.spec.recipe.epochs * share))


def make_design(
    *,
    params: Mapping[str, Any],
    seeds: Any = None,
    final_seeds: int = 3,
    trials: int = 40,
    round: int = 1,
    sampler_seed: int = 0,
    pareto: bool = False,
    fidelities: Sequence[float] = (1.0,),
    budget: str | None = None,
    validation_size: int | None = None,
    validation_labels: str = "noisy",
    **fields: Any,
) -> Design:
    """Checks a declaration and fills in what it leaves open.

    Raises:
        InputError: One clear line for whatever is wrong.
    """
    if pareto and (budget == "samples" or len(fidelities) > 1):
        raise InputError(
            "all trials train equally many samples under budget 'samples'"
            if budget == "samples"
            else "two objectives and several fidelities",
            where="--pareto",
            accepted="--budget epochs or paper, and no --fidelities",
        )
    fields["budget"] = budget or ("epochs" if pareto else "samples")
    fields |= {"role": "tune", "validation": Validation(size=validation_size or 1)}
    whole = resolve_cell(**fields, params=dict(params), where="tune")
    info, known = resolve_method(fields["method"]), whole.spec.method.name
    if info.name != known:  # options under two names would not fit in one pinned file
        raise InputError(f"{info.name} is {known}", where="tune: method", accepted=known)
    if validation_size is None:
        raw = load_raw(whole.spec.dataset.name, whole.data)
        validation_size = max(1, min(VALIDATION_LIMIT, len(raw.training_rows) // 5))
    fields["validation"] = Validation.model_validate(
        {"size": validation_size, "labels": validation_labels}
    )
    first = _seeds(seeds)
    design = Design(
        fields=fields,
        fixed=dict(params),
        space=space_of(info, params, whole.spec.recipe.epochs, whole.spec.ratio),
        seeds=first,
        fresh=tuple(range(max(first) + 1, max(first) + 1 + final_seeds)),
        trials=trials,
        round=round,
        sampler_seed=sampler_seed,
        pareto=pareto,
        fidelities=_ascending(fidelities),
    )
    load_task(design.base.spec, design.base.data)  # splits that do not fit stop here
    return design


def _optuna() -> str:
    """Version of Optuna without the patch level: 4 and 5 draw different points."""
    return ".".join(version("optuna").split(".")[:2])


def _seeds(given: Any) -> tuple[int, ...]:
    if given is None:
        return (FIRST_TUNING_SEED, FIRST_TUNING_SEED + 1)
    try:
        seeds = tuple(parse_seeds(given))
    except ValueError:
        seeds = ()
    if len(set(seeds)) < 2 or len(set(seeds)) < len(seeds):
        raise InputError(
            f"{given!r} is not accepted", where="--seeds", accepted="two or more distinct seeds"
        )
    return seeds


def _ascending(shares: Sequence[float]) -> tuple[float, ...]:
    if not shares or shares[-1] != 1 or shares[0] <= 0 or list(shares) != sorted(set(shares)):
        raise InputError(
            f"{', '.join(f'{share:g}' for share in shares)} is not accepted",
            where="--fidelities",
            accepted="ascending shares of the epochs that end with 1, such as 0.25,0.5,1",
        )
    return tuple(float(share) for share in shares)


def check_seeds(design: Design, store: Store, reported: Sequence[int]) -> None:
    """Keeps tuning seeds apart from those that are, or will be, reported.

    Raises:
        InputError: A seed in common.
    """
    mine = {*design.seeds, *design.fresh}
    clash = sorted(mine & set(reported))
    if clash:
        raise InputError(
            f"seed {clash[0]} is to be reported", where="--seeds, --report-seeds",
            accepted=f"tuning seeds apart from those reported, such as {FIRST_TUNING_SEED} on",
        )  # fmt: skip
    if not store.records.is_dir():
        return
    name = design.base.spec.dataset.name
    for record in store.scan().records:
        spec = record.spec
        seen = spec.get("role", "eval") == "eval" and spec.get("dataset", {}).get("name") == name
        if seen and spec.get("seed") in mine:
            raise InputError(
                f"seed {spec['seed']} has evaluation runs here (record {record.key})",
                where="--seeds",
                accepted=f"seeds without evaluation runs, such as {FIRST_TUNING_SEED} on",
            )
