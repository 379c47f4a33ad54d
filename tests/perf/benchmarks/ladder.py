"""From a plain loop to ours, one change at a time; the user's clone of InfoBatch beside both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from perf.benchmarks.literal import LiteralLARS
from perf.benchmarks.official import OfficialLoop
from prunebench.bench.inputs.view import Inputs
from prunebench.bench.perf.contenders import Pictures, PlainLoop, epoch_part
from prunebench.bench.perf.result import Result, figure, made
from prunebench.bench.perf.timing import in_turn
from prunebench.bench.perf.workload import Settings, tensor
from prunebench.bench.train.optimizers import LARS

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


def official(s: Settings, clone: Path) -> Result:
    """The clone's loop, a plain one and ours over a part of an epoch."""
    work = s.work(s.part)
    theirs = OfficialLoop(clone, s.raw, work.network(), s.device, s.batch, s.part)
    contenders = {
        "official InfoBatch": theirs.epoch,
        "plain loop": PlainLoop(work, s.part).epoch,
        "ours": epoch_part(s).epoch,
    }
    times = in_turn(contenders, s.repeats, s.device)
    first, *others = contenders
    figures = [figure(f"{first} / {name}", times.ratio(first, name)) for name in others]
    what = f"{s.part:,} images of an epoch, ResNet-18 of width {s.width}, batch {s.batch}"
    return made("official", what, times, figures, theirs.notes)


@dataclass
class Loop:
    """A plain loop in parts.

    Attributes:
        model: The network.
        optimizer: With ``zero_grad`` and ``step``.
        batches: An epoch's batches.
        reads: Whether loss and hits are read back at every step.
    """

    model: nn.Module
    optimizer: Any
    batches: Batches
    reads: bool

    def epoch(self) -> float:
        """One pass; returns the sum of losses."""
        self.model.train()
        total = torch.zeros(())
        for x, y in self.batches():
            logits = self.model(x)
            loss = F.cross_entropy(logits, y)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            if self.reads:
                total = total + loss.item() + 0 * (logits.argmax(1) == y).sum().item()
            else:
                total = total + loss.detach()
        return float(total)


def ladder(s: Settings) -> Result:
    """From the plain loop to ours, one change at a time, under the same recipe with LARS."""
    work = s.work(s.part)

    def rung(batches: Batches, reads: bool, ours: bool) -> Callable[[], object]:
        model = work.network()
        lars = LARS if ours else LiteralLARS
        return Loop(model, lars(model.parameters(), 0.2), batches, reads).epoch

    batched = _batched(s)
    contenders: dict[str, Callable[[], object]] = {
        "plain loop": rung(_pictures(s), True, False),
        "resident data": rung(_one_by_one(s), True, False),
        "batched augmentation": rung(batched, True, False),
        "nothing read per step": rung(batched, False, False),
        "LARS without reading": rung(batched, False, True),
        "our trainer, losses kept": epoch_part(s).epoch,
    }
    times = in_turn(contenders, s.repeats, s.device)
    first = next(iter(contenders))
    figures = [
        figure(f"{first} / {name}", times.ratio(first, name)) for name in list(contenders)[1:]
    ]
    what = f"{s.part:,} images, ResNet-18 of width {s.width}, batch {s.batch}, LARS"
    return made("ladder", what, times, figures, ["each line adds one change to the line before"])


def _pictures(s: Settings) -> Batches:
    loader: DataLoader[Any] = DataLoader(
        Pictures(s.raw, s.part), batch_size=s.batch, shuffle=True, num_workers=0
    )
    return lambda: iter(loader)


def _one_by_one(s: Settings) -> Batches:
    """Pixels at hand as padded tensors; each image is cut and flipped by itself."""
    raw = s.raw
    pixels = F.pad(tensor(raw.train_x)[: s.part].float(), (4, 4, 4, 4), mode="reflect").byte()
    labels = raw.train_y
    mean = torch.tensor(raw.mean).view(3, 1, 1) * 255
    std = torch.tensor(raw.std).view(3, 1, 1) * 255

    def one(i: int) -> Tensor:
        top, left, flip = (int(torch.randint(high, ())) for high in (9, 9, 2))
        x = pixels[i, :, top : top + s.side, left : left + s.side]
        return ((x.flip(2) if flip else x).float() - mean) / std

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(s.part)
        for start in range(0, s.part, s.batch):
            index = order[start : start + s.batch]
            yield torch.stack([one(int(i)) for i in index]), labels[index]

    return batches


def _batched(s: Settings) -> Batches:
    raw, stream = s.raw, s.stream("augment")
    inputs = Inputs(tensor(raw.train_x)[: s.part], raw, augment="crop_flip", pad=4)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(s.part)
        made_epoch = inputs.augmented_batches(order, stream)
        for start in range(0, s.part, s.batch):
            stop = min(start + s.batch, s.part)
            yield made_epoch.batch(start, stop), raw.train_y[order[start:stop]]

    return batches
