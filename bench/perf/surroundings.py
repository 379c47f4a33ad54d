"""Where figures were taken: processor or card, clocks, versions, and what else was running."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import torch

from prunebench.bench.results.environment import bf16_units, cpuinfo, environment

_PACKAGES = ("torchvision", "pillow", "scikit-learn", "numpy")


def cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def clocks(device: torch.device) -> str:
    """MHz of the processor's cores now, or nvidia-smi's line on a card; empty where unknown."""
    if device.type == "cuda":
        return _card(device)
    now = [float(text) for text in cpuinfo("cpu MHz")]
    return f"{median(now):.0f} MHz ({min(now):.0f} to {max(now):.0f})" if now else ""


def _card(device: torch.device) -> str:
    """One line of nvidia-smi: clocks, power, temperature, driver; empty without it."""
    fields = "clocks.sm,clocks.mem,power.draw,temperature.gpu,driver_version"
    words = [f"--query-gpu={fields}", "--format=csv,noheader", f"--id={device.index or 0}"]
    try:
        done = subprocess.run(
            ["nvidia-smi", *words], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def load() -> float | None:
    """Programs that ran or waited to run, on average over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def surroundings(device: torch.device) -> dict[str, Any]:
    """Facts that move times."""
    facts = environment(device, {})
    for name in _PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = ""
    return {
        **facts, "cores": cores(), "bf16": bf16_units(), "clocks": clocks(device),
        "system": platform.platform(), "load": load(),
    }  # fmt: skip
