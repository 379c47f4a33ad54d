"""Slots on a cluster as the driver sees them, and how they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prunebench.bench.executors.memory import HOST, MemoryGuard, Reading
from prunebench.bench.executors.messages import JobEnded
from prunebench.bench.executors.tracker import SlotState

if TYPE_CHECKING:
    from prunebench.bench.executors.ray.gateway import ResultsGateway

#: Seconds for which an actor waits for news of its worker before it answers.
WAIT_S = 1.0


@dataclass
class RaySlot(SlotState):
    """A slot whose worker an actor runs.

    Attributes:
        actor: The actor; None where one is to be started.
        call: What it has been asked, unanswered.
        greeting: Whether that is where it is, and to start a worker.
        facts: What it said when it came up.
        ready: Whether its worker can take a cell.
        begun: Whether the job has reached it.
        since: Monotonic time of its start, or of the job's.
        used: Bytes that its worker holds.
        start_at: Monotonic time before which no further actor is started.
    """

    actor: Any = None
    call: Any = None
    greeting: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    ready: bool = False
    begun: bool = False
    since: float = 0.0
    used: int = 0
    start_at: float = 0.0

    @property
    def node(self) -> str:
        """Machine it runs on; empty until it is up."""
        return str(self.facts.get("machine", ""))


class Node:
    """Memory of one machine, as its actors report it."""

    def __init__(
        self, floor: int | None, slots: int, busy: Callable[[], Mapping[int, str]]
    ) -> None:
        self.reading: Reading | None = None
        # Which cards an actor sees is Ray's choice; to us they are one place.
        self.guard = MemoryGuard({"cuda": slots, "cpu": slots}, busy, floor, lambda: self.reading)
        self.guard.limits[HOST] = slots


def end(ray: Any, seats: Sequence[RaySlot], gateway: ResultsGateway | None, grace_s: float) -> None:
    """Ends actors: they are asked first, what they have ready is stored, then they are killed."""
    seats = [seat for seat in seats if seat.actor is not None]
    try:
        calls = {seat.actor.stop.remote(): seat for seat in seats if seat.facts}
        calls |= {seat.call: seat for seat in seats if seat.call is not None and seat.begun}
        stop_at = time.monotonic() + grace_s + 2 * WAIT_S
        waiting = list(calls)
        while waiting and (left := stop_at - time.monotonic()) > 0:
            done, waiting = ray.wait(waiting, num_returns=1, timeout=left)
            for call in done:
                with suppress(Exception):  # whoever is gone has nothing to tell
                    _last(ray.get(call), calls[call], gateway)
        last = {seat.node: seat for seat in seats if seat.facts}
        with suppress(Exception):
            clearing = [seat.actor.clear.remote() for seat in last.values()]
            ray.wait(clearing, num_returns=len(clearing), timeout=5.0)
    finally:
        for seat in seats:
            with suppress(Exception):
                ray.kill(seat.actor, no_restart=True)
            seat.actor = seat.call = None
        if gateway is not None:
            gateway.close()


def _last(said: Any, seat: RaySlot, gateway: ResultsGateway | None) -> None:
    if gateway is None or seat.job is None or not isinstance(said, dict):
        return
    for message in said["messages"]:
        if isinstance(message, JobEnded) and said["parcel"] is not None:
            gateway.finish(seat.job, said["parcel"])
            return
    if said["checkpoint"]:
        gateway.checkpoint(seat.job.key, said["checkpoint"])
