"""What a run holds in memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from statistics import median

import torch

from prunebench.bench.perf.contenders import epoch_part
from prunebench.bench.perf.result import Figure, Result
from prunebench.bench.perf.workload import Settings, threads


def peak() -> float:
    """Most memory that this process has held, MiB."""
    with suppress(OSError):
        # What getrusage reports of a child begins with what its parent held.
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
            epoch_part(s).epoch()
    if s.device.type == "cuda":
        return torch.cuda.max_memory_allocated(s.device) / 2**20
    return peak()


if __name__ == "__main__":
    print(_child(*sys.argv[1:]))
