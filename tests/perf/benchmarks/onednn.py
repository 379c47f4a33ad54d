"""oneDNN held to AVX2 beside its own choice of vector units: training steps and evaluations of
small networks, in processes in turn.

``PYTHONPATH=tests python -m perf.benchmarks.onednn`` prints ratios of times, own choice / AVX2.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from prunebench.bench.networks.build import cnn
from prunebench.bench.networks.resnet import resnet18

TURNS, REPEATS, STEPS, BATCH = 5, 5, 4, 128
TESTED, EVAL_BATCH = 1024, 64  # the harness evaluates in batches of about this size
COLOUR, GREY = (3, 32, 32), (1, 28, 28)


def networks() -> list[tuple[str, nn.Module, tuple[int, ...]]]:
    """Names, networks and the shape of one image."""
    return [
        ("resnet18, width 8, depth 1", resnet18(COLOUR, 10, width=8, depth=1), COLOUR),
        ("resnet18, width 16", resnet18(COLOUR, 10, width=16), COLOUR),
        ("cnn", cnn(GREY, 10), GREY),
    ]


def seconds(call: Callable[[], object]) -> float:
    """Median over repeats."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def timed(network: nn.Module, shape: tuple[int, ...]) -> tuple[float, float]:
    """Seconds of some steps and of an evaluation."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    x, y = torch.randn(BATCH, *shape), torch.randint(0, 10, (BATCH,))
    tested = torch.randn(TESTED, *shape).split(EVAL_BATCH)

    def steps() -> None:
        for _ in range(STEPS):
            torch.autograd.backward(F.cross_entropy(network(x), y))
            optimizer.step()
            optimizer.zero_grad()

    steps()
    step = seconds(steps)
    network.eval()
    with torch.no_grad():
        return step, seconds(lambda: [network(part) for part in tested])


def measure() -> dict[str, tuple[float, float]]:
    """By network, on one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return {name: timed(network, shape) for name, network, shape in networks()}


def main() -> None:
    """Processes in turn, then one line for each network."""
    turns = []
    for _ in range(TURNS):
        pair = []
        for isa in ("DEFAULT", "AVX2"):
            done = subprocess.run(
                [sys.executable, "-m", "perf.benchmarks.onednn", "one"],
                env={**os.environ, "ONEDNN_MAX_CPU_ISA": isa}, capture_output=True, check=True,
            )  # fmt: skip
            pair.append(json.loads(done.stdout))
        turns.append(pair)
    for name, _, _ in networks():
        for at, what in enumerate(("step", "evaluation")):
            ratios = sorted(own[name][at] / held[name][at] for own, held in turns)
            middle = statistics.median(ratios)
            print(f"{name}, {what}: {middle:.2f} [{ratios[0]:.2f} to {ratios[-1]:.2f}]")


if __name__ == "__main__":
    if sys.argv[1:] == ["one"]:
        print(json.dumps(measure()))
    else:
        main()
