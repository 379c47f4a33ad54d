"""How far a repeat may be from a record."""

from __future__ import annotations

import math

import pytest

from prunebench.bench.grids.repeat_tolerance import (
    LEAST_POINTS,
    MOST_POINTS,
    Tolerance,
    together,
)
from support.records import record


def cell(method: str, noise: str, *accuracies: float) -> list:
    return [record(method, noise, seed, accuracy=one) for seed, one in enumerate(accuracies)]


BOARD = [
    *cell("a", "clean", 0.9, 0.9, 0.9),
    *cell("b", "clean", 0.89, 0.9, 0.91),
    *cell("c", "clean", 0.88, 0.9, 0.92),
    *cell("a", "x", 0.3, 0.5, 0.7),
]


def test_the_board_says_how_far_seeds_of_a_setting_are_apart():
    same, wide = cell("z", "clean", 0.9, 0.9, 0.9), cell("z", "clean", 0.6, 0.9, 0.95)
    # Variances of the clean cells in squared points: 0, 1 and 4; the median counts as three seeds.
    assert Tolerance(same, BOARD).of(same[0]) == pytest.approx(4 * math.sqrt(2 * 3 / 5))
    # An own variance of 358 counts as four times the usual one.
    assert Tolerance(wide, BOARD).of(wide[0]) == pytest.approx(4 * math.sqrt(2 * (8 + 3) / 5))


def test_a_wild_setting_does_not_excuse_a_calm_one():
    calm, wild = cell("z", "clean", 0.9, 0.9, 0.9), cell("z", "y", 0.2, 0.5, 0.8)
    allowed = Tolerance([*calm, *wild])
    assert allowed.of(calm[0]) == LEAST_POINTS
    assert allowed.of(wild[0]) == MOST_POINTS


def test_without_spread_a_point_is_allowed():
    assert Tolerance([]).of(record("b")) == LEAST_POINTS


def test_repeats_that_are_each_near_can_be_far_together():
    assert together([(-3.0, 8.0)]) == []
    assert together([(-3.0, 8.0), (3.0, 8.0), (-2.0, 8.0)]) == []
    # Deviations of 2 points each: the mean of three has one of 1.15.
    (reason,) = together([(-3.0, 8.0)] * 3)
    assert "3 repeats are -3.00 points away on average; accepted: up to 2.89" in reason
    assert together([(-0.1, 8.0)] * 5) == ["all 5 repeats are worse than their records"]
    assert together([(0.1, 8.0)] * 5) == []
