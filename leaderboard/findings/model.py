"""A sentence about a board, and the numbers that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What a sentence may be about, in order of display.
Topic = Literal["lead", "random choice", "module", "no loss", "noise", "limits"]
#: What a sentence claims: that rows differ, that a row loses less than the margin, or nothing.
Claim = Literal["difference", "no loss", ""]


@dataclass(frozen=True)
class Ground:
    """One number behind a sentence.

    Attributes:
        kind: ``test``: a member of a family; ``interval``: a 95 % interval without a test and
            without a correction.
        what: Name of the member (``a - b``, or a row), or what the interval is of.
        family: Name of the family, as under the board's tables; empty for an interval.
        p: Corrected p; None where the test was not run, and for intervals.
        mean, low, high: In points; None where the sentence does not need them or none exists.
        claimed: Whether the sentence claims what this test found; never for an interval.
    """

    kind: Literal["test", "interval"]
    what: str
    family: str = ""
    p: float | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    claimed: bool = False


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Attributes:
        topic: What it is about.
        scope: Label of the design, or of the designs, that it speaks of.
        text: The sentence. Names in it are as in the records: whoever shows it escapes them.
        claim: What it claims.
        level: Corrected p up to which a test is claimed; see ``Block.level``.
        grounds: What it rests on.
    """

    topic: Topic
    scope: str
    text: str
    claim: Claim = ""
    level: float = 0.0
    grounds: tuple[Ground, ...] = ()
