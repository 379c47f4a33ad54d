"""How far training is from what the processor can do, and what a run holds in memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prunebench.bench.perf.epochs import network
from prunebench.bench.perf.optimisers import full_network
from prunebench.bench.perf.result import Figure, Result, figure, made
from prunebench.bench.perf.settings import Settings, threads
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
    with suppress(OSError):
        # What getrusage tells of a child begins with what its parent held.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def memory(s: Settings) -> Result:
    """What a run adds to a process that has torch and the data; a process of its own for each."""
    found: dict[str, list[float]] = {"data": [], "run": []}
    for _ in range(s.repeats):
        for kind, peaks in found.items():
            peaks.append(_in_a_child(s, kind))
    added = [run - data for run, data in zip(found["run"], found["data"], strict=True)]
    figures = [
        Figure("torch and the data", median(found["data"]), "MiB",
               min(found["data"]), max(found["data"])),
        Figure("added by a run", median(added), "MiB", min(added), max(added)),
    ]  # fmt: skip
    what = f"peak of a process, {s.part:,} images of {s.n:,}, ResNet-18 of width {s.width}, "
    how = "allocated on the card" if s.device.type == "cuda" else "resident memory"
    return Result("memory", f"{what}batch {s.batch}", (), tuple(figures), notes=(how,))


def _in_a_child(s: Settings, kind: str) -> float:
    sizes = {name: getattr(s, name) for name in ("n", "batch", "width", "side", "steps", "threads")}
    words = [sys.executable, "-m", __name__, kind, str(s.device), json.dumps(sizes)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _child(kind: str, device: str, sizes: str) -> float:
    """Peak MiB of this process after it has loaded the data, or trained as well."""
    s = Settings(device=torch.device(device), **json.loads(sizes))
    s.raw  # noqa: B018 - loads
    with threads(s.threads):
        if kind == "run":
            s.epoch_part().epoch()
    if s.device.type == "cuda":
        return torch.cuda.max_memory_allocated(s.device) / 2**20
    return peak()


if __name__ == "__main__":
    print(_child(*sys.argv[1:]))
