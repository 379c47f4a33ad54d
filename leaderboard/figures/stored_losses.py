"""Per-sample losses that runs stored, with the knowledge of which labels are wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.figures.answers import NOT_TESTED
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.highlight import highlight
from prunebench.leaderboard.stats.special import rounded

FILE = "losses.npz"


@dataclass(frozen=True)
class Losses:
    """Stored losses of one run.

    Attributes:
        epochs: int64 [n], counted from 1.
        loss: float64 [n, N], NaN before a first visit.
        wrong: bool [N].
    """

    epochs: NDArray[np.int64]
    loss: NDArray[np.float64]
    wrong: NDArray[np.bool_]

    def trained_next(self, row: int) -> NDArray[np.bool_] | None:
        """Which samples the epoch after a stored one trained, bool [N]: their entry changed.

        None where the following epoch is not stored. A loss of exactly 0 that stays 0 counts as
        trained, for such a loss does not change when it is written again.
        """
        if row + 1 >= len(self.epochs) or self.epochs[row + 1] != self.epochs[row] + 1:
            return None
        now, after = self.loss[row], self.loss[row + 1]
        same = (now == after) | (np.isnan(now) & np.isnan(after))
        return np.asarray(~same | ((now == 0) & (after == 0)))


@dataclass(frozen=True)
class StoredLosses:
    """Rows of one table and noise setting with stored losses, one run each.

    Attributes:
        table, noise: Where.
        rows: Run with the smallest seed, and its losses, by label in the table's order.
    """

    table: Table
    noise: str
    rows: dict[str, tuple[Run, Losses]]


def stored(material: Material) -> Iterator[StoredLosses | str]:
    """What there is, or why a (table, noise) has nothing; silent where no run stored losses."""
    for table in material.board.tables:
        for noise in table.noises:
            rows: dict[str, tuple[Run, Losses]] = {}
            reasons: set[str] = set()
            for label in [row.label for row in (*table.rows, *table.incomplete)]:
                for (name, _), run in sorted(table.runs.get(label, {}).items()):
                    if name != noise or FILE not in run.record.artifacts or label in rows:
                        continue
                    found = losses_of(material, run)
                    if isinstance(found, Losses):
                        rows[label] = (run, found)
                    else:
                        reasons.add(found)
            if rows:
                yield StoredLosses(table, noise, rows)
            elif reasons:
                where = f"{table.dataset}, {noise}, ratio {table.ratio:g}"
                yield f"{where}: {'; '.join(sorted(reasons))}"


def losses_of(material: Material, run: Run) -> Losses | str:
    """Stored losses of a run, or why there are none in which some label is known to be wrong.

    Raises:
        InputError: An artifact that is not its record's, or arrays that do not fit.
    """
    arrays = material.arrays(run, FILE)
    if arrays is None:
        return "losses.npz is not at hand"
    if "wrong" not in arrays:
        return "losses.npz does not say which labels are wrong (stored by an earlier version)"
    try:
        epochs, loss = arrays["epoch"].astype(np.int64), arrays["loss"].astype(np.float64)
        wrong = arrays["wrong"].astype(bool)
        fits = loss.shape == (*epochs.shape, *wrong.shape) and loss.ndim == 2
    except (KeyError, ValueError, TypeError):
        fits = False
    if not fits:
        raise InputError("lacks arrays, or their shapes do not fit", accepted="epoch, loss, wrong",
                         where=f"artifact {FILE} of {run.record.key}")  # fmt: skip
    if not wrong.any():
        return "no label is known to be wrong"
    return Losses(epochs, loss, wrong)


def few_rows(material: Material, found: StoredLosses) -> tuple[StoredLosses, str]:
    """The rows that pictures of single runs have room for, and a sentence on the others."""
    chosen = highlight(material.summary(found.table), found.rows)
    rows = {label: item for label, item in found.rows.items() if label in chosen}
    others = len(found.rows) - len(rows)
    words = f" Rows with stored losses that are not shown: {others}." if others else ""
    return StoredLosses(found.table, found.noise, rows), words


def told_apart(found: StoredLosses) -> str:
    """How often a wrong label has the larger loss in the last stored epoch of each run."""
    shares = {label: rounded(larger(losses), 6) for label, (_, losses) in found.rows.items()}
    known = {label: share for label, share in shares.items() if math.isfinite(share)}
    if not known:
        return NOT_TESTED
    low, high = (end(sorted(known), key=lambda x: known[x]) for end in (min, max))
    return (f"{NOT_TESTED} In the last stored epoch a wrong label has a larger loss than a clean "
            f"one with probability {known[low]:.2f} ({low})"
            + (f" to {known[high]:.2f} ({high})" if high != low else "") + ".")  # fmt: skip


def larger(losses: Losses) -> float:
    """Probability that a wrong label's last stored loss is above a clean one's, ties half; NaN
    where one kind has none."""
    loss, wrong = losses.loss[-1], losses.wrong
    known = np.isfinite(loss)
    high, low = np.sort(loss[known & wrong]), np.sort(loss[known & ~wrong])
    if not len(high) or not len(low):
        return math.nan
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(int(below.sum()) / (2 * len(high) * len(low)))


def nothing_stored(reasons: list[str]) -> str:
    """Why there is no figure of losses."""
    return "; ".join(reasons) or "no run stored per-sample losses (run with --record-losses)"
