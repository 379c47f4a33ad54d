"""The one entry: a board in, its sentences out."""

from __future__ import annotations

from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings.blocks import Block, blocks_of
from prunebench.leaderboard.findings.effects import modules, noise
from prunebench.leaderboard.findings.limits import limits
from prunebench.leaderboard.findings.model import Finding
from prunebench.leaderboard.findings.rows import lead, no_loss, random_choice

#: Sentences of a board; several designs share them, and each has one at least.
MOST = 8


def findings(board: Board) -> tuple[Finding, ...]:
    """What a board found, most important first within each design.

    Differences are claimed by corrected p at alpha over the number of families that the sentences
    rest on, so that of boards without any difference at most alpha have a sentence that claims
    one. "Loses less than the margin" is claimed at the level of its own families.

    Args:
        board: The board.

    Returns:
        Up to eight sentences for a board of one design. Several designs have about as many
        together, but one each at least: the leader, then what rests on tests and intervals, in
        the order module, random choice, no loss, noise, limits.
    """
    blocks = blocks_of(board)
    each = -(-MOST // max(1, len(blocks)))
    return tuple(finding for block in blocks for finding in _of(block, each))


def _of(block: Block, most: int) -> list[Finding]:
    others = (random_choice(block), no_loss(block), noise(block), limits(block))
    found = [lead(block), *modules(block), *(finding for finding in others if finding is not None)]
    resting = [finding for finding in found[1:] if finding.grounds]
    kept = [found[0], *resting, *(f for f in found[1:] if not f.grounds)][:most]
    return [finding for finding in found if finding in kept]
