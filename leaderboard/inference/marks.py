"""Marks inside one table: better or worse per cell (exploratory), and "lossless" per row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prunebench.leaderboard.inference.series import Cell, Series, clusters, differences
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.stats import (
    Family,
    NonInferior,
    family,
    non_inferior,
    paired_t,
)
from prunebench.leaderboard.stats.exact import at_most, mean, numbers
from prunebench.leaderboard.stats.signflip import flip_p, floor_of, shares

#: Seeds from which a cell may be tested at all.
MIN_T = 5


@dataclass(frozen=True)
class CellTest:
    """A paired test inside one cell.

    Attributes:
        p: None where it could not be run.
        smallest_p: What the sign-flip of these seeds could reach; the t test's is 0.
        test: ``sign-flip``, ``t`` or empty.
        mean: Mean difference.
        seeds: Common seeds.
    """

    p: float | None
    smallest_p: float
    test: str
    mean: float
    seeds: int


def cell_test(d: Sequence[float], level: float) -> CellTest:
    """Sign-flip where its smallest p reaches the level, else t from five seeds on; differences
    that are all equal have the exact test or none.

    Args:
        d: Differences by seed.
        level: What a p-value has to reach.
    """
    return cell_tests([d], level)[0]


def cell_tests(cells: Sequence[Sequence[float]], level: float) -> list[CellTest]:
    """``cell_test`` of many cells; those of equally many seeds share their sign patterns."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for place, d in enumerate(cells):
        by_size[len(d)].append(place)
    found: dict[int, CellTest] = {}
    for n, places in by_size.items():
        rows = [numbers(cells[place]) for place in places]
        floor = floor_of(n)
        p: list[float | None] = [None] * len(places)
        if n >= MIN_T and at_most(floor, level):
            p = flip_p(shares(rows).sums, np.random.default_rng(0)).tolist()
        for place, row, value in zip(places, rows, p, strict=True):
            centre = float(mean(row))
            t = paired_t(row).p if value is None and n >= MIN_T else None
            if value is not None:
                found[place] = CellTest(value, floor, "sign-flip", centre, n)
            elif t is not None:
                found[place] = CellTest(t, 0.0, "t", centre, n)
            else:
                found[place] = CellTest(None, floor, "", centre, n)
    return [found[place] for place in range(len(cells))]


@dataclass(frozen=True)
class Marks:
    """Marks of one table against its reference row.

    Attributes:
        reference: Label of the row compared with.
        cells: Test of each (row, noise).
        family: Benjamini-Hochberg over them; members named "row, noise".
        t_only: Whether some mark rests on the t test alone.
    """

    reference: str
    cells: dict[tuple[str, str], CellTest]
    family: Family
    t_only: bool

    def mark(self, row: str, noise: str) -> str:
        """``*`` better, ``†`` worse, empty where not separated."""
        if f"{row}, {noise}" not in self.family.rejected:
            return ""
        return "*" if self.cells[row, noise].mean > 0 else "†"


def cell_marks(
    rows: Sequence[Series], reference: Series, protocol: ProtocolFile, name: str
) -> Marks | None:
    """Tests every (row, cell) of one table against the reference; None where there is nothing."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for (noise, _), by_seed in differences(row, reference).items():
            found[row.label, noise] = list(by_seed.values())
    if not found:
        return None
    # The step-up's most lenient threshold is alpha itself: a cell that could not reach even
    # that is underpowered whatever the others say.
    made = cell_tests(list(found.values()), protocol.alpha / len(found))
    tests = dict(zip(found, made, strict=True))
    tested = family(
        name, {f"{r}, {n}": test for (r, n), test in tests.items()}, "bh", protocol.alpha
    )
    t_only = any(
        test.test == "t" and f"{r}, {n}" in tested.rejected for (r, n), test in tests.items()
    )
    return Marks(reference.label, tests, tested, t_only)


@dataclass(frozen=True)
class Lossless:
    """Which rows lose less than the margin against full training.

    Attributes:
        tests: By row.
        family: Holm over the rows.
        margin: Points.
    """

    tests: dict[str, NonInferior]
    family: Family
    margin: float


def lossless(
    rows: Sequence[Series], reference: Series, protocol: ProtocolFile, name: str
) -> Lossless | None:
    """Non-inferiority of each row over the cells of one table, Holm over the rows."""
    tests: dict[str, NonInferior] = {}
    for row in rows:
        d: dict[Cell, dict[int, float]] = differences(row, reference)
        if any(len(by_seed) >= 2 for by_seed in d.values()):
            tests[row.label] = non_inferior(d, protocol.margin, 0.95, clusters(d))
    if not tests:
        return None
    return Lossless(tests, family(name, tests, "holm", protocol.alpha), protocol.margin)
