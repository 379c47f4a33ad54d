"""What plans of an epoch and choices within batches cost at the size of ImageNet, beside uniform
draws and an epoch there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from perf.benchmarks.bookkeeping import begun
from prunebench.bench.perf.result import Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn, paired
from prunebench.bench.perf.workload import Settings
from prunebench.methods.base import Batch, TrainView
from prunebench.methods.compose import resolve_method

#: Methods that read three tables of the samples at most.
METHODS = (
    "infobatch+bls", "seta+bls", "repb", "ucb", "eps-greedy", "rs2", "rcap", "orderdp", "kakurenbo",
)  # fmt: skip
#: Methods that choose within each batch by its losses.
BY_BATCH = ("selective-backprop", "big-loss")
_UNIFORM, _UNIFORM_BATCH = "random-dynamic", "random-batch"
#: Images and classes of ImageNet.
_IMAGES, _CLASSES = 1_281_167, 1000
#: Seconds that an epoch over ImageNet may take.
_EPOCH = 600.0
_SHARE = Goal(0.02, False)
_CALLS = 50


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


def batch_choices(s: Settings) -> Result:
    """Choices of half of a batch; the scoring pass is left out."""
    contenders = {name: _chooser(name, s) for name in (_UNIFORM_BATCH, *BY_BATCH)}
    times = in_turn(contenders, s.repeats, s.device, dict.fromkeys(contenders, _CALLS))
    batches, figures = _IMAGES / s.batch, []
    for name in BY_BATCH:
        seconds = [batches * one for one in times.seconds(name)]
        share = paired(seconds, [_EPOCH] * len(seconds))
        figures.append(figure(f"{name} / epoch of 10 minutes", share, "share", _SHARE))
        figures.append(figure(f"{name} / {_UNIFORM_BATCH}", times.ratio(name, _UNIFORM_BATCH)))
    what = f"choices of half of {s.batch} samples, {_CLASSES:,} classes"
    return made("batch-choices", what, times, figures)


def _chooser(name: str, s: Settings) -> Callable[[], object]:
    pruner: Any = resolve_method(name).build({})
    labels = torch.arange(s.batch, device=s.device) * 7 % _CLASSES
    pruner.begin(TrainView(s.batch, _CLASSES, labels, 90, 0.5, s.device))
    logits = torch.randn(s.batch, _CLASSES, generator=torch.Generator().manual_seed(0))
    positions = torch.arange(s.batch, device=s.device)
    batch = Batch(logits.to(s.device), logits[:, :0].to(s.device), labels, positions)
    return lambda: pruner.select(batch, s.batch // 2, s.stream(name))
