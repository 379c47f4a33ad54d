"""All pictures of a board as the part of its page between the findings and the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

from jinja2 import Template
from markupsafe import Markup

from prunebench.leaderboard.artifacts import nothing
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import Finding
from prunebench.leaderboard.learning_curves.curves import Reader
from prunebench.leaderboard.render.html.charts.by_cost import by_cost
from prunebench.leaderboard.render.html.charts.curves import learning_curves
from prunebench.leaderboard.render.html.charts.design import Design, Picture
from prunebench.leaderboard.render.html.charts.heat_map import heat_map
from prunebench.leaderboard.render.html.charts.profiles import by_noise, by_ratio, kept_noise
from prunebench.leaderboard.render.html.charts.told_apart import told_apart
from prunebench.leaderboard.render.html.charts.weights import choices
from prunebench.leaderboard.render.html.self_contained import BOARD, environment
from prunebench.leaderboard.render.html.tooltips import Tips

#: Pictures in the order of their tabs, but for learning curves.
PICTURES: tuple[Callable[[Design], Picture | None], ...] = (
    by_cost, by_ratio, by_noise, heat_map, told_apart, kept_noise)  # fmt: skip


def charts(board: Board, tips: Tips, found: Sequence[Finding], read: Reader = nothing) -> Markup:
    """The pictures of every design, and the order by a reader's own weights.

    Args:
        board: The board.
        tips: Receives what is behind points and cells.
        found: The sentences of the board.
        read: Bytes of an artifact, for learning curves.
    """
    shown = [(design, pictures) for design in _designs(board, tips, found)
             if (pictures := _pictures(design, read))]  # fmt: skip
    weighed = choices(board)
    if not shown and not weighed:
        return Markup("")
    noises = list(dict.fromkeys(noise for choice in weighed for noise in choice.noises))
    return Markup(_template().render(
        designs=shown, weighed=[choice.content for choice in weighed], noises=noises,
        several=len(shown) > 1,
    ))  # fmt: skip


def _designs(board: Board, tips: Tips, found: Sequence[Finding]) -> Iterator[Design]:
    for place, summary in enumerate(board.summaries):
        tables = [table for table in board.tables if table.dataset == summary.dataset]
        together = tuple(s.dataset for s in board.recipe_summaries if summary.dataset in s.designs)
        yield Design(summary, tables, board.protocol, tips, found, f"p{place}", together)


def _pictures(design: Design, read: Reader) -> list[Picture]:
    found = [picture for make in PICTURES if (picture := make(design)) is not None]
    curves = learning_curves(design, read)
    return [*found, *([curves] if curves else [])]


@cache
def _template() -> Template:
    return environment(BOARD).get_template("charts.html")
