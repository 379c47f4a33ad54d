"""The one entry: a board in, its sentences out."""

from __future__ import annotations

from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings.blocks import Block, blocks_of
from prunebench.leaderboard.findings.effects import modules, noise
from prunebench.leaderboard.findings.grids import predictions, score_or_sampler
from prunebench.leaderboard.findings.level import Level
from prunebench.leaderboard.findings.limits import limits
from prunebench.leaderboard.findings.model import Finding
from prunebench.leaderboard.findings.rows import lead, no_loss, random_choice
from prunebench.leaderboard.findings.transfers import transfer

#: Sentences of a board; of more designs than that, one each.
MOST = 8


def findings(board: Board) -> tuple[Finding, ...]:
    """What a board found, most important first within each design.

    Differences are claimed by corrected p at alpha over the number of families that the sentences
    rest on, so that of boards without any difference at most alpha have a sentence that claims
    one. "Loses less than the margin" is claimed at the level of its own families.

    Args:
        board: The board.

    Returns:
        Up to eight sentences. On a board of one design the leader comes first; then what the
        board was made for (transfer, score or sampler, predictions), then modules, random choice,
        no loss, noise and limits. Several designs share the sentences: what claims something, and
        then what rests on tests or intervals, goes before the rest.
    """
    blocks = blocks_of(board)
    special = _special(board, blocks[0].level)
    if len(blocks) == 1:
        return tuple(_of(blocks[0], special, MOST))
    each = max(1, (MOST - len(special)) // len(blocks))
    return (*special, *(finding for block in blocks for finding in _of(block, [], each)))


def _special(board: Board, level: Level) -> list[Finding]:
    """What boards of some kinds are made for."""
    designs = (*board.recipe_summaries, *board.summaries)
    found = [
        *(transfer(one, level) for one in board.transfers),
        *(score_or_sampler(summary) for summary in designs),
        *(predictions(summary) for summary in designs),
    ]
    return [finding for finding in found if finding is not None]


def _of(block: Block, special: list[Finding], most: int) -> list[Finding]:
    others = (random_choice(block), no_loss(block), noise(block), limits(block))
    rest = [*special, *modules(block), *(finding for finding in others if finding is not None)]
    found = [lead(block), *rest]
    first = sorted(rest, key=lambda f: (f not in special, not f.claim, not f.grounds))
    kept = [found[0], *first][:most]
    return [finding for finding in found if finding in kept]
