"""Pictures in the board's page."""

from __future__ import annotations

from markupsafe import Markup

from prunebench.leaderboard.board.model import Board


def charts(board: Board) -> Markup:
    """Pictures of a board, which stand between its findings and its tables; none so far."""
    return Markup("")
