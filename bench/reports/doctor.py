"""What `prunebench doctor` looks at: each check runs the real thing and says what it saw."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import prunebench
from prunebench.errors import InputError, error_line
from prunebench.registry import REGISTRIES, load_plugin


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        ok: Whether nothing is broken.
        detail: What was seen.
        absent: Whether an optional package is missing: what it serves does not work, all else does.
    """

    name: str
    ok: bool
    detail: str
    absent: bool = False

    @property
    def word(self) -> str:
        """``ok``, ``none`` where something optional is missing, ``FAIL`` where it is broken."""
        return "FAIL" if not self.ok else "none" if self.absent else "ok"


#: What cannot be done without a package that training does not need.
_WITHOUT = {
    "mlflow": "no mirror (--no-mlflow leaves its warning out), no `sync`, no `ui`",
    "optuna": "no `tune`",
}


def checks(
    out: Path | None, plugins: Sequence[str], more: Mapping[str, Callable[[], str]] | None = None
) -> list[Check]:
    """Runs every check; none of them raises.

    Args:
        out: A results folder to look at.
        plugins: Files to load.
        more: Further checks by name.
    """
    named: list[tuple[str, Callable[[], str]]] = [
        ("python", _python),
        ("torch + torchvision", _torch),
        ("cuda", _cuda),
        ("threads", _threads),
        ("mlflow", lambda: _package("mlflow")),
        ("optuna", lambda: _package("optuna")),
        ("layout", _layout),
        ("plug-ins", lambda: _plugins(plugins)),
    ]
    if out is not None:
        named.append(("results folder", lambda: _results(out)))
    named += (more or {}).items()
    return [_run(name, check) for name, check in named]


def _run(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except ModuleNotFoundError as error:
        if error.name != name or name not in _WITHOUT:
            return Check(name, False, error_line(error)[:300])
        return Check(name, True, f"not installed: {_WITHOUT[name]}", absent=True)
    except Exception as error:
        return Check(name, False, error_line(error)[:300])


def _python() -> str:
    return f"{platform.python_version()} ({sys.executable})"


def _torch() -> str:
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    torchvision.ops.nms(boxes, torch.ones(1), 0.5)
    return f"{torch.__version__} and {torchvision.__version__} fit together"


def _cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        return "no device; everything runs on the CPU"
    names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    total = torch.ones(8, device="cuda").sum().item()
    if total != 8.0:
        raise RuntimeError("a sum on the device came out wrong")
    return ", ".join(names)


def _threads() -> str:
    return f"{os.cpu_count()} cores; cells use one intra-op thread each by default"


def _package(name: str) -> str:
    importlib.import_module(name)
    return version(name)


def _layout() -> str:
    missing = [
        name
        for name in ("bench", "methods", "datasets", "leaderboard")
        if not (Path(prunebench.__file__).parent / name / "__init__.py").is_file()
    ]
    if missing:
        raise RuntimeError(f"{missing} missing; clone with `git config core.symlinks true`")
    return str(Path(prunebench.__file__).parent)


def _plugins(plugins: Sequence[str]) -> str:
    for path in plugins:
        load_plugin(path)
    for registry in REGISTRIES:
        registry.load()
    broken = [problem for registry in REGISTRIES for problem in registry.problems]
    if broken:
        raise InputError("; ".join(f"{p.source}: {p.error}" for p in broken))
    return ", ".join(
        f"{len(registry.names())} {registry.group.rpartition('.')[2]}" for registry in REGISTRIES
    )


def _results(out: Path) -> str:
    from prunebench.bench.results.store import Store

    store = Store.open(out)
    return f"{out} can be written, {len(store.keys())} records"
