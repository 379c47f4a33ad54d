"""Numbers as text: fixed decimals, no negative zero, no p of 0."""

from __future__ import annotations

import math

from prunebench.untrusted import spreadsheet

SMALLEST_SHOWN = 1e-5


def number(value: float | None, digits: int, signed: bool = False) -> str:
    """Fixed decimals without a negative zero; ``-`` for None."""
    if value is None:
        return "-"
    value = round(value, digits) + 0.0
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def csv_cell(value: object) -> str:
    """A value as a cell of a CSV file: nothing for None, six decimals, texts that no spreadsheet
    takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}" if math.isinf(value) else number(value, 6)
    return str(value) if isinstance(value, int) else spreadsheet(str(value))


def p_text(p: float | None) -> str:
    """A p-value with two significant digits; ``< 1e-5`` below that, ``-`` for None."""
    if p is None:
        return "-"
    if p < SMALLEST_SHOWN:
        return "< 1e-5"
    if p < 1e-3:
        return f"{p:.1e}".replace("e-0", "e-")
    return f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def span(low: int, high: int) -> str:
    """``3`` or ``3-5``."""
    return f"{low}" if low == high else f"{low}-{high}"


def interval(mean: float | None, low: float | None, high: float | None, digits: int) -> str:
    """``+1.2 [+0.3, +2.1]``; without an interval the mean alone."""
    if mean is None or low is None or high is None:
        return number(mean, digits, signed=True)
    ends = f"[{number(low, digits, signed=True)}, {number(high, digits, signed=True)}]"
    return f"{number(mean, digits, signed=True)} {ends}"
