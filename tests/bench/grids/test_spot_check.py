"""How far a repeat may be from a record."""

from __future__ import annotations

import math

import pytest

from prunebench.bench.grids.spot_check import LEAST_POINTS, Tolerance
from support.records import record


def cell(noise: str, *accuracies: float) -> list:
    return [record("a", noise, seed, accuracy=one) for seed, one in enumerate(accuracies)]


def test_a_wild_setting_does_not_excuse_a_calm_one():
    calm, middle, wild = cell("clean", 0.9, 0.9, 0.9), cell("x", 0.5, 0.51, 0.52), cell(
        "y", 0.2, 0.5, 0.8
    )  # fmt: skip
    allowed = Tolerance([*calm, *middle, *wild])
    # Variances in squared points: 0, 1 and 900; the median one counts as three further seeds.
    assert allowed.of(calm[0]) == pytest.approx(4 * math.sqrt(2 * 3 / 5))
    assert allowed.of(middle[1]) == pytest.approx(4 * math.sqrt(2))
    assert allowed.of(wild[2]) == pytest.approx(4 * math.sqrt(2 * (1800 + 3) / 5))


def test_without_spread_a_point_is_allowed():
    assert Tolerance(cell("clean", 0.9, 0.9, 0.9)).of(record("b")) == LEAST_POINTS
    assert Tolerance([]).of(record("b")) == LEAST_POINTS
