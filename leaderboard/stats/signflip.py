"""Sign-flip permutation test of a zero mean, by units that flip together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.leaderboard.stats.intervals import as_vector

MAX_EXACT_UNITS = 16
DRAWS = 99_999
#: Patterns at a time: small enough for a processor's cache, and the same however many problems
#: share them, so that a p-value does not depend on the company it was computed in.
_STEP = 4096
_TIE = 1e-12
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


def sign_flip(
    d: ArrayLike, units: ArrayLike | None = None, cells: ArrayLike | None = None, seed: int = 0
) -> SignFlip:
    """Sign-flip permutation test of a zero mean difference, two-sided.

    Exact with up to 16 units, p = count / 2^u; else 99,999 draws, p = (1 + count) / (1 + draws).

    Args:
        d: Differences [n].
        units: Unit of each difference [n]; those of one unit flip together. Each its own if None.
        cells: Cell of each difference [n]; the statistic is then the mean of the cell means.
        seed: Seed of the draws beyond 16 units.

    Raises:
        ValueError: Empty, not finite, or lengths that differ.
    """
    x = as_vector(d)
    if x.size == 0:
        raise ValueError("no differences")
    unit = np.arange(x.size) if units is None else codes(units, x.size)
    cell = np.zeros(x.size, np.int64) if cells is None else codes(cells, x.size)
    sums = unit_sums(x, unit, cell)
    p = float(flip_p(sums, np.random.default_rng(seed))[0])
    count = sums.shape[1]
    return SignFlip(math.fsum(sums[0]), p, count, floor_of(count), count <= MAX_EXACT_UNITS)


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


def unit_sums(
    d: NDArray[np.float64], unit: NDArray[np.int64], cell: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Share of each unit in the mean of the cell means.

    Args:
        d: Differences [n], or [problems, n] that share units and cells.
        unit: Unit of each difference [n], integers from 0.
        cell: Cell of each difference [n], integers from 0.

    Returns:
        [problems, units]; a row adds up to the statistic, flipping a unit negates its column.
    """
    sizes = np.bincount(cell)
    share = 1.0 / (sizes[cell] * sizes.size)
    member = np.zeros((d.shape[-1], int(unit.max()) + 1))
    member[np.arange(d.shape[-1]), unit] = share
    return np.atleast_2d(d) @ member


def flip_p(
    sums: NDArray[np.float64],
    rng: np.random.Generator,
    draws: int = DRAWS,
    one_sided: bool = False,
    pairs: bool = False,
) -> NDArray[np.float64]:
    """p-values of many problems with the same units; they share the drawn sign patterns.

    Totals are added up from tables of eight units each, in one fixed order: no linear algebra
    library takes part, whose threads and rounding differ from machine to machine.

    Args:
        sums: Share of each unit in the statistic [rows, units].
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
    observed = problems.sum(axis=1)
    if not one_sided:
        observed = np.abs(observed)
    bounds = (observed - _TIE * np.maximum(1.0, np.abs(problems).sum(axis=1)))[:, None]
    units = sums.shape[1]
    exact = units <= MAX_EXACT_UNITS
    # Two-sided, a pattern and its complement count alike: half of them will do.
    total = (2**units if one_sided else 2 ** (units - 1)) if exact else draws
    tables = _tables(sums)
    hits = np.zeros(len(problems), np.int64)
    for start in range(0, total, _STEP):
        size = min(_STEP, total - start)
        drawn = _patterns(start, size, len(tables)) if exact else _drawn(size, len(tables), rng)
        totals = tables[0].take(drawn[0], axis=1)
        for table, octets in zip(tables[1:], drawn[1:], strict=True):
            totals += table.take(octets, axis=1)
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


def _tables(sums: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Per eight units [rows, 256]: their total under each octet, a set bit negating its unit; the
    first unit is the highest bit."""
    octets = np.arange(256)
    tables = []
    for first in range(0, sums.shape[1], 8):
        part = sums[:, first : first + 8]
        table = np.zeros((len(sums), 256))
        for place in range(part.shape[1]):
            table += np.where(octets >> (7 - place) & 1, -part[:, [place]], part[:, [place]])
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
