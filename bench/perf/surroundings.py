"""Where figures were taken: processor or card, clocks, versions, and what else was running."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from prunebench.bench.results.environment import environment

_PACKAGES = ("torchvision", "pillow", "scikit-learn", "numpy")
#: Units that compute in bfloat16, as Linux names them.
_BF16 = ("amx_bf16", "avx512_bf16")


def _cpuinfo(field: str) -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.startswith(field)]


def bf16_units() -> str:
    """The processor's units for bfloat16 that torch uses; empty where it has none."""
    flags = set(" ".join(_cpuinfo("flags")[:1]).split())
    return ", ".join(name for name in _BF16 if name in flags)


def cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def clocks(device: torch.device) -> str:
    """MHz of the processor's cores now, or nvidia-smi's line on a card; empty where unknown."""
    if device.type == "cuda":
        return _card(device)
    now = [float(text) for text in _cpuinfo("cpu MHz")]
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
