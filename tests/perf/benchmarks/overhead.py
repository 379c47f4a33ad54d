"""Everything of an epoch that is neither forward, backward, optimiser nor reference pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perf.benchmarks.bookkeeping import filled
from prunebench.bench.networks.base import FeatureNet
from prunebench.bench.perf.contenders import Solo, epoch_part
from prunebench.bench.perf.result import Figure, Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn, paired
from prunebench.bench.perf.workload import Settings
from prunebench.bench.train.trainer import Trainer

_DONE = 30


class Weightless(nn.Module):
    """Next to no arithmetic: the mean of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        """float [B, 3]."""
        return x.mean((2, 3))


class WeightlessTrainer(Trainer):
    """The trainer around a network that costs nothing."""

    def _build_model(self) -> nn.Module:
        return FeatureNet(Weightless(), 3, self.setup.task.raw.num_classes)


def weightless(s: Settings, method: str = "infobatch+align") -> Trainer:
    """Such a run of N samples in mid-run, its tables full."""
    run = WeightlessTrainer(s.work().setup(method=method, ratio=0.5))
    filled(run.sample_tables, _DONE)
    run.epoch = run.ledger.epochs = _DONE
    return run


def overhead(s: Settings) -> Result:
    """A whole epoch of InfoBatch with alignment around a weightless network, as a share of the
    same epoch of the narrow ResNet-18.

    The share is an upper bound: loss, backward and update of the weightless network and the
    data path of the reference pass are in it.
    """
    harness, part = Solo(weightless(s)), epoch_part(s)
    trained: list[int] = []
    contenders = {
        "harness": lambda: trained.append(harness.epoch()),
        f"training {s.part:,} images": part.epoch,
    }
    torch.manual_seed(0)
    times = in_turn(contenders, s.repeats, s.device)
    name = list(contenders)[1]
    counted = trained[-s.repeats :]
    network = [
        seconds * count / s.part
        for seconds, count in zip(times.seconds(name), counted, strict=True)
    ]
    share = figure("harness / epoch", paired(times.seconds("harness"), network), "share",
                   Goal(0.03, False))  # fmt: skip
    figures = [share, Figure("images of an epoch", sum(counted) / len(counted), "images")]
    what = f"an epoch of InfoBatch + AlignPrune, N = {s.n:,}, ResNet-18 of width {s.width}"
    note = f"the network's epoch is extrapolated from {s.part:,} images"
    return made("overhead", what, times, figures, [note])
