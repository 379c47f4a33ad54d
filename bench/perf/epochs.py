"""A training epoch beside a plain loop, and what each difference between the two gains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from prunebench.bench.inputs.view import Inputs
from prunebench.bench.networks.build import build_model
from prunebench.bench.perf.contenders import Solo, Workload, streams
from prunebench.bench.perf.literal import LiteralLARS
from prunebench.bench.perf.official import OfficialLoop
from prunebench.bench.perf.plain import Pictures, PlainLoop
from prunebench.bench.perf.result import Figure, Goal, Result, figure, made
from prunebench.bench.perf.settings import Settings, tensor, threads
from prunebench.bench.perf.surroundings import bf16_units, cores
from prunebench.bench.perf.timing import in_turn
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.optimizers import LARS, make_optimizer
from prunebench.bench.train.task import load_raw

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


def network(work: Workload) -> nn.Module:
    """The workload's network with its initial weights."""
    recipe = work.setup(ExecutionOptions(graph="off")).recipe
    raw = work.raw
    return build_model(recipe, raw.input_shape, raw.num_classes, streams(0).get("init"))


def epoch(s: Settings) -> list[Result]:
    """On one thread as cells run, and on all cores."""
    found = []
    for count in sorted({s.threads, cores()}):
        with threads(count):
            found.append(_epoch(s, count))
    return found


def _epoch(s: Settings, count: int) -> Result:
    work, notes = s.work(s.part), []
    plain = PlainLoop(s.raw, network(work), s.device, s.batch, s.part)
    ours = s.epoch_part()
    contenders: dict[str, Callable[[], int]] = {"plain loop": plain.epoch, "ours": ours.epoch}
    units, goals = bf16_units(), {"ours": Goal(1.3), "ours, compiled": Goal(1.3)}
    if units or s.device.type == "cuda":
        contenders["ours, bf16"] = s.epoch_part("bf16").epoch
        goals["ours, bf16"] = Goal(2.0)
    else:
        notes.append("no bf16 contender: this processor has neither AMX nor AVX-512 bf16 units")
    if s.compile:
        compiled = s.epoch_part(execution=ExecutionOptions(compile=True))
        contenders["ours, compiled"] = compiled.epoch
    if s.official is not None:
        official = OfficialLoop(s.official, s.raw, network(work), s.device, s.batch, s.part)
        contenders["official InfoBatch"] = official.epoch
        notes += official.notes
    times = in_turn(contenders, s.repeats, s.device)
    if s.compile:
        how = compiled.run.not_captured_because or "torch.compile, asked for by --compile"
        notes.append(f"ours, compiled: {how}")
    figures = []
    for slow in ("plain loop", "official InfoBatch"):
        for name in contenders if slow in contenders else ():
            if name.startswith("ours"):
                goal = goals.get(name) if slow == "plain loop" and count == cores() else None
                figures.append(figure(f"{slow} / {name}", times.ratio(slow, name), goal=goal))
    figures += [Figure(name, s.part / times.median(name), "img/s") for name in contenders]
    what = f"{s.part:,} images of an epoch, ResNet-18 of width {s.width}, batch {s.batch}"
    return made("epoch", what, times, figures, notes, f"{count} thread{'s' * (count > 1)}")


def step(s: Settings) -> Result:
    """A small network, where everything around it weighs most: 8 x 8 digits."""
    raw = load_raw("digits", {})
    work = Workload(
        raw, s.device, "cnn", {"width": 8, "depth": 2}, 64, "fp32", "sgd", 0, augment="none"
    )
    run = work.trainer(ExecutionOptions(graph="off"), "full")
    ours, model = Solo(work, ExecutionOptions(graph="off"), made=run), network(work).to(s.device)
    optimizer = make_optimizer(run.setup.recipe, model.parameters())
    images, labels = run.inputs.unaugmented(run.sample_ids), run.labels

    def barest() -> None:
        model.train()
        order = torch.randperm(len(labels), device=s.device)
        for first in range(0, len(order), 64):
            index = order[first : first + 64]
            loss = F.cross_entropy(model(images[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    contenders = {"ours": ours.epoch, "barest loop": barest}
    times = in_turn(contenders, 2 * s.repeats, s.device, dict.fromkeys(contenders, 3))
    ratio = figure("ours / barest loop", times.ratio("ours", "barest loop"), goal=Goal(1.15, False))
    what = f"epoch of {len(labels):,} digits of 8 x 8, batch 64, network of 8 channels"
    return made("step", what, times, [ratio])


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
        model = network(work)
        lars = LARS if ours else LiteralLARS
        return Loop(model, lars(model.parameters(), 0.2), batches, reads).epoch

    batched = _batched(s)
    contenders: dict[str, Callable[[], object]] = {
        "plain loop": rung(_pictures(s), True, False),
        "resident data": rung(_one_by_one(s), True, False),
        "batched augmentation": rung(batched, True, False),
        "nothing read per step": rung(batched, False, False),
        "LARS without reading": rung(batched, False, True),
        "our trainer, losses kept": s.epoch_part().epoch,
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
