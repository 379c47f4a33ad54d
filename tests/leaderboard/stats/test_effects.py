"""Effect sizes, Bayesian test, printed numbers, power, bootstrap, variance components."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from prunebench.leaderboard.stats import (
    bayes_signed_rank,
    cliffs_delta,
    detectable_difference,
    hedges_g,
    iqm,
    iqm_of_runs,
    mcnemar,
    minimum_detectable_effect,
    paired_g,
    power_of,
    prob_improvement,
    prob_improvement_paired,
    sd_factors,
    seed_item_components,
    seeds_needed,
    stratified_bootstrap,
    to_resolution,
    welch_from_summary,
    win_tie_loss,
)
from support.stats_vectors import lines, load


def test_order_effects_count_pairs() -> None:
    a, b = [3.0, 5.0, 5.0, 0.1 + 0.2], [1.0, 5.0, 0.3]
    greater = sum(x > y + 1e-9 for x, y in itertools.product(a, b))
    less = sum(x < y - 1e-9 for x, y in itertools.product(a, b))
    found = cliffs_delta(a, b)
    assert found.delta == pytest.approx((greater - less) / 12)
    assert found.a12 == pytest.approx((found.delta + 1) / 2)
    assert cliffs_delta(b, a).delta == pytest.approx(-found.delta)
    u = scipy_stats.mannwhitneyu([3.0, 5.0, 5.0], [1.0, 5.0]).statistic
    assert cliffs_delta([3.0, 5.0, 5.0], [1.0, 5.0]).a12 == pytest.approx(u / 6)
    with pytest.raises(ValueError, match="no values"):
        cliffs_delta([], [1.0])


def test_probability_of_improvement() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (3, 4)).astype(float), rng.integers(0, 5, (5, 4)).astype(float)
    by_cell = [scipy_stats.mannwhitneyu(a[:, c], b[:, c]).statistic / 15 for c in range(4)]
    found = prob_improvement(a, b)
    assert found.by_cell == pytest.approx(by_cell)
    assert found.value == pytest.approx(np.mean(by_cell))
    assert prob_improvement(a, a).value == 0.5
    assert prob_improvement([2.0, 3.0], [1.0]).value == 1.0
    paired = prob_improvement_paired([[1.0, 0.0], [1.0, -1.0]])
    assert (paired.by_cell, paired.value) == ((1.0, 0.25), 0.625)
    with pytest.raises(ValueError, match="same cells"):
        prob_improvement(a, b[:, :2])


def test_standardised_effects() -> None:
    a, b = [2.0, 4.0, 6.0], [1.0, 2.0, 3.0, 2.0]
    pooled = math.sqrt((2 * np.var(a, ddof=1) + 3 * np.var(b, ddof=1)) / 5)
    found = hedges_g(a, b)
    assert (found.d, found.df) == (pytest.approx(2 / pooled), 5)
    assert found.g == pytest.approx(2 / pooled * (1 - 3 / 19))
    d = paired_g([0.2, 0.4, 0.9])
    assert d.d == pytest.approx(0.5 / np.std([0.2, 0.4, 0.9], ddof=1))
    assert d.g == pytest.approx(d.d * (1 - 3 / 7))
    assert hedges_g([1.0, 1.0], [2.0, 2.0]).d is None
    assert paired_g([0.3, 0.3, 0.1 + 0.2]).d is None


def test_interquartile_mean_is_scipys_trimmed_mean() -> None:
    for n in (1, 3, 4, 7, 21, 40):
        x = np.random.default_rng(n).normal(size=n)
        assert iqm(x).value == pytest.approx(scipy_stats.trim_mean(x, 0.25), rel=1e-12)
    grid = np.arange(12.0).reshape(3, 4)
    assert (iqm(grid).value, iqm(grid).n, iqm(grid).kept) == (5.5, 12, 6)
    outlier = [0.6, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66, 9.0]
    assert iqm(outlier).value == pytest.approx(0.635)


def test_wins_ties_losses_and_resolution() -> None:
    found = win_tie_loss([0.1 + 0.2 - 0.3, 0.5, 71.5 - 71.0, 0.7, -0.2, -3.0], rope=0.5)
    assert (found.wins, found.ties, found.losses) == (3, 1, 2)
    assert (found.clear_wins, found.within, found.clear_losses) == (1, 4, 1)
    assert found.win_rate == pytest.approx(3.5 / 6)
    assert win_tie_loss([]).win_rate is None
    assert to_resolution([100 * 323 / 450, 71.7777], 450).tolist() == [100 * 323 / 450] * 2


def test_bayes_single_difference_in_closed_form() -> None:
    # one difference far above the rope: only the Walsh average of it with itself (1.0) and
    # with the prior's 0 (0.5) count; P(better) = P(w^2 > 1 - w^2) with w ~ Beta(1, .5)
    want = scipy_stats.beta.sf(math.sqrt(0.5), 1, 0.5)
    found = bayes_signed_rank([1.0], rope=0.6)
    assert found.better == pytest.approx(want, abs=0.01)
    assert found.equivalent == pytest.approx(1 - want, abs=0.01)
    assert found.worse == 0.0


def test_bayes_against_a_plain_loop() -> None:
    d, rope = np.array([0.9, -0.4, 0.6, 0.2, 1.4, 0.5, -0.1]), 0.5
    z = np.concatenate([[0.0], d])
    rng = np.random.default_rng(11)
    wins = np.zeros(3)
    for _ in range(6_000):
        w = rng.dirichlet([0.5, *np.ones(7)])
        mass = np.zeros(3)
        for i, j in itertools.product(range(8), repeat=2):
            average = (z[i] + z[j]) / 2
            mass[0 if average > rope else 2 if average < -rope else 1] += w[i] * w[j]
        wins[mass.argmax()] += 1
    found = bayes_signed_rank(d, rope)
    want = wins / 6_000
    assert (found.better, found.equivalent, found.worse) == pytest.approx(tuple(want), abs=0.02)
    mirrored = bayes_signed_rank(-d, rope)
    assert (mirrored.worse, mirrored.better) == pytest.approx((found.better, found.worse), abs=0.01)


def test_bayes_verdicts() -> None:
    assert bayes_signed_rank(np.full(9, 2.0)).verdict == "better"
    assert bayes_signed_rank(np.full(9, -2.0)).verdict == "worse"
    assert bayes_signed_rank(np.full(9, 0.5)).verdict == "equivalent"
    assert bayes_signed_rank([2.0, -2.0, 1.0]).verdict == "undecided"
    even = bayes_signed_rank([1.0, -1.0, 2.0, -2.0], rope=0.0)
    assert even.better == pytest.approx(even.worse, abs=0.01)
    for bad in ({"d": []}, {"d": [1.0], "rope": -1.0}):
        with pytest.raises(ValueError, match="rope"):
            bayes_signed_rank(**bad)


def test_welch_from_printed_numbers() -> None:
    found = welch_from_summary(72.6, 0.1, 3, 71.9, 0.2, 3)
    assert found.t == pytest.approx(5.422, abs=5e-4)
    assert found.df == pytest.approx(2.941, abs=5e-4)
    assert found.p == pytest.approx(0.01295, abs=5e-6)
    sleep = load("r_docs_examples.json")["paired_t_sleep"]
    x, y = sleep["x"], sleep["y"]
    found = welch_from_summary(np.mean(x), np.std(x, ddof=1), 10, np.mean(y), np.std(y, ddof=1), 10)
    assert found.t == pytest.approx(sleep["scipy"]["welch_t"], rel=1e-9)
    assert found.df == pytest.approx(sleep["scipy"]["welch_df"], rel=1e-9)
    assert found.p == pytest.approx(sleep["scipy"]["welch_p"], rel=1e-9)
    interval = scipy_stats.ttest_ind(x, y, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert welch_from_summary(1, 0, 3, 2, 0, 3).p is None
    assert welch_from_summary(1, 0.1, 2, 2, 0.1, 3).low is None
    with pytest.raises(ValueError, match="two runs"):
        welch_from_summary(1, 0.1, 1, 2, 0.1, 3)


def test_mcnemar() -> None:
    case = load("r_docs_examples.json")["mcnemar_approval"]
    (_, b), (c, _) = case["table"]
    found = mcnemar(b, c)
    assert found.statistic == pytest.approx(case["computed"]["chi2_cc"], rel=1e-9)
    assert found.p_corrected == pytest.approx(case["computed"]["p_cc"], rel=1e-9)
    assert found.p == pytest.approx(case["computed"]["p_exact_binomial"], rel=1e-9)
    # .7 points on 10,000 test images, with few and with many discordant ones
    assert mcnemar(310, 240).p == pytest.approx(0.0032, abs=5e-5)
    assert mcnemar(1500, 1430).p == pytest.approx(0.20, abs=5e-3)
    for a, b in ((0, 0), (3, 0), (5, 5), (7, 2)):
        found = mcnemar(a, b)
        exact = scipy_stats.binomtest(a, a + b).pvalue if a + b else 1.0
        assert found.p == pytest.approx(exact)
        at = scipy_stats.binom.pmf(min(a, b), a + b, 0.5) if a + b else 0.0
        one_sided = scipy_stats.binom.cdf(min(a, b), a + b, 0.5)
        assert found.p_mid == pytest.approx(2 * (one_sided - at / 2) if a != b else 1.0)
        assert mcnemar(b, a) == found
    with pytest.raises(ValueError, match="counts"):
        mcnemar(-1, 2)


def test_power_table() -> None:
    for line in lines("small_n_limits.csv"):
        n = int(line["n"])
        for column, alpha, paired in (
            ("mde_paired_t_dz_80", 0.05, True),
            ("mde_paired_t_dz_80_alpha_005", 0.005, True),
            ("mde_welch_d_80", 0.05, False),
        ):
            found = minimum_detectable_effect(n, alpha, 0.8, paired)
            assert found.effect == pytest.approx(float(line[column]), rel=1e-5), (n, column)
        assert power_of(math.sqrt(n), n - 1) == pytest.approx(float(line["power_dz_1"]), rel=1e-5)
        factors = sd_factors(n)
        assert factors.low == pytest.approx(float(line["sd_ci95_low_factor"]), rel=1e-5)
        assert factors.high == pytest.approx(float(line["sd_ci95_high_factor"]), rel=1e-5)


def test_power_is_a_probability_everywhere() -> None:
    for df in (1, 1.5, 2, 12.7, 400, 5000):
        assert power_of(0.0, df) == pytest.approx(0.05, abs=1e-7)
        assert power_of(500.0, df) == pytest.approx(1.0, abs=0.01)
    assert power_of(2.0, 9) == pytest.approx(
        scipy_stats.nct.sf(scipy_stats.t.ppf(0.975, 9), 9, 2)
        + scipy_stats.nct.cdf(scipy_stats.t.ppf(0.025, 9), 9, 2),
        rel=2e-8,
    )


def test_seeds_needed_inverts_the_power() -> None:
    found = seeds_needed(0.5, 0.3)
    assert power_of(0.5 / 0.3 * found.n**0.5, found.n - 1) >= 0.8
    assert power_of(0.5 / 0.3 * (found.n - 1) ** 0.5, found.n - 2) < 0.8
    assert found.n == 6  # the table: 5 seeds see .505, 6 see .43
    assert found.n_high is None
    unsure = seeds_needed(0.5, 0.3, observed=3)
    assert unsure.n_high > 100  # a sd of three seeds may be 6.3 times too small
    assert seeds_needed(0.5, 0.0).n == 2
    assert seeds_needed(1e-4, 1.0).n is None
    assert detectable_difference(0.3 / math.sqrt(10), 9) == pytest.approx(0.3 * 0.996001, rel=1e-5)
    for bad in ({"effect": 0.0}, {"sd": -1.0}, {"alpha": 0.9}):
        with pytest.raises(ValueError, match="need"):
            seeds_needed(**({"effect": 0.5, "sd": 0.3} | bad))
    with pytest.raises(ValueError, match="n >= 2"):
        minimum_detectable_effect(1)


def test_bootstrap_keeps_pairs_and_widens() -> None:
    rng = np.random.default_rng(1)
    common = rng.normal(70, 5, (7, 1, 4))
    y = common + np.array([0.0, 0.5])[None, :, None] + rng.normal(0, 0.1, (7, 2, 4))
    found = stratified_bootstrap(list(y))
    assert found.estimate == pytest.approx(tuple(y.mean(axis=(0, 2))))
    assert found.factor == pytest.approx(math.sqrt(4 / 3))
    d = stratified_bootstrap(list(y), lambda cells: sum(
        (c[:, 1] - c[:, 0]).mean(-1) for c in cells) / len(cells))  # fmt: skip
    difference = y[:, 1] - y[:, 0]
    se = math.sqrt((difference.var(axis=1, ddof=1) / 4).sum()) / 7
    assert d.high[0] - d.low[0] == pytest.approx(2 * 1.96 * se, rel=0.06)
    assert d.high[0] - d.low[0] < (found.high[0] - found.low[0]) / 5  # pairing removed the seeds
    robust = stratified_bootstrap(list(y), iqm_of_runs)
    assert robust.estimate[1] == pytest.approx(iqm(y[:, 1]).value)
    assert robust.low[0] < robust.estimate[0] < robust.high[0]
    assert stratified_bootstrap(list(y), seed=0) == found
    ragged = stratified_bootstrap([[1.0, 2.0, 3.0], [1.0, 3.0]], resamples=200)
    assert ragged.estimate == (2.0,)
    with pytest.raises(ValueError, match="below 10"):
        stratified_bootstrap([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="two seeds"):
        stratified_bootstrap([[1.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match="methods"):
        stratified_bootstrap([])


def test_components_of_seeds_and_items() -> None:
    x = np.array([[1.0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 1]])
    found = seed_item_components(x)
    ms_seed = 4 * x.mean(axis=1).var(ddof=1)
    ms_item = 3 * x.mean(axis=0).var(ddof=1)
    rest = ((x - x.mean()) ** 2).sum() - 2 * ms_seed - 3 * ms_item
    ms_rest = rest / 6
    assert found.var_residual == pytest.approx(ms_rest)
    assert found.var_seed == pytest.approx(max(0, (ms_seed - ms_rest) / 4))
    assert found.var_item == pytest.approx(max(0, (ms_item - ms_rest) / 3))
    assert found.var_seed == 0  # negative by moments
    assert found.se_seed == pytest.approx(x.mean(axis=1).std(ddof=1) / math.sqrt(3))
    x = np.array([[1.0, 0, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1]])
    both = seed_item_components(x)
    ms = (4 * x.mean(axis=1).var(ddof=1), 3 * x.mean(axis=0).var(ddof=1), both.var_residual)
    assert min(both.var_seed, both.var_item) > 0
    assert both.se**2 == pytest.approx((ms[0] + ms[1] - ms[2]) / 12)
    df = (ms[0] + ms[1] - ms[2]) ** 2 / (ms[0] ** 2 / 2 + ms[1] ** 2 / 3 + ms[2] ** 2 / 6)
    assert both.df == pytest.approx(df)
    assert both.high - both.mean == pytest.approx(scipy_stats.t.ppf(0.975, df) * both.se)
    assert seed_item_components(np.zeros((3, 5))).low is None
    with pytest.raises(ValueError, match="2 x 2"):
        seed_item_components(np.zeros((1, 5)))


def test_components_recover_what_was_planted_and_cover() -> None:
    rng = np.random.default_rng(3)
    parts, covered = [], 0
    for _ in range(300):
        x = (
            0.3
            + rng.normal(0, 0.4, (5, 1))
            + rng.normal(0, 1.0, (1, 60))
            + rng.normal(0, 2, (5, 60))
        )
        found = seed_item_components(x)
        parts.append((found.var_seed, found.var_item, found.var_residual))
        covered += found.low <= 0.3 <= found.high
    assert np.mean(parts, axis=0) == pytest.approx([0.16, 1.0, 4.0], rel=0.1)
    assert 0.92 <= covered / 300 <= 0.98
    assert found.se > found.se_seed  # test-set noise is in one and not in the other
