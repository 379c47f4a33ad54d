"""Rank statistics against Demsar 2006, R's manual, scikit-posthocs and enumeration."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from prunebench.leaderboard.stats import (
    compact_letters,
    conover,
    friedman,
    holm,
    iman_davenport,
    nemenyi,
    nemenyi_cd,
    wilcoxon,
)
from support.stats_vectors import METHODS, demsar, load


@pytest.mark.parametrize(
    ("key", "prefix", "higher"),
    [("from_printed_auc", "", True), ("from_paper_ranks", "rank_", False)],
)
def test_demsar(key: str, prefix: str, higher: bool) -> None:
    want = load("demsar2006.json")[key]
    table = demsar(prefix)
    found = friedman(table, higher_is_better=higher)
    assert found.mean_ranks == pytest.approx(want["mean_ranks"], rel=1e-12)
    assert found.statistic == pytest.approx(want["chi2_tie_corrected"], rel=1e-9)
    assert found.p == pytest.approx(want["p_chi2_tie_corrected"], rel=1e-9)
    assert found.kendall_w == pytest.approx(want["kendall_W_tie_corrected"], rel=1e-9)
    assert (found.blocks, found.methods, found.df, found.p_permutation) == (14, 4, 3, None)
    f = iman_davenport(table, higher_is_better=higher)
    assert f.statistic == pytest.approx(want["FF_tie_corrected"], rel=1e-9)
    assert [f.df1, f.df2] == want["df"]
    if "p_FF_tie_corrected" in want:
        assert f.p == pytest.approx(want["p_FF_tie_corrected"], rel=1e-9)
    p = nemenyi(table, higher_is_better=higher).p
    assert np.array(p) == pytest.approx(np.array(want["nemenyi_p"]), rel=1e-6)
    z = [(found.mean_ranks[0] - r) / want["SE"] for r in found.mean_ranks[1:]]
    adjusted = holm(2 * scipy_stats.norm.sf(np.abs(z))).p
    assert adjusted == pytest.approx([h["p_holm"] for h in want["holm_vs_C45"]], rel=1e-9)


def test_nemenyi_distance() -> None:
    want = load("demsar2006.json")["from_paper_ranks"]
    for alpha, name in ((0.05, "05"), (0.10, "10")):
        found = nemenyi_cd(4, 14, alpha)
        assert found.cd == pytest.approx(want[f"CD_nemenyi_{name}"], rel=1e-6)
        assert found.q == pytest.approx(want[f"q_nemenyi_{name}"], rel=1e-6)
    # two methods: the z test of their mean ranks
    assert nemenyi_cd(2, 10).q == pytest.approx(scipy_stats.norm.isf(0.025), rel=1e-6)
    for bad in ((1, 5, 0.05), (3, 0, 0.05), (3, 5, 1.0)):
        with pytest.raises(ValueError, match="k >= 2"):
            nemenyi_cd(*bad)


def test_distance_and_matrix_give_the_same_verdicts_and_the_papers_groups() -> None:
    found = nemenyi(demsar("rank_"), higher_is_better=False)
    cd = nemenyi_cd(4, 14, 0.10).cd
    separated = set()
    for i, j in itertools.combinations(range(4), 2):
        gap = abs(found.mean_ranks[i] - found.mean_ranks[j])
        assert (gap >= cd) == (found.p[i][j] <= 0.10)
        if gap >= cd:
            separated.add((METHODS[i], METHODS[j]))
    order = sorted(METHODS, key=lambda m: found.mean_ranks[METHODS.index(m)])
    groups = {frozenset(g) for g in compact_letters(order, separated).groups}
    printed = load("demsar2006.json")["printed_in_paper"]["nemenyi_groups_at_10"]
    assert groups == {frozenset(g) for g in printed}


def test_post_hoc_matrices() -> None:
    want: dict[str, Any] = load("demsar2006_posthoc.json")
    table = demsar()
    assert np.array(nemenyi(table).p) == pytest.approx(
        np.array(want["p_matrices"]["nemenyi"]), rel=1e-6
    )
    p = np.array(conover(table).p)
    assert p == pytest.approx(np.array(want["p_matrices"]["conover_none"]), rel=1e-9)
    upper = np.triu_indices(4, 1)
    corrected = np.array(want["p_matrices"]["conover_holm"])[upper]
    assert holm(p[upper]).p == pytest.approx(corrected, rel=1e-9)
    values = np.array(table)
    for pair, p_value in want["wilcoxon_pairs"]["zsplit"].items():
        a, b = (METHODS.index(name) for name in pair.split("|"))
        assert wilcoxon(values[:, a] - values[:, b]).p_normal == pytest.approx(p_value, rel=1e-9)


def test_post_hoc_agree_with_scikit_posthocs_on_ties() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    table = np.random.default_rng(4).integers(0, 6, (9, 5)).astype(float)
    assert np.array(nemenyi(table).p) == pytest.approx(
        posthocs.posthoc_nemenyi_friedman(table).to_numpy(), rel=1e-5
    )
    assert np.array(conover(table).p) == pytest.approx(
        posthocs.posthoc_conover_friedman(table).to_numpy(), rel=1e-9
    )


def test_wilcoxon_examples() -> None:
    want = load("demsar2006.json")
    table = np.array(demsar())
    found = wilcoxon(table[:, 1] - table[:, 0])
    zsplit = want["wilcoxon_C45m_minus_C45"]["zsplit"]
    assert (found.r_minus, found.r_plus, found.n) == (zsplit["statistic"], 93.0, 14)
    assert found.p_normal == pytest.approx(zsplit["p_normal_approx"], rel=1e-9)
    case = load("r_docs_examples.json")["wilcoxon_depression"]
    found = wilcoxon(np.subtract(case["x"], case["y"]))
    assert found.r_plus == case["printed"]["V"]
    assert found.p == case["scipy"]["p_two_sided_exact"]
    assert wilcoxon([0.0, 0.0, 0.0]).p_normal is None
    assert wilcoxon([0.0, 0.0, 0.0]).p == 1.0
    assert wilcoxon([1.0, 2.0, 3.0]).smallest_p == wilcoxon([1.0, 2.0, 3.0]).p == 0.25


def test_friedman_manual_example_and_direction() -> None:
    case = load("r_docs_examples.json")["friedman_RoundingTimes"]
    times = np.array(case["data"])
    found = friedman(times, higher_is_better=False)
    assert found.statistic == pytest.approx(case["scipy"]["chi2"], rel=1e-9)
    assert found.p == pytest.approx(case["scipy"]["p"], rel=1e-9)
    assert found.p == pytest.approx(case["printed"]["p"], abs=1e-6)
    assert found.p_permutation == pytest.approx(found.p, abs=0.002)  # k = 3: both are given
    assert found.mean_ranks.index(min(found.mean_ranks)) == times.mean(axis=0).argmin()
    turned = friedman(times)
    assert turned.statistic == pytest.approx(found.statistic)
    assert turned.mean_ranks == pytest.approx([4 - r for r in found.mean_ranks])


def test_friedman_permutation_p_against_all_shuffles() -> None:
    table = np.array([[3.0, 2, 1], [3, 1, 1], [5, 4, 2]])
    statistics = []
    for patterns in itertools.product(itertools.permutations(range(3)), repeat=3):
        shuffled = [row[list(pattern)] for row, pattern in zip(table, patterns, strict=True)]
        statistics.append(scipy_stats.friedmanchisquare(*np.transpose(shuffled)).statistic)
    found = friedman(table)
    exact = np.mean(np.array(statistics) >= found.statistic - 1e-9)
    assert found.p_permutation == pytest.approx(exact, abs=0.006)
    assert friedman(table, seed=0) == found


def test_friedman_edges() -> None:
    agree = np.tile([3.0, 2.0, 1.0], (5, 1))
    assert friedman(agree).statistic == pytest.approx(10)
    assert iman_davenport(agree).statistic == math.inf
    assert iman_davenport(agree).p == 0.0
    tied = friedman(np.ones((5, 3)))
    assert (tied.statistic, tied.p, tied.p_permutation) == (0.0, 1.0, 1.0)
    assert tied.mean_ranks == (2.0, 2.0, 2.0)
    assert iman_davenport(np.ones((5, 3))).p == 1.0
    # two sums that are equal in decimal but not in binary must tie
    almost = np.array([[0.1 + 0.2, 0.3], [0.1 + 0.2, 0.3], [0.3, 0.2]])
    assert friedman(almost).mean_ranks == pytest.approx((4 / 3, 5 / 3))
    for bad in (np.ones(3), np.ones((1, 3)), np.ones((3, 1)), [[1.0, math.nan], [1.0, 2.0]]):
        with pytest.raises(ValueError, match=r"blocks|finite"):
            friedman(bad)


def test_permuting_methods_permutes_ranks() -> None:
    table = np.random.default_rng(0).normal(size=(7, 5)).round(1)
    order = np.array([3, 0, 4, 1, 2])
    one, two = friedman(table), friedman(table[:, order])
    assert two.mean_ranks == tuple(np.array(one.mean_ranks)[order])
    assert two.statistic == pytest.approx(one.statistic, rel=1e-12)
    shifted = friedman(table + np.arange(7)[:, None])  # a constant per block changes no rank
    assert shifted.mean_ranks == one.mean_ranks
