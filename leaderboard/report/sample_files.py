"""What runs stored of single samples: visits, scores, losses, and which labels are wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.stored_losses import FILE, Losses, losses_of

SAMPLES = "samples.npz"


@dataclass
class SampleFiles:
    """Reads the artifacts of single samples, each damaged one noted once and then left out.

    Attributes:
        material: Board and artifacts.
        faults: Artifacts that could not be used.
    """

    material: Material
    faults: list[InputError] = field(default_factory=list)
    _wrong: dict[str, tuple[NDArray[Any], NDArray[np.bool_]] | None] = field(default_factory=dict)

    def losses(self, run: Run) -> Losses | None:
        """Stored losses in which some label is wrong; None without."""
        if FILE not in run.record.artifacts:
            return None
        found = self._tried(lambda: losses_of(self.material, run))
        return found if isinstance(found, Losses) else None

    def samples(self, run: Run) -> Mapping[str, NDArray[Any]] | None:
        """``id`` and ``visits``, and ``score`` where the run had one; None without."""
        if SAMPLES not in run.record.artifacts:
            return None
        arrays: Mapping[str, NDArray[Any]] | None = self._tried(
            lambda: self.material.arrays(run, SAMPLES)
        )
        if arrays is None or not {"id", "visits"} <= arrays.keys():
            return None
        sizes = {arrays[name].shape for name in ("id", "visits", "score") if name in arrays}
        if len(sizes) != 1 or len(next(iter(sizes))) != 1:
            where = f"artifact {SAMPLES} of {run.record.key}"
            accepted = "id, visits and score of one length"
            self.faults.append(InputError("its arrays do not fit", where=where, accepted=accepted))
            return None
        return arrays

    def wrong(self, runs: list[Run]) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
        """Ids and which of their labels are wrong, of runs that have the same noisy labels; from
        the first of them that stored losses."""
        for run in runs:
            digest = str(run.record.info.get("label_digest"))
            if digest not in self._wrong and FILE in run.record.artifacts:
                arrays = self._tried(lambda run=run: self.material.arrays(run, FILE))  # type: ignore[misc]
                known = arrays is not None and {"id", "wrong"} <= arrays.keys()
                if known and arrays["id"].shape == arrays["wrong"].shape:
                    self._wrong[digest] = arrays["id"], arrays["wrong"].astype(bool)
            if self._wrong.get(digest) is not None:
                return self._wrong[digest]
        return None

    def _tried(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except InputError as fault:
            if str(fault) not in map(str, self.faults):
                self.faults.append(fault)
            return None


def aligned(ids: NDArray[Any], known: NDArray[Any], values: NDArray[Any]) -> NDArray[Any] | None:
    """Values by id in the order of other ids; None where one is not known."""
    order = np.argsort(known, kind="stable")
    places = np.searchsorted(known[order], ids)
    if len(known) == 0 or (places >= len(known)).any() or (known[order][places] != ids).any():
        return None
    found: NDArray[Any] = values[order][places]
    return found


def auroc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive scores above a negative, ties as half; entries that are not
    finite are left out. None where one side is empty."""
    known = np.isfinite(scores)
    scores, positive = scores[known], positive[known]
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place.reshape(-1)][positive].tolist()
    return (math.fsum(ranks) - n * (n + 1) / 2) / (n * m)
