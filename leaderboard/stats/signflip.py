"""Sign-flip permutation test of a zero mean, by units that flip together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.leaderboard.stats.exact import Vector, numbers, whole

MAX_EXACT_UNITS = 16
DRAWS = 99_999
#: Patterns at a time: small enough for a processor's cache, and the same however many problems
#: share them, so that a p-value does not depend on the others it is computed with.
_STEP = 4096
#: Sums of floats that have no common denominator tie within this, relative above 1.
_TIE = 1e-12
#: Totals below this are kept in 32 bits, and in 64 bits below its square.
_SMALL = 2**30
_MIRRORED = np.packbits(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1
)[:, 0]


@dataclass(frozen=True)
class SignFlip:
    """Sign-flip test of a zero mean, two-sided.

    Attributes:
        statistic: The observed statistic.
        p: Its p-value.
        units: Number of units whose signs flip independently.
        smallest_p: The p-value this number of units could have reached at best.
        exact: Whether all sign patterns were enumerated.
    """

    statistic: float
    p: float
    units: int
    smallest_p: float
    exact: bool

    @property
    def reversed(self) -> SignFlip:
        """The test of the negated differences."""
        return replace(self, statistic=0.0 - self.statistic)


def sign_flip(
    d: Vector, units: ArrayLike | None = None, cells: ArrayLike | None = None, seed: int = 0
) -> SignFlip:
    """Sign-flip permutation test of a zero mean difference, two-sided.

    Exact with up to 16 units, p = count / 2^u; else 99,999 draws, p = (1 + count) / (1 + draws).
    Patterns are compared as whole numbers (:func:`shares`), so that ties are ties.

    Args:
        d: Differences [n].
        units: Unit of each difference [n]; those of one unit flip together. Each its own if None.
        cells: Cell of each difference [n]; the statistic is then the mean of the cell means.
        seed: Seed of the draws beyond 16 units.

    Raises:
        ValueError: Empty, not finite, or lengths that differ.
    """
    x = numbers(d)
    if not x:
        raise ValueError("no differences")
    found = shares([x], units, cells)
    p = float(flip_p(found.sums, np.random.default_rng(seed))[0])
    return sign_flip_of(found.totals[0], p, found.sums.shape[1])


def sign_flip_of(statistic: Fraction, p: float, units: int) -> SignFlip:
    """The result of one of several tests that were made together."""
    return SignFlip(float(statistic), p, units, floor_of(units), units <= MAX_EXACT_UNITS)


def codes(labels: ArrayLike, size: int) -> NDArray[np.int64]:
    """Labels (scalars, rows of a table, or nested tuples) as integers from 0.

    Raises:
        ValueError: Not as many labels as differences.
    """
    try:
        values = np.asarray(labels)
    except ValueError:  # tuples within tuples
        values = np.array([repr(label) for label in labels])  # type: ignore[union-attr]
    if len(values) != size:
        raise ValueError(f"{len(values)} labels for {size} differences")
    axis = 0 if values.ndim > 1 else None
    return np.unique(values, axis=axis, return_inverse=True)[1].reshape(-1).astype(np.int64)


@dataclass(frozen=True)
class Shares:
    """What each unit adds to the statistic, of several problems that share units and cells.

    Attributes:
        sums: [problems, units], whole numbers in one unit of their own, or floats where there
            is none of a size that fits; flipping a unit negates its column.
        totals: The statistics: each problem's mean of cell means.
    """

    sums: NDArray[np.int32] | NDArray[np.int64] | NDArray[np.float64]
    totals: tuple[Fraction, ...]


def shares(
    d: Sequence[Sequence[Fraction]],
    units: ArrayLike | None = None,
    cells: ArrayLike | None = None,
) -> Shares:
    """Share of each unit in the mean of the cell means, exactly.

    Args:
        d: Per problem its differences [n].
        units: Unit of each difference [n]; each its own if None.
        cells: Cell of each difference [n]; all in one if None.

    Raises:
        ValueError: Not as many units or cells as differences.
    """
    n = len(d[0])
    unit = np.arange(n) if units is None else codes(units, n)
    cell = np.zeros(n, np.int64) if cells is None else codes(cells, n)
    counts, scale = whole([value for row in d for value in row])
    sizes = np.bincount(cell).tolist()
    common = math.lcm(*sizes)
    weights = [common // sizes[c] for c in cell.tolist()]
    rows = [[k * w for k, w in zip(counts[start : start + n], weights, strict=True)]
            for start in range(0, len(counts), n)]  # fmt: skip
    scale *= common * len(sizes)
    totals = tuple(Fraction(sum(row), scale) for row in rows)
    most = 2 * max(sum(map(abs, row)) for row in rows)  # a pair's difference
    if most < _SMALL**2:
        values = np.array(rows, np.int32 if most < _SMALL else np.int64)
    else:
        values = np.array([[k / scale for k in row] for row in rows])
    sums = np.zeros((len(rows), int(unit.max()) + 1), values.dtype)
    for place, owner in enumerate(unit.tolist()):
        sums[:, owner] += values[:, place]
    return Shares(sums, totals)


def flip_p(
    sums: NDArray[np.int32] | NDArray[np.int64] | NDArray[np.float64],
    rng: np.random.Generator,
    draws: int = DRAWS,
    one_sided: bool = False,
    pairs: bool = False,
) -> NDArray[np.float64]:
    """p-values of many problems with the same units; they share the drawn sign patterns.

    Totals are added up from tables of eight units each, in one fixed order: no linear algebra
    library takes part, whose threads and rounding differ from machine to machine. Those of whole
    numbers are exact and compared as they are; floats tie within a tolerance.

    Args:
        sums: Share of each unit in the statistic [rows, units], whole numbers or floats.
        rng: Source of the sign patterns beyond 16 units.
        draws: Number of those patterns.
        one_sided: Count patterns as great as the observed one only, not as small.
        pairs: Test the difference of every pair of rows, in the order of
            ``itertools.combinations``, instead of every row.

    Returns:
        [problems]; counted over all patterns up to 16 units, (1 + count) / (1 + draws) beyond.
    """
    blocks = [sums[i] - sums[i + 1 :] for i in range(len(sums) - 1)] if pairs else [sums]
    problems = np.concatenate(blocks)
    observed = _added(problems)
    if not one_sided:
        observed = np.abs(observed)
    if problems.dtype == np.float64:
        observed = observed - _TIE * np.maximum(1.0, _added(np.abs(problems)))
    bounds = observed[:, None]
    units = sums.shape[1]
    exact = units <= MAX_EXACT_UNITS
    # Two-sided, a pattern and its complement count alike: half of them will do.
    total = (2**units if one_sided else 2 ** (units - 1)) if exact else draws
    tables = _tables(sums)
    hits = np.zeros(len(problems), np.int64)
    for start in range(0, total, _STEP):
        size = min(_STEP, total - start)
        drawn = _patterns(start, size, len(tables)) if exact else _drawn(size, len(tables), rng)
        by_pattern = tables[0].take(drawn[0], axis=0)
        for table, octets in zip(tables[1:], drawn[1:], strict=True):
            by_pattern += table.take(octets, axis=0)
        totals = np.ascontiguousarray(by_pattern.T)
        counts: list[int] = []
        for i, block in enumerate(blocks):
            flipped = totals[i] - totals[i + 1 :] if pairs else totals
            if not one_sided:
                np.abs(flipped, out=flipped)
            bound = bounds[len(counts) : len(counts) + len(block)]
            counts += map(np.count_nonzero, flipped >= bound)
        hits += np.array(counts, np.int64)
    return np.asarray(hits / total if exact else (1.0 + hits) / (1.0 + draws))


def floor_of(units: int, one_sided: bool = False) -> float:
    """The smallest p-value that so many units can reach."""
    if units > MAX_EXACT_UNITS:
        return 1 / (1 + DRAWS)
    return 0.5**units * (1 if one_sided else 2)


def _added(problems: NDArray[Any]) -> NDArray[Any]:
    """Row totals, column by column: numpy's own sum takes another order per vector unit."""
    totals = np.zeros(len(problems), problems.dtype)
    for column in problems.T:
        totals += column
    return totals


def _tables(sums: NDArray[Any]) -> list[NDArray[Any]]:
    """Per eight units [256, rows]: their total under each octet, a set bit negating its unit; the
    first unit is the highest bit."""
    octets = np.arange(256)[:, None]
    tables = []
    for first in range(0, sums.shape[1], 8):
        part = sums[:, first : first + 8].T
        table = np.zeros((256, len(sums)), sums.dtype)
        for place, own in enumerate(part):
            table += np.where(octets >> (7 - place) & 1, -own, own)
        tables.append(table)
    return tables


def _patterns(start: int, size: int, width: int) -> NDArray[np.uint8]:
    """Patterns number ``start`` and on as octets [width, size]; bit j of a number is unit j."""
    numbers = np.arange(start, start + size)
    octets = (numbers >> 8 * np.arange(width)[:, None] & 255).astype(np.uint8)
    return _MIRRORED[octets]


def _drawn(size: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    drawn = np.frombuffer(rng.bytes(size * width), np.uint8)
    return np.ascontiguousarray(drawn.reshape(size, width).T)
