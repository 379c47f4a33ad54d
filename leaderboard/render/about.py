"""What a board is about and what it found, as every text form says it first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from prunebench.leaderboard.findings import Finding

#: Heading of the sentences.
FINDINGS = "What was found"


def found_by_scope(said: Sequence[Finding]) -> list[tuple[str, list[Finding]]]:
    """Sentences in their order, with the designs that they speak of; an empty scope where all
    speak of the same."""
    several = len({finding.scope for finding in said}) > 1
    return [
        (scope if several else "", list(own))
        for scope, own in groupby(said, key=lambda finding: finding.scope)
    ]
