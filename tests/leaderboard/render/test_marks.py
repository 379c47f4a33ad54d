"""Every form of a board carries the same marks, cell by cell and row by row."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from prunebench.bench.reports.boards import gather, make_board, texts
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.render.short_names import shared_remark, without
from prunebench.record import Record
from support.pages import Page, contest
from support.records import grid, record

BOARDS = sorted(Path(__file__).parents[3].glob("docs/leaderboards/*/records.jsonl.gz"))
TEX = {r"\textbackslash{}": "\\", r"$\geq$": "≥", r"$\approx$": "≈", r"\dag{}": "†",
       r"\ddag{}": "‡", r"\S{}": "§", "(!)": "⚠", r"\_": "_", r"\%": "%"}  # fmt: skip


@dataclass
class Marks:
    """The marks of one row; cells by noise: bold, the signs behind, whether a figure is raised."""

    lossless: bool = False
    off_ratio: bool = False
    leaks: bool = False
    oracle: bool = False
    tied: bool = False
    unsteady: bool = False
    group: str = ""
    cells: dict[str, tuple[bool, str, bool]] = field(default_factory=dict)


Found = dict[tuple[str, str, str], Marks]


def of_json(text: str) -> Found:
    found: Found = {}
    for table in json.loads(text)["tables"]:
        for row in table["rows"]:
            found[table["dataset"], f"{table['ratio']:g}", row["label"]] = Marks(
                lossless=bool(row["lossless"] and row["lossless"]["shown"]),
                off_ratio=row["off_ratio"],
                leaks=row["leaks"],
                oracle=row["kind"] == "oracle",
                tied=row["tied"],
                unsteady=bool(row["time"] and row["time"]["unsteady"]),
                group=row["group"],
                cells={
                    cell["noise"]: (
                        cell["bold"],
                        cell["mark"] + "?" * cell["underpowered"] + "‡" * bool(cell["diverged"]),
                        cell["difference"] is not None,
                    )
                    for cell in row["cells"] if cell
                },
            )  # fmt: skip
    return found


def of_csv(text: str) -> Found:
    found: Found = {}
    for row in csv.DictReader(io.StringIO(text)):
        marks = found.setdefault((row["dataset"], row["ratio"], row["method"]), Marks(
            row["lossless"] == "1", row["off_ratio"] == "1", row["reference_leaks"] == "1",
            row["kind"] == "oracle", row["tied"] == "1", row["time_unsteady"] == "1",
            row["group"],
        ))  # fmt: skip
        if row["n"] != "0":
            signs = row["mark"] + "‡" * (row["diverged"] != "0")
            marks.cells[row["noise"]] = (row["best"] == "1", signs, row["difference_n"] != "0")
    return found


#: Columns of text tables beside the name, the noise settings and the difference.
OTHERS = {"rank by mean", "mean", "group", "missing", "W/T/L", "ratio", "compute", "time",
          "choice s", "n", "clean labels"}  # fmt: skip


def of_cells(first: str, cell: dict[str, str], bold: str, raised: str) -> Marks:
    """One row of a text table: its name with its flags, and its other cells by head."""
    flags = first[len(plain_name(first)) :]
    own = Marks(
        lossless=next(text for head, text in cell.items() if "[95" in head).startswith("≥"),
        off_ratio=cell["ratio"].startswith("≈"),
        leaks=" §" in flags,
        oracle=" (oracle)" in flags,
        tied=cell["rank by mean"].endswith("="),
        unsteady=cell.get("time", "").endswith("⚠"),
        group=cell.get("group", "-").replace("-", ""),
    )
    for noise, text in cell.items():
        if noise not in OTHERS and "[95" not in noise and text != "-":
            signs = "".join(re.findall(r"[*†?‡]", text.replace("**", "")))
            own.cells[noise] = (bold in text, signs, raised in text)
    return own


def plain_name(first: str) -> str:
    return re.sub(r"( §)?( \(oracle\))?( \(\d+/\d+ cells\))?$", "", first)


def of_markdown(text: str) -> Found:
    found: Found = {}
    for part in text.split("\n## ")[1:]:
        title = re.match(r"(.*), ratio (\S+)\n", part)
        if not title or "<summary>Costs, wins and seeds</summary>" not in part:
            continue
        part = re.split(r"<summary>Diagnostics", part)[0]
        lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
                 for line in part.splitlines() if line.startswith("| ")]  # fmt: skip
        heads: list[str] = []
        rows: dict[str, dict[str, str]] = {}
        for line in lines:  # those of the first table, and of that with the costs
            if line[0] == "method":
                heads = line
                continue
            rows.setdefault(line[0], {}).update(zip(heads[1:], line[1:], strict=True))
        for first, cell in rows.items():
            place = title[1], title[2], plain_name(first)
            found[place] = of_cells(first, cell, "**", "<sup>")
    return found


def of_latex(text: str) -> Found:
    """Rows whose cells stand in one table of whole rows and in some of noise settings."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    heads = {"rank": "rank by mean", "difference": "difference [95 %]"}
    for part in text.split(r"\begin{table}")[1:]:
        title = re.search(r"\\caption\{(.*?), ratio ([\d.]+): ", part)
        assert title
        lines = [line.removesuffix(r" \\").removeprefix(r"\raggedright ").split(" & ")
                 for line in part.splitlines() if line.endswith(r" \\")]  # fmt: skip
        for old, new in TEX.items():
            lines = [[cell.replace(old, new) for cell in line] for line in lines]
        for first, *cells in lines[1:]:
            named = [heads.get(head, head) for head in lines[0][1:]]
            own = rows.setdefault((title[1], title[2], first), {})
            own.update(zip(named, cells, strict=True))
    return {
        (dataset, ratio, plain_name(first)): of_cells(first, cell, r"\textbf", "$^{")
        for (dataset, ratio, first), cell in rows.items()
    }


