"""The closed forms against manuals, enumeration and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from prunebench.leaderboard.stats import (
    benjamini_hochberg,
    holm,
    mean_interval,
    paired_difference,
    paired_t,
    sign_flip,
    smallest_p,
    wilson,
)
from prunebench.leaderboard.stats.signflip import MAX_EXACT_UNITS, flip_p
from support.stats_vectors import lines, load


def test_paired_t_reproduces_the_sleep_example() -> None:
    case = load("r_docs_examples.json")["paired_t_sleep"]
    d = np.subtract(case["x"], case["y"])
    test = paired_t(d)
    assert test.t == pytest.approx(case["scipy"]["t"], rel=1e-9)
    assert test.p == pytest.approx(case["scipy"]["p"], rel=1e-9)
    assert (test.low, test.high) == pytest.approx(tuple(case["scipy"]["ci95"]), rel=1e-9)
    assert (test.n, test.df) == (10, 9)
    assert test.mean == pytest.approx(case["printed"]["mean_diff"])
    flipped = sign_flip(d)
    assert flipped.p == pytest.approx(case["scipy"]["signflip_exact_p_two_sided"], rel=1e-12)
    assert flipped.exact


def test_paired_t_without_spread_gives_no_p() -> None:
    for d in ([0.1, 0.1, 0.1], [0.3], [0.1 + 0.2, 0.3, 0.3]):
        assert paired_t(d).p is None
        assert paired_t(d).t is None
    assert paired_t([0.0, 1.0]).low is None
    assert paired_t([0.0, 1.0]).p == pytest.approx(0.5)
    for bad in ([], [1.0, math.nan], [[1.0]]):
        with pytest.raises(ValueError, match=r"differences|finite|vector"):
            paired_t(bad)


def test_sign_flip_enumerates_units_and_cells() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(0.3, 1, 12)
    units = np.repeat(np.arange(6), 2)
    cells = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 2, 2, 0])  # six, four and two differences
    sizes = np.bincount(cells)
    weights = 1 / (sizes[cells] * 3)
    values = [
        abs((d * np.repeat(signs, 2) * weights).sum())
        for signs in itertools.product((1, -1), repeat=6)
    ]
    observed = (d * weights).sum()
    test = sign_flip(d, units, cells)
    assert test.statistic == pytest.approx(observed)
    assert test.p == np.mean(np.array(values) >= abs(observed) - 1e-12)
    assert (test.units, test.smallest_p, test.exact) == (6, 2 / 64, True)
    assert sign_flip(-d, units, cells).p == test.p
    pairs = [(f"n{u}", u % 2) for u in units]
    assert sign_flip(d, pairs, cells).p == test.p  # (cluster, seed) labels
    assert sign_flip([0.0, 0.0, 0.0]).p == 1.0
    assert sign_flip([0.1, 0.1, 0.1]).p == 0.25
    with pytest.raises(ValueError, match="labels"):
        sign_flip(d, units[:3])


def test_sign_flip_draws_beyond_sixteen_units() -> None:
    d = np.random.default_rng(1).normal(0.4, 1, 20)
    test = sign_flip(d, seed=3)
    totals = np.zeros(1)
    for value in d:
        totals = np.concatenate([totals + value, totals - value])
    exact = np.mean(np.abs(totals) >= abs(d.sum()) - 1e-12)
    assert not test.exact
    assert test.p == pytest.approx(exact, abs=0.005)
    assert sign_flip(d, seed=3) == test
    best = sign_flip(np.full(21, 1.0))  # of 2^21 patterns two are as extreme
    assert best.smallest_p == pytest.approx(1e-5, rel=1e-12)
    assert best.smallest_p <= best.p <= 3e-5


def test_corrections_reproduce_p_adjust() -> None:
    for case in load("p_adjust.json")["cases"]:
        assert holm(case["p"]).p == pytest.approx(case["holm"], rel=1e-9)
        assert benjamini_hochberg(case["p"]).p == pytest.approx(case["BH"], rel=1e-9)
    assert holm([]).p == ()
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([0.5, 1.5])


def test_smallest_p_and_half_widths() -> None:
    for line in lines("small_n_limits.csv"):
        n = int(line["n"])
        limits = smallest_p(n)
        paired = float(line["signflip_or_signedrank_min_p_two_sided"])
        unpaired = float(line["unpaired_permutation_min_p_two_sided"])
        assert limits.sign_flip == pytest.approx(paired, rel=1e-5)
        assert limits.unpaired == pytest.approx(unpaired, rel=1e-5)
        values = np.random.default_rng(n).normal(size=n)
        interval = mean_interval(values)
        assert interval.half_width is not None
        assert interval.sd is not None
        ratio = float(line["ci95_halfwidth_in_sd"])
        assert interval.half_width / interval.sd == pytest.approx(ratio, rel=1e-5)
    with pytest.raises(ValueError, match="n >= 1"):
        smallest_p(0)


def test_wilson_agrees_with_scipy() -> None:
    for k, n in ((0, 10), (3, 10), (10, 10), (7180, 10_000)):
        low, high = scipy_stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
        found = wilson(k, n)
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
        assert found.share == k / n
    with pytest.raises(ValueError, match="k <= n"):
        wilson(3, 2)


def test_intervals_of_few_values() -> None:
    assert math.isnan(mean_interval([]).mean)
    assert mean_interval([2.0]).sd is None
    assert mean_interval([1.0, 2.0]).half_width is None
    assert mean_interval([1.0, 2.0]).sd == pytest.approx(math.sqrt(0.5))
    assert paired_difference({0: 1.0}, {1: 1.0}).n == 0
    assert paired_difference({0: 3.0, 5: 2.0}, {5: 1.0, 0: 1.0}).mean == 1.5


@pytest.mark.parametrize("units", [1, 5, 8, 9, 16, 17, 35])
@pytest.mark.parametrize("one_sided", [False, True])
def test_sign_flips_by_table_count_as_the_literal_sum_does(units: int, one_sided: bool) -> None:
    rng = np.random.default_rng(units)
    rows = rng.normal(size=(5, units)) / units
    rows[1] = rows[0]
    first, second = np.array(list(itertools.combinations(range(5), 2))).T
    differences = rows[first] - rows[second]
    draws, exact = 3000, units <= MAX_EXACT_UNITS
    if exact:
        flips = np.array(list(itertools.product([0, 1], repeat=units)))
    else:
        octets = np.random.default_rng(7).bytes(draws * -(-units // 8))
        table = np.frombuffer(octets, np.uint8).reshape(draws, -1)
        flips = np.unpackbits(table, axis=1, count=units)
    totals = (1.0 - 2.0 * flips) @ differences.T
    observed = differences.sum(axis=1)
    if not one_sided:
        totals, observed = np.abs(totals), np.abs(observed)
    count = (totals >= observed - 1e-12).sum(axis=0)
    wanted = count / len(flips) if exact else (1 + count) / (1 + draws)
    seeded = [np.random.default_rng(7) for _ in range(2)]
    by_pair = flip_p(rows, seeded[0], draws, one_sided, pairs=True)
    by_row = flip_p(differences, seeded[1], draws, one_sided)
    assert by_pair.tolist() == by_row.tolist() == wanted.tolist()
    assert by_pair[0] == 1.0
