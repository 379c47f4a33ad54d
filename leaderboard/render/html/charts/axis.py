"""Scales of the pictures, their ticks and the numbers at them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: Distances between ticks of a decade, linear and logarithmic.
_STEPS, _LOG_STEPS = (1, 2, 2.5, 5, 10), (1, 1.5, 2, 3, 5, 7)
#: Ratio of the ends from which a logarithmic axis has ticks at 1, 2 and 5 only.
_WIDE = 6


@dataclass(frozen=True)
class Axis:
    """One axis of a panel.

    Attributes:
        name: What it shows, with the unit.
        low, high: Its ends; both above 0 where ``log``.
        log: Whether it is logarithmic.
        ticks: (place, text) where they are not the usual ones.
        turned: Whether the texts are names, which stand at an angle.
    """

    name: str
    low: float
    high: float
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    turned: bool = False

    def at(self, value: float, start: float, end: float) -> float:
        """Pixel of a value where the axis runs from pixel ``start`` to pixel ``end``."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return start + (value - low) / (high - low) * (end - start)

    def marked(self, most: int = 6) -> list[tuple[float, str]]:
        """Ticks: (place, text)."""
        if self.ticks:
            return list(self.ticks)
        places = _log_ticks(self.low, self.high) if self.log else []
        if len(places) < 2:
            places = _ticks(self.low, self.high, most)
        return [(place, plain(place)) for place in places]


def plain(value: float) -> str:
    """A number without powers: ``0.5``, ``12``, ``-3``."""
    return f"{round(value, 6) + 0.0:.6f}".rstrip("0").rstrip(".")


def pixel(value: float) -> str:
    """A coordinate to a tenth of a pixel."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def linear(name: str, values: Iterable[float], pad: float = 0.06, least: float = 1.0) -> Axis:
    """An axis that holds all values, with some room at both ends.

    Args:
        name: Of the axis.
        values: Finite numbers, one at least.
        pad: Room at each end as a share of the span.
        least: Smallest span.
    """
    known = list(values)
    low, high = min(known), max(known)
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    room = (high - low) * pad
    return Axis(name, low - room, high + room)


def logarithmic(name: str, values: Iterable[float]) -> Axis:
    """A logarithmic axis of positive values, as far as they lie between 1e-100 and 1e100."""
    known = [min(max(value, 1e-100), 1e100) for value in values]
    low, high = min(known), max(known)
    if high / low < 1.5:
        low, high = low / 1.25, high * 1.25
    room = (high / low) ** 0.06
    return Axis(name, low / room, high * room, log=True)


def view(shown: Sequence[float], everything: Sequence[float]) -> tuple[float, ...]:
    """Values that an axis is made for: all, unless those of rows in colour would be squeezed into
    less than half of it; then those, and all that lie within their own span of them."""
    if not shown:
        return tuple(everything)
    low, high = min(shown), max(shown)
    span = max(high - low, 1.0)
    if max(everything) - min(everything) <= 2 * span:
        return tuple(everything)
    near = [v for v in everything if low - span / 2 <= v <= high + span / 2]
    return (*shown, *near)


def _ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(decade * s for s in _STEPS if decade * s >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    steps = _LOG_STEPS if high / low < _WIDE else (1, 2, 5)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [step * 10.0**decade for decade in decades for step in steps]
    return [place for place in found if low * 1.001 <= place <= high / 1.001]
