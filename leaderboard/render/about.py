"""What a board is about and what it found, as every text form says it first."""

from __future__ import annotations

from itertools import groupby

from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import findings

#: Heading of the sentences.
FINDINGS = "What was found"


def found_by_scope(board: Board) -> list[tuple[str, list[str]]]:
    """The sentences in their order, with the designs that they speak of; an empty scope where all
    speak of the same."""
    said = findings(board)
    several = len({finding.scope for finding in said}) > 1
    return [
        (scope if several else "", [finding.text for finding in own])
        for scope, own in groupby(said, key=lambda finding: finding.scope)
    ]
