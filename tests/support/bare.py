"""A real process on a machine that has the source tree and lacks optional packages: prunebench is
not installed, and mlflow and optuna cannot be imported, in worker processes neither."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.command import Said

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


#: Several verbs one after the other: torch is imported once.
_VERBS = """
import contextlib, io, json, sys
from prunebench.bench.cli import main

found = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["prunebench", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    found.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(found))
"""


def verbs(folder: Path, *lines: Sequence[str]) -> list[Said]:
    """What several command lines say in one such process, whose folder is ``folder``."""
    words = [sys.executable, "-c", _VERBS, json.dumps(lines)]
    done = subprocess.run(
        words, env=environment(folder / "hide"), cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [Said(*one) for one in json.loads(done.stdout)]
