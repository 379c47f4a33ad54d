"""Which row needs the fewest samples to an accuracy; medians without a test."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prunebench.leaderboard.findings.model import Finding, Ground
from prunebench.leaderboard.findings.phrases import counted, joined, listed
from prunebench.leaderboard.learning_curves.to_target import TargetTable, ToTarget
from prunebench.leaderboard.number_text import interval

#: Decimals of percent.
DIGITS = 0
#: Noise settings that are named one by one.
MOST_SETTINGS = 4
MOST_SETTINGS = 4


def target_findings(tables: Sequence[TargetTable]) -> tuple[Finding, ...]:
    """One for each table and target: the pruning row whose median saving against full training is
    largest in each noise setting, the scoring run that it rests on counted."""
    return tuple(
        finding for table in tables for target in table.targets
        if (finding := _of(table, target)) is not None
    )  # fmt: skip


def _of(found: TargetTable, target: float) -> Finding | None:
    table = found.table
    scope = f"{table.dataset}, ratio {table.ratio:g}"
    goal = f"{100 * target:g} % of full training's accuracy"
    by_noise: dict[str, list[ToTarget]] = {noise: [] for noise in table.noises}
    for one in found.found:
        if one.target == target and one.kind == "method" and one.n:
            by_noise[one.noise].append(one)
    own = {noise: rows for noise, rows in by_noise.items() if rows}
    if not own:
        return None
    grounds, said, open_ = [], [], []
    for noise, rows in own.items():
        best = min((row for row in rows if _median(row) < math.inf), key=_median, default=None)
        if best is None:
            open_.append(noise)
            continue
        ground = _ground(best)
        grounds.append(ground)
        said.append(f"{best.label} under {noise} "
                    f"({interval(ground.mean, ground.low, ground.high, DIGITS)} %)")  # fmt: skip
    most = max(len(rows) for rows in own.values())
    if not said:
        places = counted(len(own), "setting")
        return Finding("samples to accuracy", scope, f"No pruning row reaches {goal} in more than "
                       f"half of its runs, under any of {places}.")  # fmt: skip
    shown = said[:MOST_SETTINGS]
    shown += [f"others under {len(said) - MOST_SETTINGS} more"] * (len(said) > MOST_SETTINGS)
    more = [f"Reached by no row in more than half of its runs: {listed(open_)}."] * bool(open_)
    other = sorted({row.label for rows in own.values() for row in rows if row.other_network})
    more += ["Not compared, since another network's scoring run is in their cost: "
             f"{listed(other)}."] * bool(other)  # fmt: skip
    spread = "; brackets: intervals of the median" * any(g.low is not None for g in grounds)
    more.append("(Median over seeds of samples against full training's to the same accuracy, "
                f"scoring runs counted{spread}; the best is picked, without a test.)")  # fmt: skip
    return Finding("samples to accuracy", scope,
                   f"Fewest samples to {goal}, of {counted(most, 'pruning row')}: {joined(shown)}.",
                   " ".join(more), grounds=tuple(grounds))  # fmt: skip


def _median(row: ToTarget) -> float:
    """Share of full training's samples; infinite where it is not reached or not known."""
    share = row.share_with_scoring
    return math.inf if share is None else share.median


def _ground(row: ToTarget) -> Ground:
    """Samples more (above 0) or fewer than full training, in percent."""
    share = row.share_with_scoring
    assert share is not None
    low, high = (None if end is None or math.isinf(end) else 100 * (end - 1)
                 for end in (share.low, share.high))  # fmt: skip
    return Ground("median", f"{row.label} under {row.noise}", mean=100 * (share.median - 1),
                  low=low, high=high)  # fmt: skip
