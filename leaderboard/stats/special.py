"""Distribution functions of scipy, rounded to what is the same on every machine.

They rest on ``exp``, ``log`` and ``pow`` of the C library, which has other variants, one unit in
the last place apart, for other processors. All uses of them in the statistics pass through here,
but for the power integral and the studentized range, which are rounded where they are computed.
"""

from __future__ import annotations

from functools import lru_cache

from scipy import special

#: Significant digits that are kept; a double has nearly sixteen.
DIGITS = 10


def rounded(value: float, digits: int = DIGITS) -> float:
    """A number with so many significant digits."""
    return float(f"{value:.{digits - 1}e}")


@lru_cache(maxsize=4096)
def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t."""
    return rounded(float(special.stdtrit(df, probability)))


def t_below(value: float, df: float) -> float:
    """P(T <= value) of Student's t."""
    return rounded(float(special.stdtr(df, value)))


def t_two_sided(t: float, df: float) -> float:
    """P(|T| >= |t|) of Student's t."""
    return rounded(2 * float(special.stdtr(df, -abs(t))))


def normal_quantile(probability: float) -> float:
    """Quantile of the normal distribution."""
    return rounded(float(special.ndtri(probability)))


def normal_two_sided(z: float) -> float:
    """P(|Z| >= |z|) of the normal distribution."""
    return rounded(2 * float(special.ndtr(-abs(z))))


def chi_squared_above(value: float, df: float) -> float:
    """Upper tail of the chi-squared distribution."""
    return rounded(float(special.chdtrc(df, value)))


def chi_squared_quantile(upper: float, df: float) -> float:
    """Value that leaves ``upper`` above it under the chi-squared distribution."""
    return rounded(float(special.chdtri(df, upper)))


def f_above(value: float, df1: float, df2: float) -> float:
    """Upper tail of the F distribution."""
    return rounded(float(special.fdtrc(df1, df2, value)))


def binomial_below(k: int, n: int) -> float:
    """P(at most k of n) of fair coins."""
    return rounded(float(special.bdtr(k, n, 0.5)))