def shortened(board: Board, found: Found) -> Found:
    """The names without the remark that all rows of a table share."""
    shared = {
        (table.dataset, f"{table.ratio:g}"): shared_remark(
            [row.label for row in (*table.rows, *table.incomplete)]
        )
        for table in board.tables
    }
    return {
        (dataset, ratio, without(label, shared[dataset, ratio])): marks
        for (dataset, ratio, label), marks in found.items()
    }


def of_html(text: str, titles: list[tuple[str, str]]) -> Found:
    tables = [t for t in Page(text).tables if re.fullmatch(r"t-.*-r[\d.]+", t.id)]
    found: Found = {}
    for (dataset, ratio), table in zip(titles, tables, strict=True):
        noises = [
            h.text for h in table.heads if re.search(r"\bn\d+\b", h.attributes.get("class", ""))
        ]
        for _, rows in table.bodies:
            for attributes, cells in rows:
                if "data-name" not in attributes:
                    continue
                name = attributes["data-name"]
                row = dict(zip([h.text for h in table.heads], cells, strict=True))
                flags = cells[0].parts.get("small", "")
                difference = next(c for h, c in row.items() if h.startswith("difference to"))
                found[dataset, ratio, name] = Marks(
                    lossless="≥" in difference.parts.get("span", ""),
                    off_ratio=row["ratio"].text.startswith("≈"),
                    leaks="§" in flags,
                    oracle="oracle" in flags,
                    tied=row["rank"].text.endswith("="),
                    unsteady="time" in row and row["time"].text.endswith("⚠"),
                    group=row["group"].text.replace("-", "") if "group" in row else "",
                    cells={
                        noise: ("b" in row[noise].parts, row[noise].parts.get("span", ""),
                                bool(row[noise].parts.get("sup")))
                        for noise in noises if row[noise].text != "-"
                    },
                )  # fmt: skip
    return found


def check(records: list[Record]) -> Found:
    """Compares all forms; returns the marks."""
    board = make_board(records)
    forms = texts(board)
    expected = of_json(forms["leaderboard.json"])
    assert expected
    titles = [(table.dataset, f"{table.ratio:g}") for table in board.tables]
    for name, found in (
        ("csv", of_csv(forms["leaderboard.csv"])),
        ("md", of_markdown(forms["leaderboard.md"])),
        ("tex", of_latex(forms["leaderboard.tex"])),
        ("html", of_html(forms["leaderboard.html"], titles)),
    ):
        wanted = shortened(board, expected) if name == "tex" else expected
        assert found.keys() == wanted.keys(), name
        for row, marks in wanted.items():
            assert found[row] == marks, (name, row)
    return expected


@pytest.mark.parametrize("records", BOARDS, ids=lambda path: path.parent.name)
def test_all_forms_of_the_published_boards_carry_the_same_marks(records: Path) -> None:
    check(gather([records]))


def test_all_forms_carry_every_mark() -> None:
    slow = [replace(r, timing={**r.timing, "epoch_s": 1.0 + (r.spec["seed"] == 3)}).sealed()
            for r in contest()]  # fmt: skip
    slow = [replace(r, timing={**r.timing, "epoch_s": 2.5}).sealed()
            if r.spec["method"]["name"] == "dual" and r.spec["seed"] == 2 else r
            for r in slow]  # fmt: skip
    found = list(check(slow).values())
    for name in ("lossless", "off_ratio", "leaks", "oracle", "unsteady", "group"):
        assert any(getattr(marks, name) for marks in found), name
    assert [marks.unsteady for marks in found].count(True) == 1
    cells = [cell for marks in found for cell in marks.cells.values()]
    assert {bold for bold, _, _ in cells} == {raised for _, _, raised in cells} == {True, False}
    assert {"*", "†", "‡"} <= {sign for _, signs, _ in cells for sign in signs}


def test_an_underpowered_row_is_marked_and_plain_in_every_form() -> None:
    six = [24, 23, 24, 22, 24, 23]
    hits = {"full": six, "infobatch": six, "random": [h - 8 for h in six]}
    found = check([
        record(method, noise, seed, accuracy=h / 24, info={"test_size": 24})
        for method, own in hits.items()
        for noise in ("clean", "symmetric:0.2")
        for seed, h in enumerate(own)
    ])  # fmt: skip
    cells = {method: [(bold, "?" in signs) for bold, signs, _ in marks.cells.values()]
             for (_, _, method), marks in found.items()}  # fmt: skip
    plain = [(True, False)] * 2
    assert cells == {"full": plain, "infobatch": plain, "random": [(False, True)] * 2}


def test_shared_ranks_are_marked_everywhere() -> None:
    records = [record(m, seed=s, accuracy=0.5) for m in ("full", "random", "dual") for s in (0, 1)]
    assert all(marks.tied for (_, _, m), marks in check(records).items() if m != "full")


def test_a_design_too_small_for_groups_has_none_in_any_form() -> None:
    found = check(grid(seeds=(0, 1), noises=("clean",)))
    assert not any(marks.group for marks in found.values())
