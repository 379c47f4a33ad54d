"""Does the rule for diverged runs decide a rank?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prunebench.leaderboard.rows import Slots
from prunebench.leaderboard.tables import Row


def diverged_as_chance(
    rows: Sequence[Row], slots_of: Mapping[str, Slots], noises: Sequence[str]
) -> tuple[str, ...]:
    """One line where counting diverged runs as chance moves a rank; empty otherwise.

    Args:
        rows: Complete rows with their ranks.
        slots_of: Runs of each row by label.
        noises: Columns of the table.
    """
    ranked = [row for row in rows if row.rank is not None]
    if not any(run.diverged for row in ranked for run in slots_of[row.label].values()):
        return ()
    means = {row.label: _mean(slots_of[row.label], noises) for row in ranked}
    moved = []
    for row in ranked:
        rank = 1 + sum(other > means[row.label] for other in means.values())
        if rank != row.rank:
            moved.append(f"{row.label} {row.rank} → {rank}")
    if not moved:
        return ("Counting diverged runs as chance changes no rank.",)
    return (f"Counting diverged runs as chance changes ranks: {', '.join(moved)}.",)


def _mean(slots: Slots, noises: Sequence[str]) -> float:
    columns = []
    for noise in noises:
        values = [
            run.chance if run.diverged and run.chance is not None else run.accuracy or 0.0
            for (name, _), run in slots.items()
            if name == noise
        ]
        columns.append(sum(values) / len(values))
    return round(sum(columns) / len(columns), 9)
