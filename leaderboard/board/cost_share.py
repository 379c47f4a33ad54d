"""Cost of a row as a share of full training, and rows that none beats in cost and accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.scored_with import scoring_samples


@dataclass(frozen=True)
class CostShare:
    """Mean cost of a row's runs as shares of full training.

    Attributes:
        own: Trained samples, forward-only passes at a third.
        total: The same with the scoring run the method rests on, if it is of the trained network.
        other_network: Whether a scoring run is of another network.
    """

    own: float
    total: float
    other_network: bool = False


def cost_of(runs: Mapping[tuple[str, int], Run]) -> CostShare | None:
    """None where a ledger lacks the size of a full run."""
    own, total, apart = [], [], False
    for run in runs.values():
        ledger = run.record.ledger
        whole = ledger.get("num_samples", 0) * ledger.get("full_epochs", 0)
        saved = run.metric("compute_ratio")
        if run.accuracy is None:
            continue
        if not whole or saved is None:
            return None
        proxy = scoring_samples(run.record)
        apart |= proxy is None
        own.append(1 - saved)
        total.append(1 - saved + (proxy or 0.0) / whole)
    if not own:
        return None
    return CostShare(math.fsum(own) / len(own), math.fsum(total) / len(total), apart)


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Labels that no other row beats in both cost and accuracy, cheapest first.

    Args:
        points: (cost, accuracy) by label; of equal points all stay.
    """
    found = []
    for label, (x, y) in points.items():
        if not any((a <= x and b >= y) and (a < x or b > y) for a, b in points.values()):
            found.append(label)
    return sorted(found, key=lambda label: (*points[label], label))
