"""How far training is from what the processor can do."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from perf.benchmarks.optimizers import full_network, wide
from prunebench.bench.perf.contenders import epoch_part
from prunebench.bench.perf.result import Figure, Result, figure, made
from prunebench.bench.perf.timing import in_turn
from prunebench.bench.perf.workload import Settings

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
    parts = epoch_part(s)
    full_net = full_network(s)
    few = max(2, s.batch // 8)
    x = torch.randn(few, 3, s.side, s.side, device=s.device)
    y = torch.zeros(few, dtype=torch.int64, device=s.device)

    def full() -> None:
        full_net.zero_grad()
        F.cross_entropy(full_net(x), y).backward()  # type: ignore[no-untyped-call]

    narrow_name = f"ours, width {s.width}"
    wide_name = f"forward and backward, width {wide(s)}, batch {few}"
    contenders: dict[str, Callable[[], object]] = {
        "matrix product": lambda: a @ a, narrow_name: parts.epoch, wide_name: full,
    }  # fmt: skip
    times = in_turn(contenders, s.repeats, s.device, {"matrix product": 5})
    work = {
        "matrix product": 2.0 * _SIDE**3,
        narrow_name: flops(s.work(s.part).network().to(s.device), s) * s.part,
        wide_name: flops(full_net, s) * few,
    }
    rate = {name: work[name] / times.median(name) / 1e9 for name in contenders}
    figures = [
        Figure(f"forward and backward per image, width {s.width}", work[narrow_name] / s.part / 1e9,
               "GFLOP"),
        Figure(f"forward and backward per image, width {wide(s)}", work[wide_name] / few / 1e9,
               "GFLOP"),
        *(Figure(name, value, "GFLOP/s") for name, value in rate.items()),
    ]  # fmt: skip
    for name in (narrow_name, wide_name):
        inverse = times.ratio("matrix product", name)
        factor = work[name] / work["matrix product"]
        figures.append(figure(f"{name} / matrix product, FLOP/s", inverse.times(factor), "share"))
    what = f"matrix product of {_SIDE} x {_SIDE} and training, fp32"
    return made("limit", what, times, figures)
