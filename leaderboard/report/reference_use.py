"""Which reference set a run used: what it is made of, how large and how pure it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prunebench.leaderboard.board.collect import Run

#: Options that describe the reference of a method; all others say what is done with it.
OPTIONS = ("align.reference", "align.reference_size", "align.impurity")
CLEAN = "clean"


@dataclass(frozen=True, order=True)
class ReferenceUse:
    """A reference set.

    Attributes:
        kind: ``clean``, or what its samples are drawn from.
        size: Samples; None where no record says it.
        impurity: Share of its labels that were replaced by wrong ones.
    """

    kind: str
    size: int | None
    impurity: float

    @property
    def words(self) -> str:
        """``90 clean``, ``10 clean, 40 % made wrong``, ``90 train``."""
        size = "" if self.size is None else f"{self.size} "
        return f"{size}{self.kind}" + (
            f", {100 * self.impurity:g} % made wrong" * bool(self.impurity)
        )


def reference_use(run: Run) -> ReferenceUse | None:
    """The reference set of a run; None where its method uses none."""
    params, info = run.params, run.record.info
    kind = params.get("align.reference")
    if kind is None and "reference" not in str(info.get("clean_labels_used") or ""):
        return None
    size = params.get("align.reference_size") or info.get("reference_size")
    impurity = params.get("align.impurity") or 0.0
    return ReferenceUse(str(kind or CLEAN), int(size) if size else None, float(impurity))


def without_reference(params: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a method but for those of its reference."""
    return {name: value for name, value in params.items() if name not in OPTIONS}
