"""The seed paper's Table 1, re-analysed from its printed means."""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from prunebench import leaderboard
from prunebench.leaderboard.stats import (
    bayes_signed_rank,
    cluster_t,
    compact_letters,
    family,
    friedman,
    iman_davenport,
    nemenyi,
    pairwise,
    wilcoxon,
    win_tie_loss,
)

PUBLISHED = Path(leaderboard.__file__).parent / "published" / "alignprune.csv"
METHODS = ("static_random", "dynamic_random", "infobatch", "infobatch+align", "seta", "seta+align")


def table_one() -> tuple[list[tuple[str, str, str]], np.ndarray]:
    """Cells (noise, rate, ratio) and printed means [21 cells, 6 methods]."""
    values: dict[str, dict[tuple[str, str, str], float]] = defaultdict(dict)
    with PUBLISHED.open() as file:
        for line in csv.DictReader(file):
            if line["table"] == "1" and line["noise"] != "mean_delta":
                name = line["method"] + ("+align" if line["align"] == "1" else "")
                cell = (line["noise"], line["rate"], line["prune_ratio"])
                values[name][cell] = float(line["mean"])
    cells = sorted(values["infobatch"])
    return cells, np.array([[values[m][cell] for m in METHODS] for cell in cells])


CELLS, TABLE = table_one()
CLUSTERS = [cell[:2] for cell in CELLS]


def difference(base: str) -> np.ndarray:
    column = METHODS.index
    return TABLE[:, column(f"{base}+align")] - TABLE[:, column(base)]


@pytest.mark.parametrize(
    ("base", "gain", "interval", "t_p"),
    [("infobatch", 1.63, (0.26, 3.01), 0.027), ("seta", 0.70, (0.47, 0.92), 0.0003)],
)
def test_module_effect(base: str, gain: float, interval: tuple[float, float], t_p: float) -> None:
    d = difference(base)
    found = win_tie_loss(d)
    assert (found.wins, found.ties, found.losses) == (20, 1, 0)
    assert d.mean() == pytest.approx(gain, abs=0.005)
    noises = sorted(set(CLUSTERS))
    assert len(noises) == 7
    by_noise = {n: [[x] for x, c in zip(d, CLUSTERS, strict=True) if c == n] for n in noises}
    test = cluster_t(by_noise)
    assert test.sign_flip.p == test.sign_flip.smallest_p == 2 / 2**7
    assert test.mean == pytest.approx(gain, abs=0.005)
    assert (test.low, test.high) == pytest.approx(interval, abs=0.005)
    assert test.p == pytest.approx(t_p, rel=0.15)
    # taking the 21 correlated cells for 21 blocks would have said
    assert wilcoxon(d).p_normal == pytest.approx(6e-5, rel=0.1)


def test_both_module_effects_survive_holm() -> None:
    tests = {}
    for base in ("infobatch", "seta"):
        means = [difference(base)[[c == n for c in CLUSTERS]].mean() for n in sorted(set(CLUSTERS))]
        tests[base] = cluster_t(means).sign_flip
    found = family("module effect", tests)
    assert found.rejected == {"infobatch", "seta"}
    assert [m.adjusted for m in found.members] == [0.03125, 0.03125]


def test_practical_size_of_setas_gain() -> None:
    found = bayes_signed_rank(difference("seta"), rope=1.0)
    assert found.equivalent == pytest.approx(0.999, abs=0.002)
    assert found.verdict == "equivalent"
    assert bayes_signed_rank(difference("infobatch"), rope=1.0).verdict == "undecided"


def test_ranks_of_the_six_methods() -> None:
    found = friedman(TABLE)
    assert found.statistic == pytest.approx(94.34, abs=0.005)
    assert found.mean_ranks == pytest.approx((6.0, 4.79, 2.90, 1.19, 3.95, 2.17), abs=0.006)
    assert iman_davenport(TABLE).statistic == pytest.approx(177.0, abs=0.05)


def test_the_choice_of_post_hoc_changes_the_picture() -> None:
    found = nemenyi(TABLE)
    order = [METHODS[i] for i in np.argsort(found.mean_ranks)]
    pairs = list(itertools.combinations(range(6), 2))
    separated = [(METHODS[i], METHODS[j]) for i, j in pairs if found.p[i][j] <= 0.05]
    letters = compact_letters(order, separated).letters
    assert list(letters.values()) == ["a", "ab", "bc", "cd", "de", "e"]
    tests = {f"{i}{j}": wilcoxon(TABLE[:, i] - TABLE[:, j]) for i, j in pairs}
    assert len(family("all pairs", tests).rejected) == 15


def test_seven_clusters_cannot_carry_fifteen_pairs() -> None:
    values = {method: TABLE[:, i] for i, method in enumerate(METHODS)}
    found = pairwise(values, CLUSTERS, CELLS)
    assert {m.refused for m in found.family.members} == {"underpowered: min p .016 > .0033"}
    assert set(found.letters.letters.values()) == {"a"}
