"""Where a run took place: device, versions, threads; recorded, and never part of a key."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import prunebench
from prunebench.bench.results.plugin_sources import plugin_sources
from prunebench.bench.results.sources import source_digest
from prunebench.leaderboard.board.mixed_sources import FIELD


@cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def device_class(device: torch.device) -> str:
    """The model of a processor or accelerator; times compare within one class only."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def environment(device: torch.device, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Facts that may move results or times.

    Args:
        device: Where the run took place.
        spec: The run's specification, which names what plug-ins may have brought.
    """
    plugins = plugin_sources(spec)
    cuda = device.type == "cuda"
    return {
        "device": device.type,
        "device_class": device_class(device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count() or 1,
        "platform": f"{sys.platform}-{platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "cuda": str(torch.version.cuda) if cuda else "",
        "prunebench": prunebench.__version__,
        "code": source_digest(),
        **({FIELD: plugins} if plugins else {}),
    }
