"""Where a run took place: device, versions, threads, code; recorded, and never part of a key.

Importing it needs no torch: processes that start workers compare digests of the code.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prunebench
from prunebench.bench.results.plugin_sources import plugin_sources
from prunebench.leaderboard.board.mixed_sources import FIELD

if TYPE_CHECKING:
    import torch


#: Units that compute in bfloat16, as Linux names them.
_BF16 = ("amx_bf16", "avx512_bf16")


def cpuinfo(field: str) -> list[str]:
    """What Linux says of each core; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.startswith(field)]


def bf16_units() -> str:
    """The processor's units for bfloat16 that torch uses; empty where it has none."""
    flags = set(" ".join(cpuinfo("flags")[:1]).split())
    return ", ".join(name for name in _BF16 if name in flags)


@cache
def _processor() -> str:
    named = cpuinfo("model name")
    return named[0] if named else platform.processor() or platform.machine()


def device_class(device: torch.device) -> str:
    """The model of a processor or accelerator; times compare within one class only."""
    if device.type != "cuda":
        return _processor()
    import torch

    return torch.cuda.get_device_name(device)


def tf32_operations() -> str:
    """Operations in fp32 whose inputs a card rounds to TF32: ``convolutions``, ``products``, both
    or ``none``."""
    import torch

    cudnn: Any = torch.backends.cudnn  # which does not declare ``conv``
    settings = {"convolutions": cudnn.conv, "products": torch.backends.cuda.matmul}
    names = [name for name, of in settings.items() if of.fp32_precision == "tf32"]
    return " and ".join(names) or "none"


def environment(device: torch.device, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What results or times may depend on.

    Args:
        device: Where the run took place.
        spec: The run's specification, which names what plug-ins may have brought.
    """
    import torch

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
        **({"tf32": tf32_operations()} if cuda else {}),
        "prunebench": prunebench.__version__,
        "code": source_digest(),
        **({FIELD: plugins} if plugins else {}),
    }


@cache
def source_digest(root: Path | None = None) -> str:
    """12 hex digits over the package's source files and their places; a warning when it differs,
    no key.

    Args:
        root: Folder of the package; None for the installed one.
    """
    root = Path(prunebench.__file__).parent if root is None else root
    digest = hashlib.sha256()
    # A checkout links the four folders; Path.rglob follows links from Python 3.13 on only.
    found = [Path(folder, name) for folder, _, names in os.walk(root, followlinks=True)
             for name in names if name.endswith(".py")]  # fmt: skip
    for path in sorted(found, key=lambda path: path.relative_to(root).as_posix()):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
