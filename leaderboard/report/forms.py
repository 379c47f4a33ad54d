"""The report as files: markdown, one HTML page without requests, a CSV file for each table."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Sequence
from functools import cache

from jinja2 import Template
from markupsafe import Markup

from prunebench.leaderboard.number_text import csv_cell, number, p_text
from prunebench.leaderboard.render.html.self_contained import (
    BOARD,
    REPORT,
    assets,
    environment,
    policy,
)
from prunebench.leaderboard.render.markdown import bullets, pipe
from prunebench.leaderboard.render.markdown import escape as escaped
from prunebench.leaderboard.report.model import (
    Column,
    Estimate,
    Report,
    ReportSection,
    ReportTable,
    Value,
)

STEM = "report"
#: Rows of a table on the page; the CSV file holds all.
SHOWN = 40


def report_files(report: Report) -> dict[str, bytes]:
    """Every file of a report by relative name; the same report gives the same bytes."""
    found = {
        f"{STEM}.md": render_markdown(report).encode(),
        f"{STEM}.html": render_html(report).encode(),
    }
    for section in report.sections:
        found |= {f"tables/{t.stem}.csv": render_csv(t).encode() for t in section.tables}
        found |= {f"figures/{one.stem}.svg": one.svg for one in section.pictures}
    return found


def cell_text(value: Value, column: Column) -> str:
    """A value as the page shows it: ``12.1 [11.0, 13.2]``, ``-`` for None."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, Estimate):
        text = _number(value.mean, column)
        if value.low is None or value.high is None:
            return text
        return f"{text} [{_number(value.low, column)}, {_number(value.high, column)}]"
    return _number(value, column)


def _number(value: float, column: Column) -> str:
    if math.isinf(value):
        return "not reached"
    return number(float(value), column.digits, column.signed)


def head_lines(report: Report) -> list[str]:
    """What the page is about and how its sentences are meant."""
    board = report.board
    families = f"{report.families} famil{'y' if report.families == 1 else 'ies'}"
    rule = (
        "A difference is claimed where the corrected p of its test over (label noise, seed) units "
        f"is at most {p_text(report.level)} ({board.protocol.alpha:g} over {families} of tests on "
        "this page) and no 95 % interval beside it holds zero (of a share of full training's: "
        "100 %)"
    )
    return [
        f"{report.title}; {board.used} runs, records `{board.digest}`, protocol "
        f"`{board.protocol.name}` v{board.protocol.version}",
        rule
        if report.families
        else "No difference is claimed: nothing could be tested, for "
        "which at least two seeds and enough (label noise, seed) units are needed",
        "Numbers in brackets are 95 % intervals for new seeds, n is the number of runs behind them",
    ]


def _lines(section: ReportSection) -> list[str]:
    return [f"Nothing to show here yet: {one.line}" if not (section.tables or section.statements)
            else f"Not shown: {one.line}" for one in section.lacking]  # fmt: skip


def render_markdown(report: Report) -> str:
    """The page in markdown; figures are files beside it."""
    lines = ["# Report", "", *bullets(head_lines(report))]
    for section in report.sections:
        lines += ["", f"## {section.title}", "", section.about, ""]
        lines += bullets([one.text for one in section.statements])
        lines += bullets(_lines(section))
        for table in section.tables:
            shown = table.rows[:SHOWN]
            body = [[escaped(cell_text(v, c)) for v, c in zip(row, table.columns, strict=True)]
                    for row in shown]  # fmt: skip
            lines += ["", f"**{table.caption}**", ""]
            lines += [pipe([column.head for column in table.columns], body), ""]
            lines += [_file_line(table)]
        for one in section.pictures:
            lines += ["", f"![{escaped(one.title)}](figures/{one.stem}.svg)", "",
                      escaped(one.caption)]  # fmt: skip
        if section.notes:
            lines += ["", *bullets(section.notes)]
    return "\n".join(lines) + "\n"


def _file_line(table: ReportTable) -> str:
    rest = len(table.rows) - SHOWN
    more = f" (all {len(table.rows)} rows)" if rest > 0 else ""
    return f"Data{more}: [{table.stem}.csv](tables/{table.stem}.csv)"


def render_csv(table: ReportTable) -> str:
    """A table with full numbers; an estimate takes a column each for the number, its ends and n."""
    wide = {
        place
        for row in table.rows
        for place, value in enumerate(row)
        if isinstance(value, Estimate)
    }
    head: list[str] = []
    for place, column in enumerate(table.columns):
        ends = ("", "_low", "_high", "_n") if place in wide else ("",)
        head += [f"{column.name}{end}" for end in ends]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    for row in table.rows:
        line: list[str] = []
        for place, value in enumerate(row):
            if place in wide:
                one = value if isinstance(value, Estimate) else None
                parts: Sequence[Value] = (
                    (one.mean, one.low, one.high, one.n) if one else (None,) * 4
                )
                line += [csv_cell(part) for part in parts]
            else:
                line.append(csv_cell(value))
        writer.writerow(line)
    return out.getvalue()


def render_html(report: Report) -> str:
    """One page with its figures inside; its own policy forbids every request."""
    style = assets(BOARD)("board.css") + assets(REPORT)("report.css")
    return _template().render(
        report=report,
        head=head_lines(report),
        shown=SHOWN,
        style=Markup(style),
        policy=policy(style),
    )


def _image(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


@cache
def _template() -> Template:
    made = environment(REPORT)
    made.filters |= {"image": _image, "lines": _lines}
    made.globals["cell"] = cell_text
    return made.get_template("report.html")
