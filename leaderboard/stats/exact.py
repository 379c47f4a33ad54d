"""Exact arithmetic of accuracies: sums, means, variances and comparisons without rounding.

An accuracy is hits over test samples, so differences, means and variances are fractions. They are
added up as whole numbers and rounded once, to the nearest float, whatever the order of the values
and whatever vector units the processor has; equal numbers are equal, and no tolerance is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

#: A float or the fraction itself.
Number: TypeAlias = float | Fraction
Vector: TypeAlias = ArrayLike | Sequence[Number]

#: Largest denominator of the fraction that a float is read as: test samples times seeds and cells.
LARGEST = 10**6
#: What percentages and their differences lose as floats, with room to spare. Two fractions with
#: denominators up to a million are ten times as far apart.
_LOST = 1e-13


def exact(value: Number) -> Fraction:
    """The fraction that a number is read as.

    A float is read as the fraction with a denominator of at most a million that lies within
    1e-13 of it, where there is one, and else as its own binary fraction: 66.66666666666667 as
    200/3, and 71.5 - 71.0 as the same number as 70.9 - 70.4.

    Raises:
        ValueError: Not a finite number.
    """
    if type(value) is float:
        return _exact(value)
    if type(value) is Fraction or isinstance(value, Fraction):
        return value
    try:
        return _exact(float(value))
    except (TypeError, OverflowError):
        raise ValueError("expected a vector of finite numbers") from None


@lru_cache(maxsize=2**16)
def _exact(value: float) -> Fraction:
    if not math.isfinite(value):
        raise ValueError("values must be finite")
    itself = Fraction(value)
    near = itself.limit_denominator(LARGEST)
    return near if abs(near - itself) <= _LOST else itself


def numbers(values: Vector) -> list[Fraction]:
    """A vector as fractions; where one of its floats is near no short fraction, each of them is
    taken as its own binary fraction.

    Measurements that are no shares then keep powers of two for denominators, so that sums of
    them stay short.

    Raises:
        ValueError: Not a vector of finite numbers.
    """
    plain: Any = values.tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(plain, Iterable):
        raise ValueError(f"expected a vector, got {plain!r}")
    given = list(plain)
    found = [_exact(value) if type(value) is float else exact(value) for value in given]
    if all(value.denominator <= LARGEST for value in found):
        return found
    return [value if isinstance(value, Fraction) else Fraction(float(value)) for value in given]


def whole(values: Sequence[Fraction]) -> tuple[list[int], int]:
    """Fractions as whole multiples of 1 / scale: (multiples, scale)."""
    ratios = [value.as_integer_ratio() for value in values]
    scale = math.lcm(*{size for _, size in ratios})
    return [count * (scale // size) for count, size in ratios], scale


def mean(values: Sequence[Fraction]) -> Fraction:
    """Mean of at least one value."""
    counts, scale = whole(values)
    return Fraction(sum(counts), scale * len(counts))


def mean_of(cells: Iterable[Vector]) -> Fraction:
    """Mean of the means of several groups of values, none of them empty."""
    return mean([mean(numbers(cell)) for cell in cells])


def squares(values: Sequence[Fraction]) -> Fraction:
    """Sum of squared deviations from the mean; 0 exactly where all values are equal."""
    counts, scale = whole(values)
    return Fraction(squared(counts), len(counts) * scale * scale)


def squared(counts: Sequence[int]) -> int:
    """n times the sum of squared deviations of n whole numbers from their mean."""
    total = sum(counts)
    return len(counts) * sum(count * count for count in counts) - total * total


def at_most(value: Number, bound: Number) -> bool:
    """Whether a value reaches down to its bound, as a p-value to its level: equal counts."""
    return exact(value) <= exact(bound)
