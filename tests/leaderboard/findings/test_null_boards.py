"""Boards without differences, and that those which could claim one are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings.blocks import blocks_of
from prunebench.leaderboard.stats import Family
from tests.leaderboard.findings.null_boards import (
    DEPENDENT,
    SMALL,
    TRANSFER,
    Claimable,
    Design,
    claiming,
    claims_one,
    families,
    may_claim,
)

BOARDS = 200
FEW = Design(SMALL.rows[-4:], ("clean", "symmetric:0.4"), 9)


def test_boards_without_differences_rarely_claim_one() -> None:
    """And families at levels of their own would do so more often."""
    able, claims, quiet = claiming(SMALL, BOARDS)
    assert 0 < claims <= able
    assert claims <= 0.05 * BOARDS
    assert not any(map(claims_one, quiet))
    tested = families(SMALL, quiet[0])
    alone = [Claimable(len(tested) * one.needed, one.contrasts) for one in tested]
    assert may_claim(SMALL, alone, SMALL.draw(np.random.default_rng(0), BOARDS)).sum() > able


@pytest.mark.parametrize(
    "design",
    [
        pytest.param(FEW, id="drawn-patterns"),
        pytest.param(replace(TRANSFER, rows=("full", "random", "dual")), id="transfer"),
        pytest.param(replace(DEPENDENT, rows=FEW.rows, seeds=6), id="dependent-settings"),
    ],
)
def test_boards_that_could_claim_one_are_those_whose_families_reject(design: Design) -> None:
    """With a lead of one row that grows from board to board."""
    hits = design.draw(np.random.default_rng(3), 6)
    points = np.linspace(0.0, 1.2, len(hits))
    hits[:, -1] += np.rint(100 * points).astype(int)[:, None, None, None]
    boards = [build(design.records(own)) for own in hits]
    tested = families(design, boards[0])
    found = may_claim(design, tested, hits).tolist()
    assert len(set(found)) == 2
    for board, may in zip(boards, found, strict=True):
        level = blocks_of(board)[0].level
        members = [member for family in _claimed_from(board) for member in family.members]
        assert any(map(level.claims, members)) == may
        assert may or not claims_one(board)


def _claimed_from(board: Board) -> list[Family]:
    """Families that sentences claim differences from."""
    found = []
    for block in blocks_of(board):
        found += [block.groups.pairwise.family] if block.groups else []
        found += [block.summary.modules.family] if block.summary.modules else []
    for one in board.transfers:
        found += [family for family in (one.leads, one.changes) if family]
    return found
