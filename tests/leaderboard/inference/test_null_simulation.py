"""What the tests do when nothing differs, and what they find when something does."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special

from prunebench.leaderboard.stats import compact_letters, holm, pairwise, sign_flip
from prunebench.leaderboard.stats.pooled import flatten, moments
from prunebench.leaderboard.stats.signflip import flip_p

CLUSTERS, SEEDS, SD = 7, 3, 0.3
RUNS = 2_000
BATCH = 100
CELL, SEED = np.divmod(np.arange(CLUSTERS * SEEDS), SEEDS)
UNIT = np.arange(CLUSTERS * SEEDS)


def pooled_p(d: np.ndarray, draws: int = 1_999) -> np.ndarray:
    """Pooled sign-flip p of each row [simulations, 21]; fresh sign patterns per batch."""
    rng = np.random.default_rng(99)
    sums = d / d.shape[1]  # cells of equally many seeds, one difference per unit
    return np.concatenate(
        [flip_p(sums[i : i + BATCH], rng, draws) for i in range(0, len(sums), BATCH)]
    )


def null(rng: np.random.Generator, runs: int = RUNS) -> np.ndarray:
    return rng.normal(0, SD, (runs, CLUSTERS * SEEDS))


def test_the_fast_form_is_the_public_test() -> None:
    d = null(np.random.default_rng(1), 5) + 0.1
    public = [sign_flip(row, list(zip(CELL, SEED, strict=True)), CELL).p for row in d]
    assert pooled_p(d, draws=20_000) == pytest.approx(public, abs=0.012)
    few = d[:, :12]
    exact = flip_p(few / 12, np.random.default_rng(0))
    assert exact.tolist() == [sign_flip(row, UNIT[:12], CELL[:12]).p for row in few]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pooled_sign_flip_holds_its_level(seed: int) -> None:
    rate = (pooled_p(null(np.random.default_rng(seed))) <= 0.05).mean()
    assert 0.04 <= rate <= 0.06


def test_the_level_over_many_runs() -> None:
    rate = (pooled_p(null(np.random.default_rng(10), 20_000), draws=999) <= 0.05).mean()
    assert 0.045 <= rate <= 0.055


def test_cells_of_unequal_spread_keep_the_level() -> None:
    spread = np.repeat([0.1, 0.1, 0.2, 0.3, 0.3, 0.6, 0.9], SEEDS)
    d = np.random.default_rng(3).normal(0, 1, (RUNS, CLUSTERS * SEEDS)) * spread
    assert 0.04 <= (pooled_p(d) <= 0.05).mean() <= 0.06


@pytest.mark.parametrize(("share", "low", "high"), [(0.3, 0.18, 0.30), (0.6, 0.34, 0.52)])
def test_seeds_shared_between_noise_settings_break_it(
    share: float, low: float, high: float
) -> None:
    """Planted mistake: seed 0 of one noise setting and of the next have an effect in common."""
    rng = np.random.default_rng(4)
    common = rng.normal(0, SD, (RUNS, SEEDS))[:, SEED]
    d = np.sqrt(1 - share) * null(rng) + np.sqrt(share) * common
    rate = (pooled_p(d) <= 0.05).mean()
    assert low <= rate <= high
    assert not 0.04 <= rate <= 0.06


def test_power_for_two_tenths_of_a_point() -> None:
    rng = np.random.default_rng(5)
    power = (pooled_p(null(rng) + 0.2) <= 0.05).mean()
    assert power >= 0.75
    assert (pooled_p(null(rng) + 0.1) <= 0.05).mean() < 0.45


def test_fixed_cells_t_is_not_too_eager() -> None:
    d = null(np.random.default_rng(6), 1_000).reshape(-1, CLUSTERS, SEEDS)
    assert 0.015 <= np.mean([_t_rejects(x, None) for x in d]) <= 0.055


def test_ratios_that_share_seeds_need_the_clusters() -> None:
    """Three ratios of a noise setting share 70 % of their variance."""
    rng = np.random.default_rng(7)
    shared = rng.normal(0, 1, (600, CLUSTERS, 1, SEEDS))
    own = rng.normal(0, 1, (600, CLUSTERS, 3, SEEDS))
    d = (np.sqrt(0.7) * shared + np.sqrt(0.3) * own).reshape(600, -1, SEEDS)
    clusters = {cell: cell // 3 for cell in range(CLUSTERS * 3)}
    apart = np.mean([_t_rejects(x, None) for x in d])
    together = np.mean([_t_rejects(x, clusters) for x in d])
    assert apart > 0.12
    assert together <= 0.06


def test_letters_hold_the_family_wise_error() -> None:
    """Six equal methods; a mistake is any pair that shares no letter."""
    rng = np.random.default_rng(8)
    methods = "abcdef"
    pairs = list(itertools.combinations(range(6), 2))
    common = rng.normal(0, 0.5, (RUNS, 1, CLUSTERS * SEEDS))
    y = common + rng.normal(0, SD, (RUNS, 6, CLUSTERS * SEEDS))
    d = np.stack([y[:, i] - y[:, j] for i, j in pairs], axis=1)
    p = pooled_p(d.reshape(-1, CLUSTERS * SEEDS)).reshape(RUNS, len(pairs))
    wrong = 0
    for row in p[p.min(axis=1) <= 0.05]:
        verdicts = np.array(holm(row).p) <= 0.05
        separated = [(methods[i], methods[j])
                     for (i, j), v in zip(pairs, verdicts, strict=True) if v]  # fmt: skip
        found = compact_letters(methods, separated).letters
        wrong += any(not set(found[a]) & set(found[b])
                     for a, b in itertools.combinations(methods, 2))  # fmt: skip
    assert 0.01 <= wrong / RUNS <= 0.06
    uncorrected = (p.min(axis=1) <= 0.05).mean()
    assert uncorrected > 0.2  # what the letters would do without Holm
    values = {m: y[0, i] for i, m in enumerate(methods)}
    public = pairwise(values, np.stack([CELL, SEED], axis=1), CELL)
    first = {frozenset((methods[i], methods[j])): p[0, n] for n, (i, j) in enumerate(pairs)}
    for pair, test in public.tests.items():
        assert test.p == pytest.approx(first[frozenset(pair)], abs=0.05)


def _t_rejects(d: np.ndarray, clusters: dict[int, int] | None) -> bool:
    found = moments(flatten(d, clusters))
    assert found.df is not None
    return abs(found.mean) / found.se > special.stdtrit(found.df, 0.975)
