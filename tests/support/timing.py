"""Side-by-side timing: interleaved repeats, medians, and one line that says where."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch


def machine() -> str:
    """CPU, torch version and thread count."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    cpu = names[0] if names else platform.processor()
    return f"{cpu}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)"


def tell(what: str, slow: Sequence[float], fast: Sequence[float]) -> float:
    """Prints how many times longer the first takes, with the spread over pairs of repeats.

    Args:
        what: The comparison.
        slow: Seconds of each repeat.
        fast: Seconds of the repeats beside them.

    Returns:
        Ratio of the medians.
    """
    pairs = sorted(a / b for a, b in zip(slow, fast, strict=True))
    ratio = median(slow) / median(fast)
    print(
        f"\n{what}: {ratio:.2f}x ({median(slow) * 1e3:.2f} ms against {median(fast) * 1e3:.2f} ms;"
        f" pairs {pairs[0]:.2f} to {pairs[-1]:.2f}, {len(pairs)} repeats; {machine()})"
    )
    return ratio


def side_by_side(
    what: str, slow: Callable[[], object], fast: Callable[[], object], repeats: int = 5
) -> float:
    """Runs both in turn, once to warm up and then ``repeats`` times; see ``tell``."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for run, seconds in zip((slow, fast), times, strict=True):
            start = time.perf_counter()
            run()
            if repeat:
                seconds.append(time.perf_counter() - start)
    return tell(what, *times)
