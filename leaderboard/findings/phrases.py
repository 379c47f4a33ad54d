"""Lists of names, and mean differences with their intervals, for sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from prunebench.leaderboard.findings.model import Ground
from prunebench.leaderboard.inference.series import Cell, Series, clusters, differences
from prunebench.leaderboard.number_text import interval
from prunebench.leaderboard.stats.exact import exact, mean
from prunebench.leaderboard.stats.pooled import MIN_SEEDS, flatten, moments
from prunebench.leaderboard.stats.special import t_quantile

#: Names that a sentence lists; of more it says the number.
MOST = 3
#: Decimals of points.
DIGITS = 2


def joined(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def listed(names: Sequence[str]) -> str:
    """Some names, and how many there are beside them."""
    if len(names) <= MOST + 1:
        return joined(list(names))
    return f"{', '.join(names[:MOST])} and {len(names) - MOST} more"


def counted(count: int, word: str) -> str:
    """``1 row``, ``3 rows``."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def averaged(
    pairs: Sequence[tuple[Series, Series]], what: str, wanted: Callable[[Cell], bool] | None = None
) -> Ground | None:
    """Mean of a - b over several pairs, and its 95 % t interval for new seeds.

    Args:
        pairs: Rows (a, b).
        what: What the interval is of.
        wanted: Cells that count; None for all.

    Returns:
        The interval, over cells and seeds that all pairs have; None where none has two of them.
        ``low`` and ``high`` are None where there are too few seeds for an interval.
    """
    found = [differences(a, b) for a, b in pairs]
    common = set.intersection(*(set(d) for d in found)) if found else set()
    d: dict[Cell, dict[int, Fraction]] = {}
    for cell in sorted(common):
        seeds = set.intersection(*(set(one[cell]) for one in found))
        if (wanted is None or wanted(cell)) and len(seeds) >= MIN_SEEDS:
            d[cell] = {s: mean([exact(one[cell][s]) for one in found]) for s in sorted(seeds)}
    if not d:
        return None
    pooled = moments(flatten(d, clusters(d)))
    if not pooled.interval:
        return Ground("interval", what, mean=pooled.mean)
    half = 0.0 if pooled.df is None else t_quantile(0.975, pooled.df) * pooled.se
    return Ground("interval", what, mean=pooled.mean, low=pooled.mean - half,
                  high=pooled.mean + half)  # fmt: skip


def points(ground: Ground) -> str:
    """``+1.20 [+0.31, +2.10]``; the mean alone without an interval."""
    return interval(ground.mean, ground.low, ground.high, DIGITS)


def interval_words(grounds: Sequence[Ground]) -> str:
    """What numbers in brackets are, and that no test stands behind them."""
    if all(ground.low is None for ground in grounds):
        return "too few seeds for an interval, no test"
    return "95 % intervals for new seeds, uncorrected, no test"
