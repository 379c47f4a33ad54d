"""What an epoch's plan costs at the size of ImageNet, beside a uniform draw and an epoch there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perf.benchmarks.bookkeeping import begun
from prunebench.bench.perf.result import Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn, paired
from prunebench.bench.perf.workload import Settings

#: Methods that read two tables of the samples at most.
METHODS = (
    "infobatch+bls", "seta+bls", "repb", "ucb", "eps-greedy", "rs2", "rcap", "orderdp",
)  # fmt: skip
_UNIFORM = "random-dynamic"
#: Seconds that an epoch over ImageNet may take.
_EPOCH = 600.0
_SHARE = Goal(0.02, False)


def plan_costs(s: Settings) -> Result:
    """Plans in mid-run, each taking in the losses of the epoch before."""
    contenders = {name: _planner(name, s) for name in (_UNIFORM, *METHODS)}
    times = in_turn(contenders, s.repeats, s.device)
    figures = []
    for name in METHODS:
        seconds = times.seconds(name)
        share = paired(seconds, [_EPOCH] * len(seconds))
        figures.append(figure(f"{name} / epoch of 10 minutes", share, "share", _SHARE))
        figures.append(figure(f"{name} / {_UNIFORM}", times.ratio(name, _UNIFORM)))
    return made("plan-costs", f"plans of an epoch, N = {s.n:,}", times, figures)


def _planner(name: str, s: Settings) -> Callable[[], object]:
    pruner, tables, where = begun(name, s)
    stream, state = s.stream(name), pruner.state_dict()
    fresh = {key: getattr(value, "clone", lambda value=value: value)()
             for key, value in state.items()}  # fmt: skip

    def plan() -> Any:
        pruner.load_state_dict(fresh)  # as before the epoch, so that every call does all the work
        return pruner.plan(where, tables, stream)

    return plan
