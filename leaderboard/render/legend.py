"""What the signs of a board say; only those that it uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prunebench.leaderboard.board.model import Board, Row, Table
from prunebench.leaderboard.board.time_ratio import UNSTEADY
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.inference.rankings import Modules
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.row_text import (
    bold,
    lettered,
    lossless,
    off_ratio,
    reference_words,
    signs,
)


@dataclass(frozen=True)
class Sign:
    """One sign or number of a cell.

    Attributes:
        name: By which a form knows how to show it.
        sample: As it stands in a cell.
        words: What it says.
    """

    name: str
    sample: str
    words: str


def rank_words(protocol: ProtocolFile) -> str:
    """What rows are ranked by, as it is said beside the rank."""
    return (
        f"of the rows that prune, by mean {words_of(protocol.metric)} over the noise settings; it "
        "orders means and does not say that neighbours differ"
    )


def used(table: Table) -> set[str]:
    """Names of the signs in one table."""
    found: set[str] = set()
    for row in (*table.rows, *table.incomplete):
        found |= _of_row(table, row)
        for place, cell in enumerate(row.cells):
            found |= set(signs(table, row, place))
            found |= {"bold"} if bold(table, row, place) else set()
            if cell is None:
                found.add("-")
            else:
                found |= {"±"} if cell.accuracy.half_width is not None else set()
                found |= {"raised"} if cell.difference is not None else set()
    found |= {"letters"} if lettered(table) else set()
    found |= {"few"} if any(c is not None and not c.best for c in table.tests.columns) else set()
    return found


def _of_row(table: Table, row: Row) -> set[str]:
    held = {
        "≥": bool(lossless(table, row)),
        "≈": off_ratio(row),
        "§": row.leaks,
        "=": row.tied,
        "busy": row.time is not None and row.time.unsteady,
        "time": row.time is not None,
        "-": row.rank is None,
    }
    return {name for name, there in held.items() if there}


def module_signs(found: Modules | None) -> set[str]:
    """Names of the signs in a table of module effects."""
    if found is None:
        return set()
    effects = {f"{m.comparison.a} - {m.comparison.b}": m.comparison for m in found.pairs}
    shown = set()
    for family, mean in ((found.family, "pooled"), (found.by_cluster, "cluster")):
        for member in family.members:
            if member.rejected:
                shown.add("*" if getattr(effects[member.name], mean).mean > 0 else "†")
            shown |= {"underpowered"} if member.refused else set()
    return shown


def board_signs(board: Board) -> set[str]:
    """Names of the signs on a whole board."""
    found = set().union(*map(used, board.tables))
    return found.union(*(module_signs(summary.modules) for summary in board.summaries))


def legend(names: Iterable[str], protocol: ProtocolFile, modules: bool = False) -> list[Sign]:
    """Signs with these names and what they say, in order of display.

    Args:
        names: As ``used`` gives them; others are not signs.
        protocol: The protocol.
        modules: Whether there are module effects, where some signs mean the same of a pair.
    """
    words = _words(protocol, modules)
    shown = set(names)
    return [Sign(name, sample, text) for name, (sample, text) in words.items() if name in shown]


def _words(protocol: ProtocolFile, modules: bool) -> dict[str, tuple[str, str]]:
    reference = protocol.reference
    pair = "; of a pair: a significant {}" if modules else ""
    value = "with their value, as chance where they have none"
    return {
        "bold": ("71.8", "best of its column, or not separated from the best (Holm over the "
                 "column's pairs)"),
        "raised": ("+0.4", f"mean paired difference to {reference_words(reference)} over the same "
                   "seeds, in points"),
        "±": ("±0.3", "half the 95 % t interval over seeds; none below 3 seeds"),
        "*": ("*", f"better than {reference} in this cell (Benjamini-Hochberg over the table, "
              f"exploratory){pair.format('gain')}"),
        "†": ("†", f"worse than {reference} in this cell, likewise{pair.format('loss')}"),
        "≥": ("≥", f"shown to lose less than {protocol.margin:g} points against full training "
              "(non-inferiority, Holm over the rows)"),
        "letters": ("a, ab, b", "groups: rows that share a letter are not separable, which is not "
                    "the same as equal"),
        "few": ("⚠ n = 3", "too few seeds to separate rows in this column: nothing is bold"),
        "underpowered": ("underpowered", "not tested, for no p-value could have been small enough"),
        "?": ("?", "behind the best of its column by the same amount in every seed, with too few "
              "seeds to test that: never bold"),
        "‡": ("‡", "holds diverged runs, counted "
              + (value if protocol.diverged == "value" else "as chance")),
        "≈": ("≈", "realised ratio more than 2 points off the nominal one: not an equal-cost "
              "comparison"),
        "§": ("§", "the clean reference is the test split: this row has seen what it is measured "
              "on"),
        "=": ("2=", "shared rank"),
        "busy": ("0.58⚠", f"epoch times of the row or of full training vary by more than a factor "
                 f"of {UNSTEADY:g}: measured on a busy machine"),
        "-": ("-", "missing or not defined; never imputed"),
    }  # fmt: skip
