"""A real process on a machine that has the source tree and lacks optional packages: prunebench is
not installed, and mlflow and optuna cannot be imported, in worker processes neither."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Python imports it at the start of every process that has its folder on the path.
_HIDE = """
import importlib.metadata, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mlflow", "optuna"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
found = importlib.metadata.Distribution.from_name

def from_name(name):
    if name in ("prunebench", "mlflow", "optuna"):
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)

importlib.metadata.Distribution.from_name = from_name
"""


def environment(folder: Path) -> dict[str, str]:
    """The environment of such a process; ``folder`` takes the file that hides."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_HIDE, encoding="utf-8")
    path = os.pathsep.join([str(folder), str(ROOT / "src")])
    return {**os.environ, "PYTHONPATH": path}


def command(*words: str | Path) -> list[str]:
    """The command line without its script."""
    return [sys.executable, "-m", "prunebench", *map(str, words)]
