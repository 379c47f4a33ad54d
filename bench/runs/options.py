"""How a cell is run; none of it moves a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prunebench.bench.train.setup import Execution
from prunebench.methods.base import EvidenceSpec


@dataclass(frozen=True)
class CellOptions:
    """How a cell is run; none of it moves a result.

    Attributes:
        data: Options that open the data set on this machine (paths included).
        method_params: Options of the method that the key replaces by digests (paths).
        weights: File of the initial weights, where the recipe names some.
        evidence: What a full-data run should record for the static methods of the grid.
        device: Torch device.
        checkpoint_s: Seconds between checkpoints; 0 makes one after every epoch.
        losses: Epochs whose per-sample losses are stored; empty stores all, None none.
        retry_failed: Whether a failed record is redone.
        execution: How steps are run.
        label: Name of the row on boards; empty for the method's.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    method_params: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    evidence: EvidenceSpec = field(default_factory=EvidenceSpec)
    device: str = "cpu"
    checkpoint_s: float = 30.0
    losses: frozenset[int] | None = None
    retry_failed: bool = False
    execution: Execution = field(default_factory=Execution)
    label: str = ""


@dataclass(frozen=True)
class WorkerContext:
    """What a worker function knows beside its payload.

    Attributes:
        settings: As given to the executor; the same for every job.
        device: Device of this slot, such as ``cpu`` or ``cuda``.
        report: Tells the share done, 0..1; cheap enough for every step.
        retry_on_oom: Whether a lack of memory may escape as an exception: the job is then run again
            with fewer others beside it.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    report: Callable[[float], None] = lambda fraction: None
    retry_on_oom: bool = False
