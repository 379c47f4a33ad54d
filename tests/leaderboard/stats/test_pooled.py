"""Tests over many cells against enumeration and formulas written out on scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from prunebench.leaderboard.stats import (
    cluster_t,
    family,
    non_inferior,
    paired_t,
    pooled_cells,
    sign_flip,
    win_tie_loss,
)
from prunebench.leaderboard.stats.pooled import flatten, moments

RNG = np.random.default_rng(12)
D = RNG.normal(0.4, 0.3, (4, 3)) + RNG.normal(0, 0.3, (4, 1))  # 4 cells x 3 seeds


def enumerated(contributions: np.ndarray) -> float:
    """p of |sum of signs x contributions| over all signs, one loop per pattern."""
    observed = abs(contributions.sum())
    patterns = itertools.product((1, -1), repeat=contributions.size)
    hits = [abs(np.dot(signs, contributions)) >= observed - 1e-12 for signs in patterns]
    return sum(hits) / len(hits)


def test_fixed_cells_written_out() -> None:
    found = pooled_cells(D)
    v = D.var(axis=1, ddof=1) / 3
    se = math.sqrt(v.sum()) / 4
    df = v.sum() ** 2 / (v**2 / 2).sum()
    t = D.mean() / se
    assert (found.cells, found.n, found.dropped) == (4, 12, 0)
    assert found.mean == pytest.approx(D.mean(), rel=1e-12)
    assert found.se == pytest.approx(se, rel=1e-12)
    assert found.df == pytest.approx(df, rel=1e-12)
    assert found.t == pytest.approx(t, rel=1e-12)
    assert found.p == pytest.approx(2 * scipy_stats.t.sf(abs(t), df), rel=1e-9)
    half = scipy_stats.t.ppf(0.975, df) * se
    assert (found.low, found.high) == pytest.approx((D.mean() - half, D.mean() + half))
    assert found.sign_flip.p == enumerated(D.reshape(-1) / 12)
    assert (found.sign_flip.units, found.sign_flip.exact) == (12, True)


def test_units_by_cell_seed_and_seed_index() -> None:
    cells, seeds = np.divmod(np.arange(12), 3)
    flat = D.reshape(-1)
    assert sign_flip(flat, cells, cells).p == enumerated(D.mean(axis=1) / 4)
    assert sign_flip(flat, cells, cells).smallest_p == 0.125
    assert sign_flip(flat, seeds, cells).p == enumerated(D.mean(axis=0) / 3)
    assert sign_flip(flat, seeds, cells).smallest_p == 0.25


def test_frames_and_nested_labels() -> None:
    frame = pd.DataFrame(D, index=list("abcd"))
    assert pooled_cells(frame) == pooled_cells(D)
    assert cluster_t(frame) == cluster_t(D)
    assert cluster_t(frame.mean(axis=1)) == cluster_t(D.mean(axis=1))
    assert non_inferior(frame[0]) == non_inferior(D[:, 0])
    cells, seeds = np.divmod(np.arange(12), 3)
    nested = [(("digits", f"noise {c}"), int(s)) for c, s in zip(cells, seeds, strict=True)]
    assert sign_flip(D.reshape(-1), nested, cells).p == pooled_cells(D).sign_flip.p


def test_one_cell_is_the_paired_t_test() -> None:
    pooled, paired = pooled_cells({"only": D[0]}), paired_t(D[0])
    assert (pooled.t, pooled.p, pooled.df) == pytest.approx((paired.t, paired.p, paired.df))
    assert (pooled.low, pooled.high) == pytest.approx((paired.low, paired.high))


def test_unequal_seeds_and_dropped_cells() -> None:
    cells = {"a": {0: 1.0, 1: 2.0, 5: 3.0}, "b": {0: 0.5, 1: 1.0}, "c": {7: 9.0}}
    found = pooled_cells(cells)
    assert (found.cells, found.n, found.dropped) == (2, 5, 1)
    assert found.mean == pytest.approx((2.0 + 0.75) / 2)
    assert found.se == pytest.approx(math.sqrt(1 / 3 + 0.125 / 2) / 2)
    for bad in ({}, {"c": [1.0]}):
        with pytest.raises(ValueError, match="no cell"):
            pooled_cells(bad)
    with pytest.raises(ValueError, match="finite"):
        pooled_cells([[1.0, math.nan]])
    with pytest.raises(ValueError, match="cluster"):
        pooled_cells(cells, clusters={"a": 0})


def test_ratios_of_one_cluster_flip_together_and_share_their_variance() -> None:
    by_seed = RNG.normal(0.2, 0.3, (5, 3))
    cells = {(g, ratio): by_seed[g] for g in range(5) for ratio in (0.3, 0.5, 0.7)}
    clusters = {cell: cell[0] for cell in cells}
    together, one = pooled_cells(cells, clusters), pooled_cells(by_seed)
    # the same differences three times carry no more than once
    assert together.sign_flip.p == one.sign_flip.p
    assert (together.se, together.df, together.p) == pytest.approx((one.se, one.df, one.p))
    assert together.sign_flip.units == 15
    assert pooled_cells(cells).se == pytest.approx(one.se / math.sqrt(3))
    # independent ratios: the variances add up to the formula over cells, in expectation
    rng = np.random.default_rng(2)
    ratios = [rng.normal(0, 1, (6, 3)) for _ in range(400)]
    pairs = {c: c // 2 for c in range(6)}
    clustered = np.mean([moments(flatten(d, pairs)).se ** 2 for d in ratios])
    assert clustered == pytest.approx(1 / 18, rel=0.08)


def test_identical_differences_fall_to_the_sign_flip() -> None:
    found = pooled_cells(np.full((7, 2), 0.3))
    assert (found.t, found.p, found.low, found.df) == (None, None, None, None)
    assert found.sign_flip.p == 2 / 2**14
    assert pooled_cells(np.zeros((7, 3))).sign_flip.p == 1.0


def test_random_cells_written_out() -> None:
    found = cluster_t({f"noise {i}": row for i, row in enumerate(D)})
    means = D.mean(axis=1)
    want = scipy_stats.ttest_1samp(means, 0)
    assert (found.t, found.p) == pytest.approx((want.statistic, want.pvalue))
    interval = want.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.sign_flip.p == enumerated(means / 4)
    assert (found.clusters, found.df, found.too_few) == (4, 3, True)
    assert not cluster_t(np.arange(6.0)).too_few
    anova = scipy_stats.f_oneway(*D)
    within = D.var(axis=1, ddof=1).mean()
    assert found.var_seed == pytest.approx(within)
    assert found.var_cluster == pytest.approx(max(0, within * (anova.statistic - 1) / 3))
    assert pooled_cells(D).p < found.p  # the wider claim costs more


def test_clusters_with_ratios_printed_means_and_no_spread() -> None:
    ratios = RNG.normal(0, 1, (7, 3, 4))  # 7 clusters, 3 ratios, 4 seeds
    found = cluster_t(list(ratios))
    assert found.p == pytest.approx(scipy_stats.ttest_1samp(ratios.mean(axis=(1, 2)), 0).pvalue)
    assert found.var_seed == pytest.approx(ratios.mean(axis=1).var(axis=1, ddof=1).mean())
    printed = cluster_t([0.5, 0.7, 0.1])
    assert (printed.var_seed, printed.var_cluster) == (None, None)
    assert cluster_t([0.5, 0.5, 0.5]).p is None
    same = cluster_t([[1.0, 2.0], [1.0, 2.0]])
    assert same.var_cluster == 0.0
    for bad in ({}, [[]], [[math.inf]]):
        with pytest.raises(ValueError, match=r"finite|no differences"):
            cluster_t(bad)


def test_variance_components_recover_what_was_planted() -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(2, 6, 3000)
    planted = [rng.normal(0, 2.0) + rng.normal(0, 0.7, n) for n in sizes]
    found = cluster_t(planted)
    assert found.var_cluster == pytest.approx(4.0, rel=0.08)
    assert found.var_seed == pytest.approx(0.49, rel=0.08)


def test_non_inferiority() -> None:
    d = np.array([-0.2, 0.1, -0.1, 0.05, -0.15])
    found = non_inferior(d, 0.5)
    want = scipy_stats.ttest_1samp(d, -0.5, alternative="greater")
    assert found.p == pytest.approx(want.pvalue)
    assert found.bound == pytest.approx(
        d.mean() - scipy_stats.t.ppf(0.95, 4) * d.std(ddof=1) / 5**0.5
    )
    assert found.holds
    assert not non_inferior(d, 0.1).holds
    for margin in np.linspace(0.01, 0.6, 40):  # the bound and the p-value say the same
        one = non_inferior(d, margin)
        assert one.holds == (one.p < 0.05) == (one.bound > -margin)
    over = non_inferior(D - 0.5, 0.5)
    pooled = pooled_cells(D - 0.5)
    assert over.bound == pytest.approx(pooled.mean - scipy_stats.t.ppf(0.95, pooled.df) * pooled.se)
    assert over.p == pytest.approx(pooled_cells(D).p / 2)
    # not significant is not lossless: three noisy seeds
    noisy = [-2.0, 1.5, 0.4]
    assert paired_t(noisy).p > 0.5
    assert not non_inferior(noisy, 0.5).holds
    with pytest.raises(ValueError, match="positive"):
        non_inferior(d, 0.0)


def test_non_inferiority_without_spread_or_seeds() -> None:
    same = non_inferior(np.zeros((7, 3)), 0.5)  # bit-equal to full training in 21 runs
    assert (same.bound, same.holds) == (None, True)
    assert same.p == pytest.approx(1e-5, rel=1)
    assert not non_inferior(np.full((7, 3), -0.6), 0.5).holds
    three = non_inferior([0.0, 0.0, 0.0], 0.5)
    assert (three.p, three.smallest_p, three.holds) == (0.125, 0.125, False)
    two = non_inferior([0.1, 0.2], 0.5)
    assert (two.bound, two.p, two.holds) == (None, None, False)


def test_cell_constants_leave_paired_results_alone() -> None:
    a, b = RNG.normal(70, 1, (7, 3)), RNG.normal(70, 1, (7, 3))
    shift = np.round(RNG.normal(0, 9, (7, 1)), 2)
    one, two = pooled_cells(a - b), pooled_cells((a + shift) - (b + shift))
    assert two.p == pytest.approx(one.p, rel=1e-9)
    assert two.sign_flip.p == one.sign_flip.p
    assert pooled_cells(a - a).mean == 0.0
    assert win_tie_loss((a - a).mean(axis=1)).ties == 7


def test_family_refuses_what_could_not_win() -> None:
    three = sign_flip([0.5, 0.6, 0.7])
    many = sign_flip(np.full(12, 0.4))
    found = family("F1", {f"cell {i}": three for i in range(13)} | {"pooled": many})
    assert found.members[0].refused == "underpowered: min p .25 > .0036"
    assert (found.members[0].p, found.members[0].adjusted) == (None, None)
    assert found.rejected == {"pooled"}
    # the refused still count
    assert found.members[-1].adjusted == pytest.approx(14 * many.p)
    assert found.footer == "F1: m = 14, Holm, alpha = 0.05, 13 not run"


def test_family_corrections_and_edges() -> None:
    p = {"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.04, "e": 0.05}
    assert family("x", p).rejected == {"a"}
    assert family("x", p, "bh").rejected == set("abcde")
    assert family("x", p, "bh").footer == "x: m = 5, Benjamini-Hochberg, alpha = 0.05"
    assert [m.adjusted for m in family("x", p).members] == pytest.approx(
        [0.05, 0.08, 0.09, 0.09, 0.09]
    )
    flat = family("x", {"flat": _NoSpread(), "b": 0.02})
    assert flat.members[0].refused == "no spread between differences"
    assert flat.members[1].adjusted == 0.04
    assert family("x", {}).size == 0
    for bad in ({"method": "sidak"}, {"alpha": 0.0}, {"members": {"a": 1.5}}):
        with pytest.raises(ValueError, match=r"correction|alpha|\[0, 1\]"):
            family(**({"name": "x", "members": p} | bad))


class _NoSpread:
    p = None
    smallest_p = 0.0
