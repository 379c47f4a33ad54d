"""What a worker function knows beside its payload."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class WorkerContext:
    """Where and for whom a worker function works.

    Attributes:
        settings: As given to the executor; the same for every job.
        device: Device of this slot, such as ``cpu`` or ``cuda``.
        report: Takes the share done, 0..1; cheap enough for every step.
        retry_on_oom: Whether a lack of memory may escape as an exception: the job is then run again
            with fewer others at once.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    report: Callable[[float], None] = lambda fraction: None
    retry_on_oom: bool = False
