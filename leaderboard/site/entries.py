"""Boards as entries of a site: what they are about, what was found, and when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prunebench.leaderboard.board.labels import noise_order
from prunebench.leaderboard.findings import Finding, findings
from prunebench.leaderboard.findings.phrases import counted
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.number_text import span
from prunebench.leaderboard.render.about import about, found_by_scope
from prunebench.leaderboard.site.model import PublishedBoard
from prunebench.leaderboard.site.rows import RowEntry, board_rows


@dataclass(frozen=True)
class BoardEntry:
    """One board.

    Attributes:
        published: The board itself.
        rows: Its rows.
        findings: By what they speak of; the name is empty where there is one alone.
        facts: What it is about: name and words.
        date: On which its last run ended; empty where no record says it.
    """

    published: PublishedBoard
    rows: tuple[RowEntry, ...]
    findings: Sequence[tuple[str, Sequence[Finding]]]
    facts: tuple[tuple[str, str], ...]
    date: str

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.published.name

    @property
    def said(self) -> list[str]:
        """The short sentences, each with what it speaks of where that differs."""
        return [f"{scope}: {one.short}" if scope else one.short
                for scope, said in self.findings for one in said]  # fmt: skip

    @property
    def brief(self) -> str:
        """The facts in one line."""
        return " · ".join(words for name, words in self.facts if name in _BRIEF)

    @property
    def datasets(self) -> list[str]:
        """Data sets of its rows, as records name them."""
        return _known(row.dataset for row in self.rows)


_BRIEF = ("data set", "network", "noise", "ratio", "seeds", "methods", "date")
#: So many settings are named in one line.
_FEW = 4


def board_entry(published: PublishedBoard) -> BoardEntry:
    """A board's entry; its findings are those of its own page."""
    rows = tuple(board_rows(published))
    date = max((row.last for row in rows), default="")
    return BoardEntry(
        published,
        rows,
        found_by_scope(findings(published.board)),
        tuple(_facts(published, rows, date)),
        date,
    )


def _facts(
    published: PublishedBoard, rows: Sequence[RowEntry], date: str
) -> Iterable[tuple[str, str]]:
    board = published.board
    shared = [table.shared for table in board.tables]
    noises = sorted({noise for table in board.tables for noise in table.noises}, key=noise_order)
    seeds = [n for table in board.tables for row in table.rows or table.incomplete
             for n in row.seeds]  # fmt: skip
    named, labels = about(board), len({row.label for row in rows})
    yield "data set", ", ".join(named.datasets)
    yield "network", ", ".join(named.networks)
    yield "noise", _few(noises, "settings")
    ratios = sorted({table.ratio for table in board.tables})
    yield "ratio", f"{', '.join(f'{ratio:g}' for ratio in ratios)} saved"
    yield "seeds", f"n = {span(min(seeds), max(seeds))}"
    yield "methods", (f"{counted(len(named.methods), 'method')}, "
                      f"{counted(labels, 'row')} with controls")  # fmt: skip
    yield "date", date or "not dated"
    yield "metric", words_of(board.protocol.metric)
    yield "budget", ", ".join(named.budgets)
    yield "recipe", "; ".join(_known(one.recipe_text for one in shared))
    if board.history.contributions:
        yield "version", f"{board.history.version} of this board"
    yield "runs", f"{board.used}, records {board.digest}"
    yield "hardware", ", ".join(_known(name for row in rows for name in row.hardware))
    protocol = board.protocol
    yield "protocol", f"{protocol.name} v{protocol.version}, alpha {protocol.alpha:g}"


def _few(names: Sequence[str], noun: str) -> str:
    if len(names) <= _FEW:
        return ", ".join(names)
    return f"{', '.join(names[:_FEW])} and {len(names) - _FEW} more {noun}"


def _known(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
