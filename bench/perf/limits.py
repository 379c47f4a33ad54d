"""How far training is from what the processor can do, and what a run holds in memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prunebench.bench.perf.epochs import network
from prunebench.bench.perf.optimisers import full_network
from prunebench.bench.perf.result import Figure, Result, figure, made
from prunebench.bench.perf.settings import Settings
from prunebench.bench.perf.timing import Ratio, in_turn

_SIDE = 1024


def flops(model: nn.Module, s: Settings) -> float:
    """Floating-point operations of forward and backward, per image."""
    x = torch.zeros(2, 3, s.side, s.side, device=s.device)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(x), torch.zeros(2, dtype=torch.int64, device=s.device)).backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) / 2


def limit(s: Settings) -> Result:
    """FLOP/s of training beside those of a matrix product."""
    a = torch.randn(_SIDE, _SIDE, device=s.device)
    parts = s.epoch_part()
    wide = full_network(s)
    few = max(2, s.batch // 8)
    x = torch.randn(few, 3, s.side, s.side, device=s.device)
    y = torch.zeros(few, dtype=torch.int64, device=s.device)

    def full() -> None:
        wide.zero_grad()
        F.cross_entropy(wide(x), y).backward()  # type: ignore[no-untyped-call]

    narrow_name = f"ours, width {s.width}"
    wide_name = f"forward and backward, width {s.wide}, batch {few}"
    contenders: dict[str, Callable[[], object]] = {
        "matrix product": lambda: a @ a, narrow_name: parts.epoch, wide_name: full,
    }  # fmt: skip
    times = in_turn(contenders, s.repeats, s.device, {"matrix product": 5})
    work = {
        "matrix product": 2.0 * _SIDE**3,
        narrow_name: flops(network(s.work(s.part)).to(s.device), s) * s.part,
        wide_name: flops(wide, s) * few,
    }
    rate = {name: work[name] / times.median(name) / 1e9 for name in contenders}
    figures = [
        Figure(f"forward and backward per image, width {s.width}", work[narrow_name] / s.part / 1e9,
               "GFLOP"),
        Figure(f"forward and backward per image, width {s.wide}", work[wide_name] / few / 1e9,
               "GFLOP"),
        *(Figure(name, value, "GFLOP/s") for name, value in rate.items()),
    ]  # fmt: skip
    for name in (narrow_name, wide_name):
        inverse = times.ratio("matrix product", name)
        factor = work[name] / work["matrix product"]
        share = Ratio(inverse.value * factor, inverse.low * factor, inverse.high * factor)
        figures.append(figure(f"{name} / matrix product, FLOP/s", share, "share"))
    what = f"matrix product of {_SIDE} x {_SIDE} and training, fp32"
    return made("limit", what, times, figures)


def peak() -> float:
    """Most memory that this process has held, MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def resident() -> float:
    """Memory that this process holds now, MiB; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError):
        return 0.0
    return pages * resource.getpagesize() / 2**20


def memory(s: Settings) -> Result:
    """What a run adds to a process that has torch and the data."""
    s.raw  # noqa: B018 - loaded before
    cuda = s.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(s.device)
        before = torch.cuda.memory_allocated(s.device) / 2**20
    else:
        before = resident()
    run = s.epoch_part()
    times = in_turn({"ours": run.epoch}, 1, s.device)
    after = torch.cuda.max_memory_allocated(s.device) / 2**20 if cuda else resident()
    figures = [
        Figure("before the run", before, "MiB"),
        Figure("added by it", after - before, "MiB"),
    ]
    if not cuda:
        figures.append(Figure("peak of this process so far", peak(), "MiB"))
    what = f"a run of {s.part:,} images, ResNet-18 of width {s.width}, batch {s.batch}"
    return made("memory", what, times, figures, ["resident memory" if not cuda else "allocated"])
