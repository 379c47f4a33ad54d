"""Declared families of tests: one correction over all members that could have been significant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.leaderboard.stats.exact import at_most, exact
from prunebench.leaderboard.stats.intervals import as_vector


@dataclass(frozen=True)
class Adjusted:
    """Adjusted p-values in the order given; compare each with the family's level."""

    p: tuple[float, ...]
    size: int


def holm(p: ArrayLike) -> Adjusted:
    """Step-down adjustment holding the family-wise error (Holm 1979).

    Raises:
        ValueError: A value outside [0, 1].
    """
    x, order = _sorted(p)
    m = x.size
    stepped = np.maximum.accumulate(x[order] * np.arange(m, 0, -1))
    return _restored(stepped, order)


def benjamini_hochberg(p: ArrayLike) -> Adjusted:
    """Step-up adjustment holding the false discovery rate (Benjamini and Hochberg 1995).

    Raises:
        ValueError: A value outside [0, 1].
    """
    x, order = _sorted(p)
    m = x.size
    scaled = x[order] * m / np.arange(1, m + 1)
    return _restored(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _sorted(p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    x = as_vector(p)
    if ((x < 0) | (x > 1)).any():
        raise ValueError("p-values must lie in [0, 1]")
    return x, np.argsort(x, kind="stable")


def _restored(values: NDArray[np.float64], order: NDArray[np.intp]) -> Adjusted:
    adjusted = np.empty(values.size)
    adjusted[order] = np.minimum(values, 1.0)
    return Adjusted(tuple(adjusted.tolist()), values.size)


METHODS = {"holm": (holm, "Holm"), "bh": (benjamini_hochberg, "Benjamini-Hochberg")}


class Testable(Protocol):
    """A result with a p-value and the smallest one its design could have given."""

    @property
    def p(self) -> float | None: ...
    @property
    def smallest_p(self) -> float: ...


@dataclass(frozen=True)
class Member:
    """One test of a family.

    Attributes:
        name: What was compared.
        p: As tested; None where it was refused.
        adjusted: Corrected for the whole family; None likewise.
        rejected: Whether ``adjusted`` is at most the family's alpha.
        refused: Why the test was not run; empty otherwise.
    """

    name: str
    p: float | None
    adjusted: float | None
    rejected: bool
    refused: str


@dataclass(frozen=True)
class Family:
    """A family with its correction, as printed under the table that shows it."""

    name: str
    size: int
    method: str
    alpha: float
    members: tuple[Member, ...]

    @cached_property
    def rejected(self) -> frozenset[str]:
        """Names of the members that are significant."""
        return frozenset(member.name for member in self.members if member.rejected)

    @property
    def footer(self) -> str:
        """Name, size, correction, level and refusals in one line."""
        refused = sum(bool(member.refused) for member in self.members)
        text = f"{self.name}: m = {self.size}, {METHODS[self.method][1]}, alpha = {self.alpha:g}"
        return f"{text}, {refused} not run" if refused else text


def family(
    name: str,
    members: Mapping[str, Testable | float],
    method: str = "holm",
    alpha: float = 0.05,
) -> Family:
    """Corrects a declared family of tests.

    A test whose smallest attainable p exceeds alpha / m, and one without a p-value, is not run
    but still counts in m, as if its p were 1.

    Args:
        name: Of the family.
        members: Test by name: a p-value, or a result with ``p`` and ``smallest_p``.
        method: ``holm`` (family-wise error) or ``bh`` (false discovery rate).
        alpha: Level of the family.

    Raises:
        ValueError: Unknown method, alpha outside (0, 1) or a p-value outside [0, 1].
    """
    if method not in METHODS:
        raise ValueError(f"unknown correction {method!r}; accepted: {', '.join(METHODS)}")
    if not 0 < alpha < 1:
        raise ValueError(f"need 0 < alpha < 1, got {alpha}")
    m = len(members)
    found: list[tuple[str, float | None, str]] = []
    for label, test in members.items():
        p, floor = (test, 0.0) if isinstance(test, (int, float)) else (test.p, test.smallest_p)
        if exact(floor) * m > exact(alpha):
            found.append((label, None, f"underpowered: min p {short(floor)} > {short(alpha / m)}"))
        else:
            found.append((label, p, "" if p is not None else "no spread between differences"))
    adjusted = METHODS[method][0]([1.0 if p is None else p for _, p, _ in found]).p
    return Family(
        name=name,
        size=m,
        method=method,
        alpha=alpha,
        members=tuple(
            Member(label, p, q, at_most(q, alpha), "")
            if p is not None
            else Member(label, None, None, False, reason)
            for (label, p, reason), q in zip(found, adjusted, strict=True)
        ),
    )


def short(p: float) -> str:
    """Two significant digits without the leading zero: .25, .0036, 1e-05."""
    return f"{p:.2g}".removeprefix("0")
