"""How runs are executed. None of it moves a result, and no key knows it.

The options of the command line, what workers are given and what a dry run assumes are all made
from the fields of one dataclass: a new option is one new field.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from prunebench.errors import InputError

#: Work spaces with which cuBLAS repeats its bits; ``prunebench.bench`` sets the first.
_REPEATING = (":4096:8", ":16:8")


@dataclass(frozen=True)
class Flag:
    """How the command line spells a field.

    Attributes:
        names: Names of its option; a switch where the field holds true, false or one of two words.
        help: What it does.
        number: Kind of number that it takes; None where it takes none.
        low: Least number; None for any.
        high: Greatest number; likewise.
        above: Whether ``low`` itself is too little.
        choices: The words that are accepted, where they are few.
        metavar: Placeholder of the value.
        unset: The value where the user says nothing; the field's default where it is ``...``.
        read: What the field holds for a value of the option.
    """

    names: tuple[str, ...]
    help: str
    number: type[int] | type[float] | None = None
    low: int | None = None
    high: int | None = None
    above: bool = False
    choices: Sequence[str] = ()
    metavar: str | None = None
    unset: Any = ...
    read: Callable[[Any], Any] = lambda value: value

    @property
    def is_switch(self) -> bool:
        """Whether the option takes no value."""
        return self.unset is False


def _option(default: Any, flag: Flag | None = None, *, worker: bool = False) -> Any:
    """A field with its flag, and whether workers are given it."""
    return dataclasses.field(default=default, metadata={"flag": flag, "worker": worker})


def _bytes(gib: float | None) -> int | None:
    return None if gib is None else int(gib * 2**30)


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """How runs are executed. The help of its flag describes a field; beyond that:

    Attributes:
        workers: 0 takes what a Ray cluster has room for.
        slots_per_device: Of no meaning where ``devices`` are CPUs.
        compile: In a captured step, and on a CPU unless ``graph`` is ``off``.
        graph: ``auto`` captures the step where the device can and the run allows; ``off`` launches
            every operation; ``rehearse`` takes the captured form without capturing, on any device.
        checkpoint_s: 0 makes a checkpoint after every epoch.
        free_memory: In bytes, see ``MemoryGuard``; None for the default.
        inline: Whether runs take place in this process.
        plugins: Files whose decorators register methods and data sets.
    """

    workers: int = _option(1, Flag(
        ("--workers", "-w"),
        "Cells at once (default: the cores of this machine, the slots of its devices, or what a "
        "Ray cluster has room for; 1 for `run`).",
        number=int, low=1, high=1024, unset=None,
    ))  # fmt: skip
    threads: int = _option(1, Flag(
        ("--threads",), "Intra-op threads per CPU cell; two counts do not give the same bits.",
        number=int, low=1, high=256,
    ), worker=True)  # fmt: skip
    devices: tuple[str, ...] = _option(("cpu",), Flag(
        ("--device", "--devices"), "Torch devices, separated by commas: cpu, cuda:0,cuda:1.",
        unset="cpu", read=lambda text: tuple(name.strip() for name in text.split(",")),
    ))  # fmt: skip
    slots_per_device: int = _option(1, Flag(
        ("--slots-per-device",), "Cells at once on each accelerator.", number=int, low=1, high=64,
    ))  # fmt: skip
    lanes: int = _option(1, Flag(
        ("--lanes",),
        "Cells that one process interleaves on each card, in place of --slots-per-device.",
        number=int, low=1, high=64,
    ))  # fmt: skip
    compile: bool = _option(False, Flag(
        ("--compile",),
        "The network through torch.compile: minutes per process, and results that differ by "
        "rounding.",
        unset=False,
    ), worker=True)  # fmt: skip
    deterministic: bool = _option(False, Flag(
        ("--deterministic",), "On a card: only algorithms that repeat their bits.", unset=False,
    ), worker=True)  # fmt: skip
    graph: Literal["auto", "off", "rehearse"] = _option("auto", Flag(
        ("--no-graph",),
        "On a card: launch every operation instead of replaying a graph.",
        unset=False, read=lambda off: "off" if off else "auto",
    ), worker=True)  # fmt: skip
    checkpoint_s: float = _option(30.0, Flag(
        ("--checkpoint-s",), "Seconds between checkpoints inside a run.", number=float, low=0,
    ), worker=True)  # fmt: skip
    time_limit_s: float | None = _option(None, Flag(
        ("--time-limit",), "Seconds per cell; longer cells are stopped and recorded as failed.",
        number=float, low=0, above=True,
    ))  # fmt: skip
    retry_failed: bool = _option(False, Flag(
        ("--retry-failed",), "Run failed cells again.", unset=False,
    ), worker=True)  # fmt: skip
    mlflow: bool = _option(True, Flag(
        ("--no-mlflow",), "Do not mirror into MLflow.", unset=False, read=lambda off: not off,
    ))  # fmt: skip
    mlflow_uri: str | None = _option(None, Flag(
        ("--mlflow-uri",), "Tracking URI (default: mlflow.db in the results folder).",
    ))  # fmt: skip
    quiet: bool = _option(False, Flag(
        ("--quiet", "-q"), "No progress display.", unset=False,
    ))  # fmt: skip
    executor: Literal["local", "ray"] = _option("local", Flag(
        ("--executor",), "Worker processes here, or a Ray cluster.", choices=("local", "ray"),
    ))  # fmt: skip
    ray_address: str | None = _option(None, Flag(
        ("--ray-address",), "A running Ray cluster (default: one of its own, on this machine).",
        metavar="auto|HOST:PORT",
    ))  # fmt: skip
    free_memory: int | None = _option(None, Flag(
        ("--free-memory",),
        "Memory to leave free: fewer cells run at once where it would be less (default: 5 %, at "
        "most 1; 0 never waits).",
        number=float, low=0, metavar="GIB", read=_bytes,
    ))  # fmt: skip
    inline: bool = _option(False)
    plugins: tuple[str, ...] = _option(())

    @classmethod
    def flags(cls) -> dict[str, tuple[Flag, Any]]:
        """Fields that the command line sets: their flags, and their options' defaults."""
        found: dict[str, tuple[Flag, Any]] = {}
        for field in dataclasses.fields(cls):
            flag: Flag | None = field.metadata["flag"]
            if flag is not None:
                found[field.name] = (flag, field.default if flag.unset is ... else flag.unset)
        return found

    def for_workers(self) -> dict[str, Any]:
        """The fields that a run itself needs, as JSON values; addresses and passwords stay."""
        names = [f.name for f in dataclasses.fields(self) if f.metadata["worker"]]
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of_worker(cls, settings: Mapping[str, Any]) -> Self:
        """Inverse of ``for_workers``; other entries are left alone, missing ones have defaults."""
        names = [f.name for f in dataclasses.fields(cls) if f.metadata["worker"]]
        return cls(**{name: settings[name] for name in names if name in settings})


def check_deterministic() -> None:
    """Checks that nobody has set work spaces with which matrix products on a card differ.

    Raises:
        InputError: CUBLAS_WORKSPACE_CONFIG has such a value.
    """
    found = os.environ.get("CUBLAS_WORKSPACE_CONFIG", "")
    if found not in _REPEATING:
        raise InputError(
            f"--deterministic with work spaces of cuBLAS that do not repeat their bits ({found!r})",
            where="CUBLAS_WORKSPACE_CONFIG",
            accepted=f"{' or '.join(_REPEATING)}, or the variable unset",
        )
