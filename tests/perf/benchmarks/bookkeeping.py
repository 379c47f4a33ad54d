"""What a pruner's bookkeeping costs beside the epoch it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from prunebench.bench.perf.contenders import epoch_part
from prunebench.bench.perf.result import Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn, paired
from prunebench.bench.perf.workload import Settings
from prunebench.bench.train.sample_tables import SampleTables
from prunebench.methods.base import DynamicPruner, Progress, TrainView
from prunebench.methods.compose import resolve_method

#: Epochs that the pretended run has done.
_DONE = 30
_SHARE = Goal(0.01, False)


def filled(tables: SampleTables, done: int = _DONE) -> None:
    """Makes tables look as after some epochs in which every sample was seen."""
    g = torch.Generator().manual_seed(0)
    window, n = len(tables.losses), tables.num_samples
    tables.loss.copy_(torch.rand(n, generator=g))
    for visit in range(max(0, done - window), done if window else 0):
        fall = 2.0 / (1 + visit)
        tables.losses[visit % window] = fall + torch.rand(n, generator=g).to(tables.loss.device)
        tables.loss_epochs[visit % window] = visit
    tables.seen.fill_(done)
    tables.last_seen.fill_(done - 1)
    tables.reference_loss[:done] = 2.0 / (1 + torch.arange(done, dtype=torch.float64))


def begun(name: str, s: Settings) -> tuple[DynamicPruner, SampleTables, Progress]:
    """A method in mid-run, with tables that are full."""
    pruner: Any = resolve_method(name).build({})
    labels = torch.arange(s.n, device=s.device) % 10
    pruner.begin(TrainView(s.n, 10, labels, 200, 0.5, s.device))
    tables = SampleTables(s.n, 600, window=pruner.window, signals=pruner.signals, device=s.device)
    filled(tables)
    for signal in pruner.signals:
        tables.signal(signal).copy_(tables.loss.flip(0))
    return pruner, tables, Progress(0.15, _DONE, _DONE * s.n, 200 * s.n, 170.0)


def bookkeeping(s: Settings) -> Result:
    """Loss table, DAS, SeTa and IES, each as a share of an epoch of N samples."""
    part = epoch_part(s)
    contenders: dict[str, Callable[[], object]] = {
        f"training {s.part:,} images": part.epoch,
        "loss table": _losses(s),
        "ring of 25 losses and DAS": _scores(s),
    }
    for name in ("seta", "ies"):
        pruner, tables, where = begun(name, s)
        stream = s.stream(name)

        def plan(p: Any = pruner, t: Any = tables, w: Any = where, r: Any = stream) -> object:
            p.calls = 1
            return p.plan(w, t, r)

        contenders[f"{name} plan"] = plan
    times = in_turn(contenders, s.repeats, s.device, dict.fromkeys(list(contenders)[1:], 3))
    first, *books = contenders
    epoch = [seconds * s.n / s.part for seconds in times.seconds(first)]
    figures = [
        figure(f"{name} / epoch", paired(times.seconds(name), epoch), "share", _SHARE)
        for name in books
    ]
    what = f"bookkeeping of an epoch of {s.n:,} samples beside training it, width {s.width}"
    note = f"the epoch is {s.n / s.part:.1f} times the timed {s.part:,} images"
    return made("bookkeeping", what, times, figures, [note])


def _losses(s: Settings) -> Callable[[], None]:
    """Every batch's losses written, and the epoch's visits booked."""
    tables = SampleTables(s.n, 600, device=s.device)
    order = torch.randperm(s.n, device=s.device)
    logits = torch.zeros(s.batch, 10, device=s.device)
    losses = torch.rand(s.n, device=s.device)
    labels = torch.zeros(s.n, dtype=torch.int64, device=s.device)

    def write() -> None:
        for start in range(0, s.n, s.batch):
            part = slice(start, start + s.batch)
            tables.write(order[part], losses[part], logits, labels[part])
        tables.close_epoch(order, _DONE)

    return write


def _scores(s: Settings) -> Callable[[], None]:
    """What alignment adds: the ring of losses, and the scores of all samples."""
    pruner, tables, where = begun("infobatch+align", s)
    scorer: Any = pruner
    order = torch.randperm(s.n, device=s.device)

    def score() -> None:
        tables.close_epoch(order, _DONE - 1)
        filled_counts(tables)
        scorer.scorer.scores(tables, where)

    return score


def filled_counts(tables: SampleTables) -> None:
    """Puts the counts of visits back to where ``filled`` left them."""
    tables.seen.fill_(_DONE)
    tables.last_seen.fill_(_DONE - 1)
