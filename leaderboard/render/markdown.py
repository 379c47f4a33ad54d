"""A board as GitHub-flavoured markdown; the same board gives the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from prunebench.leaderboard.board.collect import FULL
from prunebench.leaderboard.board.labels import decimals, setting_word
from prunebench.leaderboard.board.model import Board, Row, Summary, Table, TableCell
from prunebench.leaderboard.findings import Finding, findings
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.inference.align_controls import AlignControls
from prunebench.leaderboard.inference.rankings import Modules
from prunebench.leaderboard.inference.transfer import Transfer
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.published.numbers import ABOUT
from prunebench.leaderboard.render.about import FINDINGS, counts, found_by_scope, title
from prunebench.leaderboard.render.align_text import (
    AGAINST_RANDOM,
    CLEAN_SAMPLES,
    compared,
    random_cells,
    random_heads,
    random_lines,
    use_cells,
    use_heads,
    use_lines,
)
from prunebench.leaderboard.render.footers import (
    board_lines,
    module_lines,
    summary_lines,
    table_lines,
)
from prunebench.leaderboard.render.legend import Sign, board_signs, legend, rank_words
from prunebench.leaderboard.render.prediction_text import (
    HEADS,
    PREDICTED,
    prediction_cells,
    prediction_lines,
)
from prunebench.leaderboard.render.row_text import (
    RANK,
    bold,
    choice,
    chooses,
    difference_head,
    epoch_heads,
    epochs,
    flags,
    further,
    further_heads,
    further_words,
    has_diagnostics,
    interval,
    kept,
    kept_words,
    lettered,
    letters,
    lossless,
    missing,
    number,
    p_text,
    printed_cells,
    ran_by,
    rank,
    realised,
    record_of,
    signs,
    span,
    summary_rank,
    time,
)
from prunebench.leaderboard.render.score_share import (
    PARTS,
    parts_of,
    share_lines,
    share_text,
    shares_of,
)
from prunebench.leaderboard.render.transfer_text import (
    LEAD,
    cell_heads,
    cell_lines,
    cell_rows,
    lead_cells,
    lead_heads,
    lead_lines,
)
from prunebench.leaderboard.render.transfer_text import title as transfer_title
from prunebench.leaderboard.stats import Member
from prunebench.record import canonical

#: Addresses that GitHub makes links of by itself, with a scheme or without, and of mail.
_SCHEME, _WWW = re.compile(r"(?<=[A-Za-z]):(?=//)"), re.compile(r"(?i)(www)\.")
_MAIL = re.compile(r"(?<=[\w.+-])@(?=[\w-]+\.)")


def escape(text: str) -> str:
    """A name that stays inside one markdown cell and is shown as it is."""
    return re.sub(r"[|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", _safe(text))


def render_markdown(board: Board, files: Sequence[str] = ()) -> str:
    """The board: what it found, one table per data set and ratio, then summaries and modules.

    Args:
        board: The board.
        files: Lines about the files beside it, as they are; empty where it stands alone.
    """
    lines = [f"# {escape(title(board))}", "", f"{counts(board)}.", *found_lines(findings(board))]
    lines += ["", "## Files", "", *files] if files else []
    lines += ["", *_folded("How to read the tables", _reading(board))]
    for table in board.tables:
        lines += ["", f"## {escape(table.dataset)}, ratio {table.ratio:g}", ""]
        lines += bullets(header_lines(table))
        if table.rows:
            lines += ["", _grid(table, table.rows)]
        if table.incomplete:
            lines += ["", "Incomplete rows, not ranked:", "", _grid(table, table.incomplete)]
        lines += ["", *_folded("Costs, wins and seeds", [_costs(table)])]
        lines += ["", *bullets(table_lines(table))]
        if table.printed:
            body = [[f"*{escape(row.label)}*", *printed_cells(row)] for row in table.printed]
            lines += ["", f"{ABOUT}.", "", pipe(["printed", *table.noises], body)]
        diagnostics = _diagnostics(table)
        if diagnostics:
            everyone = (*table.rows, *table.incomplete)
            words = kept_words(everyone)
            worst = (
                f"{further_words(everyone)} in percent"
                if len(further_heads(everyone)) > 1
                else "worst class in percent"
            )
            lines += ["", *_folded(f"Diagnostics: {words}; {worst}", [diagnostics])]
    for summary in (*board.summaries, *board.recipe_summaries):
        lines += _summary(summary, board.protocol)
    for found in board.transfers:
        lines += _transfer(found, words_of(board.protocol.metric))
    lines += ["", "## Records and protocol", "", *bullets(board_lines(board))]
    return "\n".join(lines) + "\n"


def _folded(head: str, lines: Sequence[str]) -> list[str]:
    """Lines that GitHub shows when the head is clicked."""
    return [f"<details><summary>{escape(head)}</summary>", "", *lines, "", "</details>"]


def _reading(board: Board) -> list[str]:
    """What cells, columns and signs say, of those that this board has."""
    protocol = board.protocol
    rows = [row for table in board.tables for row in (*table.rows, *table.incomplete)]
    names = board_signs(board) - {"letters", "few"}  # said with their tests below each table
    modules = any(summary.modules is not None for summary in board.summaries)
    time = any(row.time for row in rows)
    return [
        *bullets([
            f"Cells: {words_of(protocol.metric)} at the last epoch in percent, mean over seeds",
            f"Rank by mean: {rank_words(protocol)}",
        ]),
        *(f"- {_sample(sign)}: {_safe(sign.words)}" for sign in legend(names, protocol, modules)),
        *bullets([
            f"W/T/L: cells won, tied and lost against {protocol.reference}",
            "ratio, compute: share of training saved, as realised; with a forward-only pass "
            "counted as a third",
            *["time: training time over full training's, on one kind of machine"] * time,
            "n: seeds per noise setting",
        ]),
    ]  # fmt: skip


def _sample(sign: Sign) -> str:
    """A sign as it stands in a cell."""
    shown = {"bold": f"**{sign.sample}**", "raised": f"<sup>{sign.sample}</sup>", "-": "\\-"}
    return shown.get(sign.name) or _safe(sign.sample)


def found_lines(said: Sequence[Finding]) -> list[str]:
    """What was found; sentences about several designs stand below the name of each."""
    lines = ["", f"## {FINDINGS}"]
    for scope, own in found_by_scope(said):
        lines += ["", f"**{escape(scope)}**"] if scope else []
        lines += ["", *(f"- **{_safe(one.short)}** {_safe(one.more)}".rstrip() for one in own)]
    return lines


def bullets(lines: Iterable[str]) -> list[str]:
    """Lines of a list, names in them shown as they are."""
    return [f"- {_safe(line)}" for line in lines]


def _safe(line: str) -> str:
    """Names in running text, without tags, links and pictures from elsewhere; bars are harmless
    outside tables."""
    text = re.sub(r"[\\*]", r"\\\g<0>", " ".join(line.split()))
    text = re.sub(r"\](?=[(:])", r"]\\", text.replace("&", "&amp;").replace("<", "&lt;"))
    return _MAIL.sub("<!-- -->@", _WWW.sub(r"\1\\.", _SCHEME.sub(r"\\:", text)))


def header_lines(table: Table) -> list[str]:
    """Seeds, data, recipe and warnings of one table."""
    shared = table.shared
    sizes = [size for row in table.rows or table.incomplete for size in row.seeds]
    seeds = f"n = {span(min(sizes), max(sizes))} seeds"
    if max(sizes) < 3:
        seeds += " (too few for intervals)"
    test = f"{shared.test_size} test samples" if shared.test_size else "test size not recorded"
    if shared.fewer_tested:
        test += f" ({span(shared.fewer_tested[0], shared.fewer_tested[-1])} where classes leave)"
    size = shared.reference.get("size")
    reference = f"{size} clean samples" if size is not None else "default size"
    criterion = shared.criterion
    options = criterion.get("params")
    shown = f" {canonical(options)}" if options else ""
    lines = [
        f"{seeds}; {test}; budget `{shared.budget}`; spec schema {shared.schema}; "
        f"data set version {shared.dataset_version}",
        f"Recipe {shared.recipe_text}; criterion {criterion.get('name')} "
        f"v{criterion.get('version')}{shown}; reference {reference} "
        f"({shared.reference.get('mode', 'held_out')})",
    ]
    usual = table.reference == FULL
    if not any(row.kind == "full" if usual else row.label == table.reference for row in table.rows):
        row = "Full training" if usual else f"Reference row {table.reference}"
        lines.append(f"{row} is missing or incomplete: no mean differences")
    if any(row.leaks for row in (*table.rows, *table.incomplete)):
        lines.append("§ The clean reference is the test split: these rows have seen what they "
                     "are measured on")  # fmt: skip
    return lines


def label(row: Row) -> str:
    """Name with its flags."""
    shown = (flag if flag == "§" else f"({flag})" for flag in flags(row))
    return " ".join([escape(row.label), *shown])


def _accuracy(table: Table, row: Row, place: int, digits: int) -> str:
    cell: TableCell | None = row.cells[place]
    if cell is None:
        return "-"
    text = number(cell.accuracy.mean, digits)
    if bold(table, row, place):
        text = f"**{text}**"
    if cell.difference is not None:
        text += f"<sup>{number(cell.difference.mean, digits, signed=True)}</sup>"
    if cell.accuracy.half_width is not None:
        text += f" ±{number(cell.accuracy.half_width, digits)}"
    return text + signs(table, row, place).replace("*", "\\*")


def _difference(table: Table, row: Row, digits: int) -> str:
    ranking = table.tests.ranking
    found = ranking.reference.get(row.label) if ranking else None
    if found is None:  # the reference itself, or a row that is not complete
        return "-"
    mark = lossless(table, row)
    text = interval(found.pooled.mean, found.pooled.low, found.pooled.high, digits)
    return f"{mark} {text}" if mark else text


def _grid(table: Table, rows: Sequence[Row]) -> str:
    digits = decimals(table.shared.test_size)
    lacking, grouped = any(row.missing for row in rows), lettered(table)
    several = len(table.noises) > 1
    head = ["method", RANK, *["mean"] * several, difference_head(table), *["group"] * grouped]
    named = any(row.ran_by for row in (*table.rows, *table.incomplete))
    head += [*table.noises, *["missing"] * lacking, *["ran by"] * named]
    body = [
        [
            label(row),
            rank(row),
            *[number(row.mean, digits)] * several,
            _difference(table, row, digits),
            *[letters(table, row) or "-"] * grouped,
            *(_accuracy(table, row, place, digits) for place in range(len(table.noises))),
            *[escape(missing(row))] * lacking,
            *[escape(ran_by(row)) or "-"] * named,
        ]
        for row in rows
    ]
    return pipe(head, body, text_columns=lacking + named)


def _costs(table: Table) -> str:
    """The columns that a first look does not need."""
    everyone = (*table.rows, *table.incomplete)
    clean = any(row.clean_labels for row in everyone)
    timed, chosen = any(row.time for row in everyone), chooses(everyone)
    found = table.tests.ranking.reference if table.tests.ranking else {}
    head = ["method", "W/T/L", "ratio", "compute", *["time"] * timed, *["choice s"] * chosen, "n"]
    body = [
        [
            label(row),
            record_of(found.get(row.label)),
            realised(row),
            number(row.compute, 2),
            *[time(row)] * timed,
            *[choice(row)] * chosen,
            span(*row.seeds),
            *[escape(row.clean_labels) or "none"] * clean,
        ]
        for row in everyone
    ]
    return pipe([*head, *["clean labels"] * clean], body, text_columns=clean)


def _diagnostics(table: Table) -> str:
    shown = [row for row in (*table.rows, *table.incomplete) if has_diagnostics(row)]
    heads, more = epoch_heads(shown), further_heads(shown)
    body = []
    for row in shown:
        further_cells = [number(further(row, name), 1) for name in more]
        counts = [number(epochs(row, name), 1) for name in heads]
        body.append([label(row), *(kept(cell) for cell in row.cells), *further_cells, *counts,
                     number(row.steps, 0)])  # fmt: skip
    head = ["method", *table.noises, *more, *heads, "steps"]
    return pipe(head, body) if body else ""


def _summary(summary: Summary, protocol: ProtocolFile) -> list[str]:
    lines: list[str] = []
    if summary.ranking is not None and summary.shown:
        ratios = ", ".join(f"{ratio:g}" for ratio in summary.ratios)
        word = "ratio" if len(summary.ratios) == 1 else "ratios"
        lines += ["", f"## {escape(summary.dataset)}, {word} {ratios}", "",
                  _ranking(summary, words_of(protocol.metric)), "",
                  *bullets(summary_lines(summary))]  # fmt: skip
    shares = shares_of(summary)
    if summary.score_grid is not None and shares:
        body = [[escape(noise), f"{ratio:g}", *map(share_text, parts_of(found))]
                for noise, ratio, found in shares]  # fmt: skip
        lines += ["", f"## {escape(summary.dataset)}, score or sampler?", "",
                  pipe([setting_word(summary.noises), "ratio", *PARTS], body), "",
                  *bullets(share_lines(summary.score_grid))]  # fmt: skip
    if summary.predictions:
        body = [[escape(found.prediction.variant), *map(escape, prediction_cells(found))]
                for found in summary.predictions]  # fmt: skip
        lines += ["", f"## {escape(summary.dataset)}, {PREDICTED}", "",
                  pipe(["variant", *HEADS], body, text_columns=3), "",
                  *bullets(prediction_lines(summary))]  # fmt: skip
    if summary.modules is not None:
        lines += ["", f"## {escape(summary.dataset)}, module effect", "",
                  _modules(summary.modules), "",
                  *bullets(module_lines(summary.modules, protocol))]  # fmt: skip
    if summary.align_controls is not None:
        lines += _align_controls(summary, summary.align_controls)
    return lines


def _transfer(found: Transfer, words: str) -> list[str]:
    name = escape(found.dataset)
    body = [[escape(label), *map(escape, texts)] for label, texts in cell_rows(found)]
    lines = ["", f"## {name}, {escape(transfer_title(found))}", ""]
    lines += [pipe(["method", *cell_heads(found)], body), "", *bullets(cell_lines(found, words))]
    if found.leads is not None:
        body = [[escape(one.method), *map(escape, lead_cells(found, one))] for one in found.carried]
        lines += ["", f"## {name}, selected with {escape(found.scored)}: {LEAD}", ""]
        lines += [pipe(["method", *lead_heads(found)], body, text_columns=int(found.home)), ""]
        lines += bullets(lead_lines(found))
    return lines


def _align_controls(summary: Summary, found: AlignControls) -> list[str]:
    noises, name = summary.noises, escape(summary.dataset)
    lines = ["", f"## {name}, {AGAINST_RANDOM}", ""]
    if rows := compared(found):
        body = [[escape(row.label), *map(escape, random_cells(row, noises))]
                for row in rows]  # fmt: skip
        lines += [pipe(["row", *random_heads(noises)], body, text_columns=1), ""]
    lines += [*bullets(random_lines(found)), "", f"## {name}, {CLEAN_SAMPLES}", ""]
    if found.clean_uses:
        body = [[escape(use.label), *map(escape, use_cells(use, found, noises))]
                for use in found.clean_uses]  # fmt: skip
        lines += [pipe(["row", *use_heads(found, noises)], body, text_columns=1), ""]
    return [*lines, *bullets(use_lines(found))]


def _ranking(summary: Summary, words: str) -> str:
    found = summary.ranking
    if found is None:
        return ""
    body = []
    for name in found.labels:
        against = found.reference.get(name)
        body.append([
            escape(name),
            summary_rank(summary, name),
            number(found.means[name], 1),
            interval(against.pooled.mean, against.pooled.low, against.pooled.high, 1)
            if against else "-",
            interval(against.cluster.mean, against.cluster.low, against.cluster.high, 1)
            if against else "-",
            (found.groups.letters_of(name) or "-") if found.groups else "-",
            record_of(against),
            number(against.improvement, 2) if against else "-",
        ])  # fmt: skip
    head = ["method", RANK, f"mean {words}", "difference [these cells]",
            "difference [such settings]", "group", "W/T/L", "P(better)"]  # fmt: skip
    return pipe(head, body)


def _modules(found: Modules) -> str:
    body = []
    for module in found.pairs:
        c, bayes = module.comparison, module.bayes
        name = f"{c.a} - {c.b}"
        pooled = next(m for m in found.family.members if m.name == name)
        cluster = next(m for m in found.by_cluster.members if m.name == name)
        body.append([
            escape(name),
            interval(c.pooled.mean, c.pooled.low, c.pooled.high, 2),
            _tested(pooled, pooled.p, 0.0),
            _tested(pooled, pooled.adjusted, c.pooled.mean),
            _tested(cluster, cluster.adjusted, c.cluster.mean),
            record_of(c),
            str(c.equivalent),
            number(c.improvement, 2),
            "/".join(f"{x:.2f}" for x in (bayes.better, bayes.equivalent, bayes.worse))
            if bayes else "-",
        ])  # fmt: skip
    head = ["pair", "difference [95 %]", "p", "p, Holm", "p over settings, Holm", "W/T/L",
            "cells within ROPE", "P(better)", "better/same/worse"]  # fmt: skip
    return pipe(head, body)


def _tested(member: Member, p: float | None, direction: float) -> str:
    """A p-value with the sign of what it supports, or why there is none."""
    if member.refused:
        return member.refused.partition(":")[0]
    mark = "\\*" if direction > 0 else "†"
    return p_text(p) + (mark if member.rejected and direction else "")


def pipe(head: Sequence[str], body: Sequence[Sequence[str]], text_columns: int = 0) -> str:
    """A pipe table: first column and the last ``text_columns`` left, the others right."""
    align = ["left"] + ["right"] * (len(head) - 1 - text_columns) + ["left"] * text_columns
    return tabulate(
        body,
        headers=[escape(name) for name in head],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=align,
    )
