"""Ties, levels and equal differences are decided by exact arithmetic."""

from __future__ import annotations

import itertools
import math
import random
import re
from fractions import Fraction

import numpy as np
import pytest

from prunebench.bench.reports.boards import texts
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.inference.bold import bold_column
from prunebench.leaderboard.inference.compare import compare
from prunebench.leaderboard.inference.marks import cell_test
from prunebench.leaderboard.inference.series import Series
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.json_export import board_json
from prunebench.leaderboard.stats import (
    cluster_t,
    family,
    friedman,
    mean_interval,
    non_inferior,
    paired_t,
    pooled_cells,
    sign_flip,
    win_tie_loss,
)
from prunebench.leaderboard.stats.exact import exact, mean_of, numbers, squares, whole
from prunebench.leaderboard.stats.special import rounded
from prunebench.record import Record
from support.records import only, record


def test_a_float_stands_for_the_simplest_fraction_near_it() -> None:
    assert exact(71.5 - 71.0) == exact(70.9 - 70.4) == Fraction(1, 2)
    assert exact(100 * (2 / 3)) == Fraction(200, 3)
    for size in (3, 24, 1797, 10_000, 60_000, 999_983):
        for hits in range(0, size, max(1, size // 50)):
            assert exact(100 * (hits / size)) == Fraction(100 * hits, size)
    odd = math.pi * 1e-7
    assert exact(odd) == Fraction(odd)
    assert exact(Fraction(1, 3)) == Fraction(1, 3)
    for bad in (math.nan, math.inf, [1.0]):
        with pytest.raises(ValueError, match="finite"):
            exact(bad)


def test_whole_numbers_means_and_squares() -> None:
    values = numbers([1 / 3, 0.5, -0.25])
    assert whole(values) == ([4, 6, -3], 12)
    assert mean_of([[1 / 3, 2 / 3], [1.0]]) == Fraction(3, 4)
    assert squares(numbers([0.1 + 0.2, 0.3, 0.3])) == 0
    measured = numbers([0.5, math.pi])  # no share: both stay as they are
    assert [float(v) for v in measured] == [0.5, math.pi]


def test_the_order_of_cells_and_seeds_changes_no_bit() -> None:
    rng, generator = random.Random(3), np.random.default_rng(3)
    d = {f"n{c}": {s: float(v) / 7 for s, v in enumerate(generator.normal(0.1, 1, 5))}
         for c in range(9)}  # fmt: skip
    first = pooled_cells(d), cluster_t([list(v.values()) for v in d.values()])
    flat = [v for by_seed in d.values() for v in by_seed.values()]
    for _ in range(5):
        names = rng.sample(sorted(d), len(d))
        again = {name: dict(rng.sample(sorted(d[name].items()), 5)) for name in names}
        assert pooled_cells(again).se == first[0].se
        assert pooled_cells(again).mean == first[0].mean
        assert pooled_cells(again).df == first[0].df
        other = cluster_t([list(v.values()) for v in again.values()])
        assert (other.mean, other.sd, other.t, other.p) == (
            first[1].mean, first[1].sd, first[1].t, first[1].p)  # fmt: skip
        mixed = rng.sample(flat, len(flat))
        assert mean_interval(mixed) == mean_interval(flat)


@pytest.mark.parametrize("size", [24, 450, 61_440])
def test_sign_flips_of_hits_count_as_fractions_do(size: int) -> None:
    rng = random.Random(size)
    for _ in range(20):
        hits = [rng.randint(-6, 6) for _ in range(7)]
        cells = [0, 0, 1, 1, 1, 2, 2]  # of unequal size: weights are no powers of two
        d = [100 * ((h + 9) / size) - 100 * (9 / size) for h in hits]
        weights = [Fraction(1, 3 * cells.count(c)) for c in cells]
        parts = [h * w for h, w in zip(hits, weights, strict=True)]
        totals = [abs(sum(s * p for s, p in zip(signs, parts, strict=True)))
                  for signs in itertools.product((1, -1), repeat=7)]  # fmt: skip
        count = sum(total >= abs(sum(parts)) for total in totals)
        assert sign_flip(d, cells=cells).p == count / 2**7


def test_rows_with_equally_many_hits_share_a_rank() -> None:
    """As decimals their means lie half-way between two nine-digit numbers."""
    size, hits = 61_440, 30_747
    records = []
    for method, own in {"full": [hits] * 3, "random": [hits] * 3,
                        "infobatch": [hits - 1, hits, hits + 1]}.items():  # fmt: skip
        records += [record(method, seed=s, accuracy=h / size, info={"test_size": size})
                    for s, h in enumerate(own)]  # fmt: skip
    board = build(records)
    rows = {row.label: row for row in only(board).rows}
    assert rows["random"].mean == rows["infobatch"].mean
    assert (rows["random"].rank, rows["infobatch"].rank) == (1, 1)
    ranking = board.summaries[0].ranking
    assert ranking is not None
    assert ranking.labels == ("full", "infobatch", "random")  # by name where the means are equal
    two = friedman([[100 * (3 * h / size) for h in (hits, hits)]] * 2)
    assert two.statistic == 0


def test_a_p_value_at_its_level_reaches_it() -> None:
    at = family("x", {"a": 0.05, "b": 0.05, "c": 0.05}, "bh")
    assert at.rejected == {"a", "b", "c"}
    assert family("x", dict.fromkeys("abcdef", 0.025 + 1e-9), "holm").rejected == frozenset()


def test_a_difference_at_the_edge_of_the_region_is_within() -> None:
    a = Series("a", "method", {("clean", 0.5): {s: 100 * (383 + s) / 600 for s in range(3)}})
    b = Series("b", "method", {("clean", 0.5): {s: 100 * (380 + s) / 600 for s in range(3)}})
    found = compare(a, b, ProtocolFile())
    assert found is not None
    assert (found.pooled.mean, found.equivalent, found.wins) == (0.5, 1, 1)
    assert win_tie_loss([1e-12, 0.0]).wins == 1


def test_equal_differences_have_a_point_for_an_interval_and_no_t() -> None:
    d = [100 * (h / 24) - 100 * ((h - 8) / 24) for h in (20, 21, 22, 23, 17, 9)]
    found = paired_t(d)
    assert len(set(d)) > 1  # as floats they differ
    assert (found.sd, found.t, found.p) == (0.0, None, None)
    assert (found.low, found.high) == (found.mean, found.mean) == (100 / 3, 100 / 3)
    assert mean_interval(d).half_width == 0.0
    pooled = pooled_cells({"a": d, "b": d})
    assert (pooled.se, pooled.df, pooled.p) == (0.0, None, None)
    assert (pooled.low, pooled.high) == (100 / 3, 100 / 3)
    assert cell_test(d, 0.05).test == "sign-flip"
    assert cell_test(d, 0.05).p == 2 / 2**6
    assert cell_test(d, 0.03).test == ""
    assert cell_test(d, 0.03).p is None


def test_behind_by_the_same_amount_is_never_among_the_best() -> None:
    best, equal = [24, 23, 24, 22, 24, 23], [24, 23, 24, 22, 24, 23]
    behind, more = [h - 8 for h in best], [h - 8 - (i == 0) for i, h in enumerate(best)]
    for own, sign in ((behind, "?"), (more, "")):
        y = [[100 * h / 24 for h in hits] for hits in (best, equal, own)]
        found = bold_column(("full", "infobatch", "random"), y, 0.05)
        assert (found.test, found.best) == ("t", {"full", "infobatch"})
        assert ("random" in found.underpowered) == (sign == "?")
    two = bold_column(
        ("full", "random"), [[100 * h / 24 for h in row] for row in (best, behind)], 0.05
    )
    assert (two.test, two.best, two.underpowered) == ("sign-flip", {"full"}, frozenset())
    few = bold_column(
        ("full", "random"), [[100 * h / 24 for h in r[:5]] for r in (best, behind)], 0.05
    )
    assert (few.best, few.underpowered) == ({"full"}, {"random"})


def _board(hits: dict[str, list[int]], size: int = 24) -> list[Record]:
    return [
        record(method, noise, seed, accuracy=h / size, info={"test_size": size})
        for method, own in hits.items()
        for noise in ("clean", "symmetric:0.2")
        for seed, h in enumerate(own)
    ]


def test_an_underpowered_row_has_its_point_and_its_line_below() -> None:
    six = [24, 23, 24, 22, 24, 23]
    found = texts(build(_board({"full": six, "infobatch": six, "random": [h - 8 for h in six]})))
    for name in ("leaderboard.md", "leaderboard.tex", "leaderboard.html"):
        assert "[-33.3, -33.3]" in found[name].replace("\N{MINUS SIGN}", "-"), name
        assert "? underpowered: behind the best" in found[name], name


@pytest.mark.parametrize("seeds", [2, 3])
def test_below_three_seeds_there_is_no_interval_anywhere(seeds: int) -> None:
    own = {"full": [24, 22, 23], "random": [20, 17, 19], "infobatch": [23, 21, 23]}
    board = build(_board({method: hits[:seeds] for method, hits in own.items()}))
    found = texts(board)
    several = seeds > 2
    assert ("too few for intervals" in found["leaderboard.md"]) is not several
    for name in ("leaderboard.md", "leaderboard.tex", "leaderboard.html"):
        shown = re.search(r"[-+][\d.]+ \[[-+]", found[name])
        assert (shown is not None) is several, name
    plus = "±" in found["leaderboard.md"].partition("| method")[2].partition("\n\n")[0]
    assert plus is several
    reference = board_json(board)["tables"][0]["ranking"]["reference"]["random"]
    for claim in ("pooled", "cluster"):
        ends = {reference[claim]["low"] is None, reference[claim]["high"] is None}
        assert ends == {not several or claim == "cluster"}  # two noise settings are too few


def test_one_rule_for_intervals_over_cells() -> None:
    wide = {"a": {0: -59.0, 1: 45.0}, "b": {0: 0.1, 1: 0.2, 2: 0.1}}
    assert pooled_cells(wide).low is None  # one degree of freedom in fact
    assert pooled_cells({"a": {0: 0.0, 1: 0.5}, "b": {0: 0.1, 1: 0.9, 2: 0.4}}).low is not None
    seven = [[0.1, 0.3]] * 3 + [[0.2, 0.5]] * 4
    assert pooled_cells(seven).low is None
    assert cluster_t(seven).low is None
    assert cluster_t([0.1, 0.3, 0.2]).low is not None
    assert non_inferior(dict(enumerate(seven))).bound is None


def test_written_numbers_have_twelve_digits() -> None:
    content = board_json(build(_board({"full": [24, 22, 23], "random": [20, 17, 19]})))
    seen = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, float):
            seen.append(value)

    walk(content)
    assert len(seen) > 100
    assert all(value == rounded(value, 12) for value in seen)
