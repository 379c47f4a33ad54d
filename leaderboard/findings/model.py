"""A sentence about a board, and the numbers that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What a sentence may be about, in order of display.
Topic = Literal[
    "lead", "transfer", "score or sampler", "predictions", "module", "random choice", "no loss",
    "noise", "limits", "samples to accuracy",
]  # fmt: skip
#: What a sentence claims: that rows differ, that a row loses less than the margin, or nothing.
Claim = Literal["difference", "no loss", ""]


@dataclass(frozen=True)
class Ground:
    """One number behind a sentence.

    Attributes:
        kind: ``test``: a member of a family; ``interval``: a 95 % interval without a test and
            without a correction; ``share``: of a variance, in percent, with its range where one
            seed is left out; ``median``: over seeds, in percent, with the interval of a median;
            ``mean``: of a row, in percent.
        what: Name of the member (``a - b``, or a row), or what the interval is of.
        family: Name of the family, as under the board's tables; empty unless a test.
        p: Corrected p; None where the test was not run, and unless a test.
        mean, low, high: In points; None where the sentence does not need them or none exists.
        claimed: Whether the sentence claims what this test found; never unless a test.
    """

    kind: Literal["test", "interval", "share", "median", "mean"]
    what: str
    family: str = ""
    p: float | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    claimed: bool = False


@dataclass(frozen=True)
class Finding:
    """One thing that was found, or that could not be.

    Attributes:
        topic: What it is about.
        scope: Label of the design, or of the designs, that it speaks of.
        short: What was found, in one sentence. Names in it are as in the records: whoever shows
            it escapes them.
        more: Further sentences: the rest of the numbers, and how they were tested; may be empty.
        claim: What it claims.
        level: Corrected p up to which a test is claimed, see ``Block.level``; None where no test
            was run.
        grounds: What it rests on.
        needed_p, smallest_p: Where a test was refused for too few runs: the p that it needs, and
            the smallest that these runs can reach.
        scopes: The designs that ``scope`` names, where they are several.
    """

    topic: Topic
    scope: str
    short: str
    more: str = ""
    claim: Claim = ""
    level: float | None = None
    grounds: tuple[Ground, ...] = ()
    needed_p: float | None = None
    smallest_p: float | None = None
    scopes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """``short`` and ``more``."""
        return f"{self.short} {self.more}".rstrip()
