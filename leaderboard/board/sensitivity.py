"""Does the rule for diverged runs decide a rank?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prunebench.leaderboard.board.model import Row
from prunebench.leaderboard.board.rows import Slot, Slots, mean_over_noises
from prunebench.leaderboard.stats.exact import Number


def diverged_as_chance(rows: Sequence[Row], slots_of: Mapping[str, Slots]) -> tuple[str, ...]:
    """One line where counting diverged runs as chance moves a rank; empty otherwise.

    Args:
        rows: Complete rows with their ranks.
        slots_of: Runs of each row by label.
    """
    ranked = [row for row in rows if row.rank is not None]
    if not any(run.diverged for row in ranked for run in slots_of[row.label].values()):
        return ()
    means = {row.label: mean_over_noises(_as_chance(slots_of[row.label])) for row in ranked}
    moved = []
    for row in ranked:
        rank = 1 + sum(other > means[row.label] for other in means.values())
        if rank != row.rank:
            moved.append(f"{row.label} {row.rank} → {rank}")
    if not moved:
        return ("Counting diverged runs as chance changes no rank.",)
    return (f"Counting diverged runs as chance changes ranks: {', '.join(moved)}.",)


def _as_chance(slots: Slots) -> dict[Slot, Number]:
    return {
        slot: run.chance if run.diverged and run.chance is not None else run.accuracy or 0.0
        for slot, run in slots.items()
    }
