"""From results folders and bundles to the files of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prunebench.errors import InputError
from prunebench.files import read_at_most
from prunebench.leaderboard.artifacts import artifact_reader
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.bundle import is_bundle
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.learning_curves.to_target import TargetTable, target_tables
from prunebench.leaderboard.render.target_read import read_target_tables
from prunebench.leaderboard.render.target_text import TARGET_STEM
from prunebench.leaderboard.report.all_sections import report
from prunebench.leaderboard.report.forms import report_files

_LARGEST = 1 << 26


def make_report(
    board: Board, sources: Sequence[Path], faults: list[InputError], figures: bool
) -> dict[str, bytes]:
    """Files of the report of a board by relative name.

    Args:
        board: The board.
        sources: Where its records came from: results folders hold artifacts; beside a bundle may
            lie the samples to an accuracy that were published with it.
        faults: Takes artifacts that cannot be used.
        figures: Whether to draw.

    Raises:
        InputError: Figures are wanted and matplotlib is not installed.
    """
    damaged: list[InputError] = []
    read = artifact_reader(sources)
    targets = target_tables(board, read, damaged) or _published(board, sources)
    made = report(Material(board, read), targets, damaged, figures)
    faults += {str(fault): fault for fault in damaged}.values()
    return report_files(made)


def _published(board: Board, sources: Sequence[Path]) -> tuple[TargetTable, ...]:
    """Samples to an accuracy beside the only bundle, where they are of the same records and
    protocol."""
    if len(sources) != 1 or not is_bundle(sources[0]):
        return ()
    try:
        data = read_at_most(sources[0].parent / f"{TARGET_STEM}.json", _LARGEST)
    except OSError:
        return ()
    return read_target_tables(board, data)
