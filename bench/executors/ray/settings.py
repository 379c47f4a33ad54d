"""How jobs run on a Ray cluster, and what its actors start with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.bench.executors.base import OnLost
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import InputError

if TYPE_CHECKING:
    from prunebench.bench.results.store import Store

_UNITS = 10_000


@dataclass(frozen=True)
class RaySettings:
    """How jobs run on a Ray cluster; see ``LocalExecutor`` for the fields that are not here.

    Attributes:
        options: ``workers`` is the number of actors; 0 takes as many as the cluster has room for.
            ``threads`` is also the number of CPUs of each. ``devices`` are those of a cluster of
            its own; on another cluster Ray chooses among the cards.
        store: The results folder. A node that does not see it works in a folder of its own, and
            what it makes is sent back. None where jobs leave no results.
        attempts: Times a cell is started whose worker, actor or node dies under it.
        sees_results: Whether nodes see the results folder; None asks each.
        start_s: Seconds to wait for the first actor.

    Raises:
        InputError: A number out of range, or devices of two kinds.
    """

    options: ExecutionOptions
    store: Store | None = None
    on_lost: OnLost | None = None
    run: str = "prunebench.bench.runs.job:run_payload"
    attempts: int = 2
    grace_s: float = 3.0
    keep: bool = False
    sees_results: bool | None = None
    start_s: float = 300.0

    def __post_init__(self) -> None:
        options, limit = self.options, self.options.time_limit_s
        numbers = {
            "threads": options.threads,
            "attempts": self.attempts,
            "slots": options.workers or 1,
            "slots per device": options.slots_per_device,
        }
        for name, number in numbers.items():
            if number < 1:
                raise InputError(f"{name} is {number}", accepted="1 or more")
        if limit is not None and not limit > 0:
            raise InputError(f"time limit of {limit} s", accepted="more than 0")
        if len({device.partition(":")[0] for device in options.devices}) > 1:
            raise InputError(
                f"devices of two kinds: {', '.join(options.devices)}",
                where="--executor ray",
                accepted="cpu, or accelerators only",
            )

    @property
    def device(self) -> str:
        """Kind of device: ``cpu`` or ``cuda``."""
        return self.options.devices[0].partition(":")[0]

    @property
    def cards(self) -> list[int]:
        """Cards of a cluster of its own; empty on the CPU."""
        names = [device.partition(":")[2] for device in self.options.devices]
        return [] if self.device == "cpu" else [int(name or 0) for name in names]

    @property
    def slot_size(self) -> tuple[int, float]:
        """CPUs of an actor, and its share of a card."""
        # Ray counts in ten-thousandths; rounded up, the last of six would not fit.
        share = _UNITS // self.options.slots_per_device / _UNITS if self.cards else 0.0
        return self.options.threads, share

    @property
    def slots(self) -> int:
        """Number of actors; 0 where the cluster decides."""
        if self.options.workers or self.options.ray_address is not None:
            return self.options.workers
        return len(self.cards) * self.options.slots_per_device or os.cpu_count() or 1


@dataclass(frozen=True)
class Plugin:
    """A plug-in file with its content: a node may not see the path."""

    path: str
    content: bytes


@dataclass(frozen=True)
class ActorStart:
    """What an actor starts with.

    Attributes:
        settings: Of the run, without what stays in the driver's process.
        plugins: Files that every worker loads first.
        run: Random name, for the folder that the actors of a node share, and for ``probe``.
        folder: Working folder of the driver; used where it exists.
        path: Import path of the driver; entries that exist are added.
        root: The driver's results folder; None where there is none.
        number: The slot.
    """

    settings: RaySettings
    plugins: tuple[Plugin, ...]
    run: str
    folder: str
    path: tuple[str, ...]
    root: Path | None
    number: int = 0

    @property
    def probe(self) -> Path | None:
        """A file in the results folder that holds the name of the run."""
        return self.root and self.root / ".tmp" / f"probe-{self.run}"
