"""A training epoch beside a plain loop, and a tiny network's beside the barest one."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from prunebench.bench.perf.contenders import PlainLoop, Solo, epoch_part
from prunebench.bench.perf.result import Figure, Goal, Result, figure, made
from prunebench.bench.perf.surroundings import cores
from prunebench.bench.perf.timing import in_turn
from prunebench.bench.perf.workload import Settings, Workload, threads
from prunebench.bench.results.environment import bf16_units
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.optimizers import make_optimizer
from prunebench.bench.train.task import load_raw


def epoch(s: Settings) -> list[Result]:
    """On one thread as cells run, and on all cores."""
    found = []
    for count in sorted({s.threads, cores()}):
        with threads(count):
            found.append(_epoch(s, count))
    return found


def _epoch(s: Settings, count: int) -> Result:
    contenders: dict[str, Callable[[], int]] = {
        "plain loop": PlainLoop(s.work(s.part), s.part).epoch,
        "ours": epoch_part(s).epoch,
    }
    notes: list[str] = []
    units, goals = bf16_units(), {"ours": Goal(1.3), "ours, compiled": Goal(1.3)}
    if units or s.device.type == "cuda":
        contenders["ours, bf16"] = epoch_part(s, "bf16").epoch
        goals["ours, bf16"] = Goal(2.0)
    else:
        notes.append("no bf16 contender: this processor has neither AMX nor AVX-512 bf16 units")
    if s.compile:
        compiled = epoch_part(s, execution=ExecutionOptions(compile=True))
        contenders["ours, compiled"] = compiled.epoch
    times = in_turn(contenders, s.repeats, s.device)
    if s.compile:
        how = compiled.run.not_captured_because or "torch.compile, asked for by --compile"
        notes.append(f"ours, compiled: {how}")
    figures = [
        figure(f"plain loop / {name}", times.ratio("plain loop", name),
               goal=goals.get(name) if count == cores() else None)
        for name in contenders if name != "plain loop"
    ]  # fmt: skip
    figures += [Figure(name, s.part / times.median(name), "img/s") for name in contenders]
    what = f"{s.part:,} images of an epoch, ResNet-18 of width {s.width}, batch {s.batch}"
    return made("epoch", what, times, figures, notes, f"{count} thread{'s' * (count > 1)}")


def step(s: Settings) -> Result:
    """A small network, where everything around it weighs most: 8 x 8 digits."""
    raw = load_raw("digits", {})
    work = Workload(
        raw, s.device, "cnn", {"width": 8, "depth": 2}, 64, "fp32", "sgd", 0, augment="none"
    )
    run, model = work.trainer(method="full"), work.network().to(s.device)
    optimizer = make_optimizer(work.recipe, model.parameters())
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

    contenders = {"ours": Solo(run).epoch, "barest loop": barest}
    times = in_turn(contenders, 2 * s.repeats, s.device, dict.fromkeys(contenders, 3))
    ratio = figure("ours / barest loop", times.ratio("ours", "barest loop"), goal=Goal(1.15, False))
    what = f"epoch of {len(labels):,} digits of 8 x 8, batch 64, network of 8 channels"
    return made("step", what, times, [ratio])
