"""A board as one HTML page without any request: the same board gives the same bytes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Template
from markupsafe import Markup

from prunebench.leaderboard.artifacts import nothing
from prunebench.leaderboard.board.labels import decimals, noise_order
from prunebench.leaderboard.board.model import Board, Summary, Table
from prunebench.leaderboard.findings import Finding, findings
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.inference.transfer import Transfer
from prunebench.leaderboard.learning_curves.curves import Reader
from prunebench.leaderboard.published.numbers import ABOUT
from prunebench.leaderboard.render.about import FINDINGS, counts, found_by_scope
from prunebench.leaderboard.render.about import title as board_title
from prunebench.leaderboard.render.align_text import (
    AGAINST_RANDOM,
    CLEAN_SAMPLES,
    random_lines,
    use_lines,
)
from prunebench.leaderboard.render.footers import (
    board_lines,
    closing_lines,
    module_lines,
    row_lines,
    summary_lines,
)
from prunebench.leaderboard.render.footers import cell_lines as table_cell_lines
from prunebench.leaderboard.render.html.align_tables import clean_table, random_table
from prunebench.leaderboard.render.html.charts import charts
from prunebench.leaderboard.render.html.page_table import PageTable
from prunebench.leaderboard.render.html.page_tables import (
    accuracy_table,
    diagnostics_table,
    modules_table,
    predictions_table,
    shares_table,
    summary_table,
)
from prunebench.leaderboard.render.html.self_contained import BOARD, assets, environment, policy
from prunebench.leaderboard.render.html.tooltips import Tips
from prunebench.leaderboard.render.html.transfer_tables import cells_table, leads_table
from prunebench.leaderboard.render.legend import Sign, board_signs, legend, rank_words
from prunebench.leaderboard.render.markdown import header_lines
from prunebench.leaderboard.render.prediction_text import PREDICTED, prediction_lines
from prunebench.leaderboard.render.row_text import (
    further_heads,
    further_words,
    kept_words,
    printed_cells,
    reference_words,
    scores_named,
    span,
)
from prunebench.leaderboard.render.score_share import share_lines
from prunebench.leaderboard.render.transfer_text import LEAD, cell_lines, lead_lines
from prunebench.leaderboard.render.transfer_text import title as transfer_title


@dataclass(frozen=True)
class Section:
    """One table with the text above and below it.

    Attributes:
        id: Anchor.
        title, caption: Of the table.
        ratio: As the switch names it; empty for what covers all ratios.
        about: Lines above the table.
        page_table: Its cells; None without a row.
        notes: Lines below it.
        extra, extra_caption: A further table, folded away; ``extra_heads`` names its accuracies.
        more: What the caption says of columns that a first look does not show.
        cell_notes: Lines about the cells by noise setting and about times.
        several: Whether there are several noise settings, whose cells a first look does not show.
        link: What leads to it at the top of the page, where that is not its ratio or title.
        copied: A paper's rows: label and cells.
        noises: Columns of those.
    """

    id: str
    title: str
    caption: str
    ratio: str
    about: tuple[str, ...]
    page_table: PageTable | None
    notes: tuple[str, ...]
    extra: PageTable | None = None
    printed: tuple[tuple[str, tuple[str, ...]], ...] = ()
    noises: tuple[str, ...] = ()
    extra_caption: str = ""
    extra_heads: tuple[str, ...] = ()
    link: str = ""
    more: str = ""
    cell_notes: tuple[str, ...] = ()
    several: bool = False


def render_html(board: Board, read: Reader = nothing) -> str:
    """The board's page: what it found, pictures, tables by data set and ratio, summaries, module
    effects, protocol.

    Style, script and the figures behind the cells are inside the page, whose own policy
    forbids every request. All names pass through the template's escaping.

    Args:
        board: The board.
        read: Bytes of an artifact of a run, for learning curves; none by default.
    """
    noises = sorted({n for t in board.tables for n in t.noises}, key=noise_order)
    tips = Tips()
    names = list(dict.fromkeys(table.dataset for table in board.tables))
    sections = [(name, _sections(board, name, place, noises, tips))
                for place, name in enumerate(names)]  # fmt: skip
    digits = max(decimals(table.shared.test_size) for table in board.tables)
    sections += [(summary.dataset, _summaries(board, summary, f"recipes-{place}", digits, tips))
                 for place, summary in enumerate(board.recipe_summaries)]  # fmt: skip
    sections += [(found.dataset, _transfer(board, found, f"transfer-{place}", tips))
                 for place, found in enumerate(board.transfers)]  # fmt: skip
    kinds = {row.kind for t in board.tables for row in (*t.rows, *t.incomplete)}
    kinds |= {"incomplete" for t in board.tables if t.incomplete}
    said = findings(board)
    modules = any(summary.modules is not None for summary in board.summaries)
    return render_page(
        board, sections, noises, tips, kinds, board_title(board),
        signs=legend(board_signs(board), board.protocol, modules),
        found=said,
        pictures=charts(board, tips, said, read),
    )  # fmt: skip


def render_page(
    board: Board,
    sections: Sequence[tuple[str, Sequence[Section]]],
    noises: Sequence[str],
    tips: Tips,
    kinds: Collection[str],
    title: str,
    signs: Sequence[Sign] = (),
    found: Sequence[Finding] = (),
    pictures: Markup | None = None,
) -> str:
    """A page of tables with their switches.

    Args:
        board: The board they are about.
        sections: By data set.
        noises: Noise settings, whose place names a column's switch.
        tips: What is behind the cells.
        kinds: Kinds of rows that can be hidden.
        title: Of the page.
        signs: What its legend explains; empty for another page than the board's, which has none.
        found: What was found.
        pictures: What stands between these and the tables.
    """
    hidden = "".join(f".without-n{i} .n{i}{{display:none}}" for i in range(len(noises)))
    style = "".join(map(assets(BOARD), ("board.css", "charts.css"))) + hidden
    script = "".join(map(assets(BOARD), ("theme.js", "board.js", "charts.js", "view.js")))
    return _template().render(
        protocol=board.protocol,
        counts=counts(board),
        digest=board.digest,
        lines=board_lines(board),
        noises=noises,
        ratios=sorted({table.ratio for table in board.tables}),
        boards=sections,
        tips=tips.content,
        about_printed=ABOUT,
        kinds=kinds,
        title=title,
        legend=signs,
        rank=rank_words(board.protocol),
        timed=any(row.time for table in board.tables for row in (*table.rows, *table.incomplete)),
        found_title=FINDINGS,
        found=found_by_scope(found),
        pictures=pictures or Markup(""),
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
    )


def sentence(text: str) -> str:
    """A text as it begins a sentence."""
    return text[:1].upper() + text[1:]


def _sections(
    board: Board, name: str, place: int, noises: Sequence[str], tips: Tips
) -> list[Section]:
    anchor = f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'data'}-{place}"
    tables = [table for table in board.tables if table.dataset == name]
    found = [_table(board, table, anchor, noises, tips) for table in tables]
    digits = max(decimals(table.shared.test_size) for table in tables)
    for summary in board.summaries:
        if summary.dataset == name:
            found += _summaries(board, summary, anchor, digits, tips)
    return found


def _table(board: Board, table: Table, anchor: str, noises: Sequence[str], tips: Tips) -> Section:
    sizes = [size for row in table.rows or table.incomplete for size in row.seeds]
    low, high = min(sizes), max(sizes)
    spread = "± half the 95 % t interval over seeds" if high >= 3 else "too few for intervals"
    everyone = (*table.rows, *table.incomplete)
    words = kept_words(everyone)
    what = sentence(words_of(board.protocol.metric))
    return Section(
        id=f"{anchor}-r{table.ratio:g}",
        title=f"{table.dataset}, ratio {table.ratio:g}",
        caption=f"{what} at the last epoch in percent, mean of n = {span(low, high)} seeds",
        more=f"; raised: paired difference to {reference_words(table.reference)}; {spread}",
        ratio=f"{table.ratio:g}",
        about=tuple(header_lines(table)),
        page_table=accuracy_table(table, board.protocol, noises, tips),
        notes=(*row_lines(table), *closing_lines(table)),
        cell_notes=tuple(table_cell_lines(table)),
        several=len(table.noises) > 1,
        extra=diagnostics_table(table, noises),
        printed=tuple((row.label, tuple(printed_cells(row))) for row in table.printed),
        noises=table.noises,
        extra_caption=f"{sentence(words)}; {further_words(everyone)} in percent; epochs and steps",
        extra_heads=further_heads(everyone),
    )


def _summaries(
    board: Board, summary: Summary, anchor: str, digits: int, tips: Tips
) -> list[Section]:
    found = []
    if summary.ranking is not None and summary.shown:
        ratios = ", ".join(f"{ratio:g}" for ratio in summary.ratios)
        many = "Ratios" if len(summary.ratios) > 1 else "Ratio"
        found.append(Section(
            id=f"{anchor}-summary",
            title=f"{summary.dataset}, all ratios",
            caption=f"{many} {ratios} together; differences to {board.protocol.reference} in "
            "points with 95 % intervals",
            ratio="",
            about=(),
            page_table=summary_table(summary, board.protocol, digits, tips),
            notes=tuple(summary_lines(summary)),
        ))  # fmt: skip
    if summary.score_grid is not None and (shares := shares_table(summary)):
        found.append(Section(
            id=f"{anchor}-scores",
            title=f"{summary.dataset}, score or sampler?",
            caption="Percent of the variance between pairs of score and sampler, with its range "
            "where one seed is left out",
            ratio="",
            about=(),
            page_table=shares,
            notes=tuple(share_lines(summary.score_grid)),
        ))  # fmt: skip
    if summary.predictions:
        found.append(Section(
            id=f"{anchor}-predictions",
            title=f"{summary.dataset}, {PREDICTED}",
            caption="Predictions of variants of AlignPrune beside the rows that they are about",
            ratio="",
            about=(),
            page_table=predictions_table(summary),
            notes=tuple(prediction_lines(summary)),
        ))  # fmt: skip
    if summary.modules is not None:
        scores = scores_named(module.comparison.a for module in summary.modules.pairs)
        found.append(Section(
            id=f"{anchor}-modules",
            title=f"{summary.dataset}, module effect",
            caption=f"Base method with {scores} minus the base method, and planned pairs; "
            "points, over the cells and seeds both have",
            ratio="",
            about=(),
            page_table=modules_table(summary.modules, board.protocol, tips),
            notes=tuple(module_lines(summary.modules, board.protocol)),
        ))  # fmt: skip
    return found + _align_sections(board, summary, anchor, tips)


def _align_sections(board: Board, summary: Summary, anchor: str, tips: Tips) -> list[Section]:
    controls = summary.align_controls
    if controls is None:
        return []
    what = sentence(words_of(board.protocol.metric))
    return [
        Section(
            id=f"{anchor}-align-random",
            title=f"{summary.dataset}, {AGAINST_RANDOM}",
            caption="Rows with AlignPrune minus random-dynamic in points, by noise setting and "
            "over all of them, with 95 % intervals",
            ratio="",
            about=(),
            page_table=random_table(summary, controls, board.protocol, tips),
            notes=tuple(random_lines(controls)),
        ),
        Section(
            id=f"{anchor}-clean-samples",
            title=f"{summary.dataset}, {CLEAN_SAMPLES}",
            caption=f"{what} in percent of every row that uses the clean samples, and its paired "
            "differences to rows with AlignPrune",
            ratio="",
            about=(),
            page_table=clean_table(summary, controls, board.protocol, tips),
            notes=tuple(use_lines(controls)),
        ),
    ]


def _transfer(board: Board, found: Transfer, anchor: str, tips: Tips) -> list[Section]:
    words = words_of(board.protocol.metric)
    sections = [Section(
        id=f"{anchor}-cells",
        title=f"{found.dataset}, {transfer_title(found)}",
        caption=f"{words[0].upper()}{words[1:]} in percent of the subsets that one "
        "network chose, trained with several, and paired differences to random choice and full "
        "training under the same network",
        ratio="",
        about=(),
        page_table=cells_table(found),
        notes=tuple(cell_lines(found, words)),
    )]  # fmt: skip
    if found.leads is not None:
        sections.append(Section(
            id=f"{anchor}-leads",
            title=f"{found.dataset}, selected with {found.scored}: {LEAD}",
            caption="Method minus random over all noise settings and ratios, in points with 95 % "
            "intervals",
            ratio="",
            about=(),
            page_table=leads_table(found, board.protocol, tips),
            notes=tuple(lead_lines(found)),
        ))  # fmt: skip
    return sections


@cache
def _template() -> Template:
    return environment(BOARD).get_template("board.html")
