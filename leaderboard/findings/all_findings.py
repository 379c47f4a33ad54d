"""The one entry: a board in, its sentences out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings.blocks import Block, blocks_of
from prunebench.leaderboard.findings.effects import modules, noise
from prunebench.leaderboard.findings.grids import predictions, score_or_sampler
from prunebench.leaderboard.findings.level import Level
from prunebench.leaderboard.findings.limits import limits, limits_over
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
        no loss, noise and limits. Of several designs equal sentences that claim nothing are one;
        each design keeps its leader, one sentence says what the designs could not see, and the
        others share what is left, each topic once before any has a second.
    """
    blocks = blocks_of(board)
    special = _special(board, blocks[0].level)
    if len(blocks) == 1:
        return tuple(_of(blocks[0], special, MOST))
    return (*special, *_of_several(blocks, MOST - len(special)))


def _special(board: Board, level: Level) -> list[Finding]:
    """What boards of some kinds are made for."""
    designs = (*board.recipe_summaries, *board.summaries)
    found = [
        *(transfer(one, level) for one in board.transfers),
        *(score_or_sampler(summary) for summary in designs),
        *(predictions(summary) for summary in designs),
    ]
    return [finding for finding in found if finding is not None]


def _of_several(blocks: Sequence[Block], most: int) -> list[Finding]:
    every = _every(blocks)
    found = _joined([
        finding for block in blocks
        for finding in (lead(block), *modules(block), random_choice(block), no_loss(block),
                        noise(block)) if finding is not None
    ], every, len(blocks))  # fmt: skip
    unseen = limits_over(blocks, every)
    last = [replace(unseen, scopes=tuple(block.scope for block in blocks))] if unseen else []
    leads = [finding for finding in found if finding.topic == "lead"]
    rest = sorted((f for f in found if f not in leads), key=lambda f: (not f.claim, not f.grounds))
    seen: Counter[str] = Counter()
    turns = []
    for finding in rest:
        turns.append((seen[finding.topic], finding))
        seen[finding.topic] += 1
    rest = [finding for _, finding in sorted(turns, key=lambda turn: turn[0])]
    kept = [*leads, *rest[: max(0, most - len(leads) - len(last))]]
    return [*(finding for finding in found if finding in kept), *last]


def _joined(found: Sequence[Finding], every: str, designs: int) -> list[Finding]:
    """Sentences that claim nothing and are equal but for their numbers as one, widest first."""
    alike: dict[object, list[Finding]] = defaultdict(list)
    for number, finding in enumerate(found):
        alike[number if finding.claim else (finding.topic, finding.short)].append(finding)
    joint = [_one(own, every, designs) for own in alike.values()]
    return sorted(joint, key=lambda f: (-len(f.scopes), [one.scope for one in found].index(
        f.scopes[0] if f.scopes else f.scope)))  # fmt: skip


def _one(own: Sequence[Finding], every: str, designs: int) -> Finding:
    first, scopes = own[0], tuple(finding.scope for finding in own)
    if len(own) == 1:
        return first
    same = len({finding.more for finding in own}) == 1
    parts = [f"{finding.scope}: {finding.more}" for finding in own if finding.more]
    reach = {(finding.needed_p, finding.smallest_p) for finding in own}
    needed, smallest = reach.pop() if len(reach) == 1 else (None, None)
    return replace(
        first,
        scope=every if len(own) == designs else "; ".join(scopes),
        more=first.more if same else " ".join(parts),
        grounds=tuple(dict.fromkeys(ground for finding in own for ground in finding.grounds)),
        needed_p=needed,
        smallest_p=smallest,
        scopes=scopes,
    )


def _every(blocks: Sequence[Block]) -> str:
    """What all designs are called together, or all tables where some stand alone."""
    alone = any(block.scope != block.tables[0].dataset and not block.summary.designs
                for block in blocks)  # fmt: skip
    word = "tables" if alone else "designs"
    return f"both {word}" if len(blocks) == 2 else f"all {len(blocks)} {word}"


def _of(block: Block, special: list[Finding], most: int) -> list[Finding]:
    others = (random_choice(block), no_loss(block), noise(block), limits(block))
    rest = [*special, *modules(block), *(finding for finding in others if finding is not None)]
    found = [lead(block), *rest]
    first = sorted(rest, key=lambda f: (f not in special, not f.claim, not f.grounds))
    kept = [found[0], *first][:most]
    return [finding for finding in found if finding in kept]
