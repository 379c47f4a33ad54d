"""How a cell is run; none of it moves a result."""

from __future__ import annotations

from collections.abc import Mapping
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
