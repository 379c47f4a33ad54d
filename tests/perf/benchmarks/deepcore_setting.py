"""What DeepCore's script and ours are asked for, and what keeps their choices apart."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prunebench.errors import InputError, nearest

THEIRS, OURS = "DeepCore", "ours"
_RAW = "MNIST/raw/train-images-idx3-ubyte"


@dataclass(frozen=True)
class Method:
    """One row.

    Attributes:
        theirs: Words of DeepCore's command line.
        ours: Name here.
        params: Options here that make it the same.
        differs: What keeps the choices of the two apart, DeepCore's faults named as such.
    """

    theirs: tuple[str, ...]
    ours: str
    differs: str
    params: Mapping[str, Any] = field(default_factory=dict)


METHODS = {
    "uniform": Method(
        ("Uniform",), "random",
        "DeepCore's command line draws the same share of every class, ours from all samples",
    ),
    "forgetting": Method(
        ("Forgetting",), "forgetting",
        "counts are small integers, so ties decide much of the subset, and they fall differently; "
        "DeepCore rounds the size of each class, ours add up to the budget",
    ),
    "grand": Method(
        ("GraNd",), "grand",
        "DeepCore's command line takes the same share of every class, ours the largest norms of "
        "all; fault of DeepCore: it divides each norm by the size of its batch, so that samples of "
        "the last, shorter batch rank too high; both average 10 runs",
        {"repeats": 10},
    ),
    "margin": Method(
        ("Uncertainty", "--uncertainty", "Margin"), "margin",
        "DeepCore's command line takes the same share of every class, ours the smallest margins of "
        "all; fault of DeepCore: without its balance it keeps the largest margins",
    ),
    "k-center": Method(
        ("kCenterGreedy",), "k-center",
        "DeepCore measures distances between features of a ResNet pretrained on ImageNet, ours "
        "between those of the network that is trained; fault of DeepCore: its choice by class "
        "needs a name that NumPy has removed",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """What is compared.

    Attributes:
        official: The clone.
        data: Folder with ``MNIST/raw``, unpacked.
        out: Folder of the reports and of what both sides leave.
        python: Interpreter of the clone, by its full path.
        methods: Names in ``METHODS``.
        fraction: Share of the data kept.
        epochs: Of the final training.
        selection_epochs: Of the runs that score.
        batch: Batch size.
        lr: Learning rate at the start.
        repeats: Turns; each has a seed of its own.
        cores: Threads of DeepCore's process, and processes of ours.
        loaders: Loading processes of DeepCore.
        device: ``cpu`` or ``cuda``.
        limit: Seconds that a method of DeepCore may take.
    """

    official: Path
    data: Path
    out: Path
    python: str = sys.executable
    methods: tuple[str, ...] = tuple(METHODS)
    fraction: float = 0.5
    epochs: int = 3
    selection_epochs: int = 3
    batch: int = 128
    lr: float = 0.1
    repeats: int = 3
    cores: int = 1
    loaders: int = 0
    device: str = "cpu"
    limit: float = 3600.0

    def checked(self) -> Setting:
        """The same, with paths that hold in any folder.

        Raises:
            InputError: Something is missing or out of range; nothing has run.
        """
        if not (self.official / "main.py").is_file():
            raise InputError("no main.py there", where=f"--official {self.official}",
                             accepted="a clone of the DeepCore repository")  # fmt: skip
        if not (self.data / _RAW).is_file():
            raise InputError(f"no {_RAW} there", where=f"--data {self.data}",
                             accepted="the folder above MNIST/raw, files unpacked")  # fmt: skip
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise InputError("is not empty", where=f"--out {self.out}",
                             accepted="a new or an empty folder")  # fmt: skip
        for name in self.methods:
            if name not in METHODS:
                raise InputError(
                    f"no method {name!r}", where="--methods", accepted=nearest(name, METHODS)
                )
        for name in ("epochs", "selection_epochs", "batch", "repeats", "cores"):
            if getattr(self, name) < 1:
                raise InputError(f"{getattr(self, name)}", where=f"--{name.replace('_', '-')}",
                                 accepted="at least 1")  # fmt: skip
        if not 0 < self.fraction < 1:
            raise InputError(f"{self.fraction}", where="--fraction", accepted="between 0 and 1")
        found = {name: getattr(self, name).resolve() for name in ("official", "data", "out")}
        return replace(self, **found)


def words(s: Setting, name: str, seed: int, folder: Path) -> list[str]:
    """DeepCore's command line."""
    given = {
        "--fraction": s.fraction, "--dataset": "MNIST", "--data_path": s.data, "--num_exp": 1,
        "--workers": s.loaders, "--optimizer": "SGD", "-se": s.selection_epochs,
        "--model": "LeNet", "--lr": s.lr, "-sp": folder, "--batch": s.batch,
        "--epochs": s.epochs, "--seed": seed,
    }  # fmt: skip
    flat = [str(word) for pair in given.items() for word in pair]
    return [s.python, "-u", "main.py", *flat, "--selection", *METHODS[name].theirs]


def grid(s: Setting, names: Sequence[str], seed: int) -> str:
    """The same as a grid file of ours."""
    fields = {"model": "lenet", "model_params": {}, "epochs": s.epochs, "batch_size": s.batch,
              "lr": s.lr, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4,
              "schedule": "cosine", "augment": "none", "eval_every": 1}  # fmt: skip
    scoring = {"epochs": s.selection_epochs, "warmup": s.selection_epochs,
               "schedule": "constant", "eval_every": 0}  # fmt: skip
    lines = [
        'name = "deepcore"', 'dataset = "mnist"', 'recipe = "mnist"', f"seed = {seed}",
        f"method = {json.dumps([METHODS[name].ours for name in names])}",
        f"ratio = {round(1 - s.fraction, 9)}", "reference = { size = 0 }",
        f"recipe_params = {_toml(fields)}", f"scoring_params = {_toml(scoring)}",
    ]  # fmt: skip
    lines += [
        f"[params.{METHODS[n].ours}]\n" + _toml(METHODS[n].params)[2:-2]
        for n in names if METHODS[n].params
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _toml(fields: Mapping[str, Any]) -> str:
    """An inline table of texts, numbers, true or false, and empty tables."""
    return "{ " + ", ".join(f"{name} = {json.dumps(v)}" for name, v in fields.items()) + " }"
