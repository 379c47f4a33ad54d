"""Markdown and CSV say the same, and say it in the same bytes."""

from __future__ import annotations

import io
import random
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.labels import decimals, noise_order
from prunebench.leaderboard.render.csv_table import render_csv
from prunebench.leaderboard.render.markdown import escape, render_markdown
from prunebench.leaderboard.render.row_text import number, p_text
from prunebench.record import Record
from support.pages import contest
from support.records import grid, record


def cells(line: str) -> list[str]:
    """Splits a markdown row at the bars that are not escaped."""
    parts = re.split(r"(?<!\\)\|", line.strip())[1:-1]
    return [part.strip().replace("\\|", "|") for part in parts]


def tables(markdown: str) -> list[list[dict[str, str]]]:
    found = []
    for block in re.split(r"\n\s*\n", markdown):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        if lines:
            head = cells(lines[0])
            found.append([dict(zip(head, cells(x), strict=True)) for x in lines[2:]])
    return found


def having(markdown: str, head: str) -> list[dict[str, str]]:
    """Rows of the first table with a column of this name."""
    return next(table for table in tables(markdown) if table and head in table[0])


def mixed() -> list[Record]:
    records = grid(("full", "random", "infobatch", "oracle-clean"), ratios=(0.3, 0.5))
    records.append(record("seta", "clean", 0, status="failed", reason="a|b"))
    records.append(record("ies", "symmetric:0.2", 1, 0.5, None, status="diverged"))
    return records


def test_bytes_do_not_depend_on_the_order() -> None:
    records = mixed()
    board = build(records)
    markdown, text = render_markdown(board), render_csv(board)
    for seed in range(5):
        random.Random(seed).shuffle(records)
        assert render_markdown(build(records)) == markdown
        assert render_csv(build(records)) == text


def test_csv_and_markdown_agree() -> None:
    board = build(mixed())
    frame = pd.read_csv(io.StringIO(render_csv(board)), keep_default_na=False, na_values=[""])
    shown = [t for t in tables(render_markdown(board)) if t and "mean difference [95 %]" in t[0]]
    lines = [(table, row) for table in shown for row in table]
    expected = frame.drop_duplicates(["ratio", "method"])
    assert len(lines) == len(expected)
    for (_, line), (_, start) in zip(lines, expected.iterrows(), strict=True):
        block = frame[(frame.ratio == start.ratio) & (frame.method == start.method)]
        assert line["method"].startswith(start.method)
        for _, cell in block.iterrows():
            text = line[cell.noise]
            if pd.isna(cell.accuracy):
                assert text == "-"
                continue
            numbers = [float(x) for x in re.findall(r"[-+]?\d+\.\d", text)]
            wanted = [cell.accuracy, cell.difference, cell.half_width]
            wanted = [x for x in wanted if not pd.isna(x)]
            assert numbers == pytest.approx(wanted, abs=0.0501)
            assert ("‡" in text) == bool(cell.diverged)
        rank = "-" if pd.isna(start["rank"]) else f"{start['rank']:g}"
        assert line["rank by mean"].rstrip("=") == rank


def test_the_form_of_a_cell() -> None:
    records = [record("full", seed=s, accuracy=0.926) for s in range(3)]
    for s, value in enumerate((0.930, 0.934, 0.938)):
        records.append(record("random", seed=s, accuracy=value))
    text = render_markdown(build(records))
    assert "93.4<sup>+0.8</sup> ±1.0" in text
    assert tables(text)[0][0]["clean"] == "92.6 ±0.0"
    lone = [r for r in records if r.spec["seed"] == 0]
    text = render_markdown(build(lone))
    assert "93.0<sup>+0.4</sup>" in text
    assert " ±" not in text.partition("\n## digits")[2].partition("\n## Records")[0]
    assert "n = 1 seeds (too few for intervals)" in text


def test_header_states_protocol_and_what_was_left_out() -> None:
    board = build(mixed())
    head = render_markdown(board)
    for part in (
        f"{board.used} used (digest `{board.digest}`)",
        "1 excluded: 1 failed (a|b)",
        "450 test samples; budget `samples`; spec schema 1",
        "digits-mlp v1 (model mlp, epochs 10, batch_size 64, hash ",
        "n = 3 seeds",
        "reference 90 clean samples (held_out)",
    ):
        assert part in head
    other = build([*mixed(), record("dual", accuracy=0.5)])
    assert other.digest != board.digest


def test_incomplete_rows_stand_below_with_their_counts() -> None:
    text = render_markdown(build(mixed())).split("## digits, ratio 0.5")[1]
    ranked, _, below = text.partition("Incomplete rows, not ranked:")
    assert "ies" not in ranked
    assert "| ies (1/9 cells)" in below
    assert "| seta (0/9 cells)" in below
    assert "10.0" in below
    assert "oracle-clean (oracle)" in ranked


def test_names_with_bars_and_markup_stay_inside_their_cell() -> None:
    records = [record("full"), record("a|b<i>", params={"x": "p|q"})]
    records.append(record("a|b<i>", params={"x": "r\ns"}))
    found = tables(render_markdown(build(records)))[0]
    names = {row["method"] for row in found}
    assert names == {"full", "a|b&lt;i> (x=p|q)", "a|b&lt;i> (x=r s)"}
    frame = pd.read_csv(io.StringIO(render_csv(build(records))))
    assert "a|b<i> (x=p|q)" in set(frame.method)


def test_a_ratio_that_was_not_reached_is_flagged() -> None:
    records = [record("full"), record("seta", metrics={"realised_ratio": 0.45})]
    records.append(record("dual", metrics={"realised_ratio": 0.49}))
    found = {
        row["method"]: row["ratio"] for row in having(render_markdown(build(records)), "ratio")
    }
    assert found == {"full": "0.00", "seta": "≈0.45", "dual": "0.49"}


def test_clean_labels_have_a_column_where_someone_uses_them() -> None:
    records = [record("full"), record("seta+align", info={"clean_labels_used": "reference (90)"})]
    text = render_markdown(build(records))
    found = {r["method"]: r["clean labels"] for r in having(text, "clean labels")}
    assert found == {"full": "none", "seta+align": "reference (90)"}
    assert "clean labels" not in render_markdown(build(records[:1])).split("\n## digits")[1]


def test_a_reference_that_is_the_test_split_is_marked() -> None:
    used = {"clean_labels_used": "reference set"}
    records = [record("full"), record("seta"), record("ies+align", info=used)]
    honest = render_markdown(build(records))
    records.append(record("seta+align", info={**used, "reference_leaks": True}))
    text = render_markdown(build(records))
    assert "§" not in honest
    assert "- § The clean reference is the test split" in text
    names = [row["method"] for row in tables(text)[0]]
    assert sorted(names) == ["full", "ies+align", "seta", "seta+align §"]
    frame = pd.read_csv(io.StringIO(render_csv(build(records)))).set_index("method")
    assert frame.clean_labels["seta+align"] == "reference set (test split)"
    assert frame.clean_labels["ies+align"] == "reference set"


def test_diagnostics_appear_where_known() -> None:
    text = render_markdown(build([record("full"), record("seta")]))
    (row,) = having(text, "steps")
    assert (row["method"], row["clean"], row["steps"]) == ("seta", "12.5 / 0.800", "16")
    assert "Diagnostics" not in render_markdown(build([record("full"), record("random")]))


def test_numbers_and_orders() -> None:
    assert number(-0.04, 1) == "0.0"
    assert number(-0.04, 1, signed=True) == "+0.0"
    assert number(None, 1) == "-"
    shown = [p_text(p) for p in (None, 0.0, 2e-5, 0.00024, 0.0041, 0.5)]
    assert shown == ["-", "< 1e-5", "2.0e-5", "2.4e-4", "0.0041", "0.50"]
    assert [decimals(n) for n in (None, 450, 10_000, 100_000)] == [1, 1, 1, 2]
    names = ["real:worst", "asymmetric:0.4", "symmetric:0.4", "clean", "symmetric:0.05"]
    assert sorted(names, key=noise_order) == [
        "clean", "symmetric:0.05", "symmetric:0.4", "asymmetric:0.4", "real:worst",
    ]  # fmt: skip


def test_backslashes_bars_and_signs_of_markdown_are_shown_as_they_are() -> None:
    assert escape("a\\|b") == "a\\\\\\|b"
    assert escape("a\\b") == "a\\\\b"
    assert escape("*a*, _b_, c_d, $e$, ~f~") == "\\*a\\*, \\_b\\_, c_d, \\$e\\$, \\~f\\~"
    text = render_markdown(build([record("full"), record("a\\|b"), record("a\\\\|b")]))
    first = text.partition("\n| ")[2].partition("\n\n")[0]
    signs = re.compile(r"\\[!-/:-@[-`{-~]|(\|)")  # as GitHub reads it: a backslash takes a sign
    widths = {len([bar for bar in signs.findall(line) if bar]) for line in first.splitlines()[1:]}
    assert len(widths) == 1
    assert "\n- \\* better" in render_markdown(build(contest()))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("http://a.example", "http\\://a.example"),
        ("x https://a.example/b", "x https\\://a.example/b"),
        ("ftp://a.example", "ftp\\://a.example"),
        ("see www.a.example", "see www\\.a.example"),
        ("_www.a.example", "\\_www\\.a.example"),
        ("[full]: //a.example", "[full]\\: //a.example"),
        ("WWW.a.example", "WWW\\.a.example"),
        ("me@a.example", "me<!-- -->@a.example"),
        ("mailto:me@a.example", "mailto:me<!-- -->@a.example"),
        ("symmetric:0.2", "symmetric:0.2"),
        ("a@b", "a@b"),
    ],
)
def test_addresses_in_names_become_no_links(name: str, shown: str) -> None:
    assert escape(name) == shown
    board = build([record("full"), record(name, seed=0, info={"clean_labels_used": name})])
    text = render_markdown(board)
    assert f"| {shown} " in text
    if shown != name:
        assert name not in text


def test_epochs_begun_and_whole_epochs_stand_in_columns_of_their_own() -> None:
    old = [record(m, metrics={"worst_class_accuracy": 0.1}) for m in ("full", "seta")]
    text = render_markdown(build(old))
    (row,) = [r for r in having(text, "steps") if r["method"] == "seta"]
    assert row["epochs begun"] == "10.0"
    assert "epochs" not in row
    assert "- Metrics: 2 records of set 1. Set 1 knows epochs begun only" in text
    new = record("dual", metrics={"whole_epochs": 9.02}, info={"metrics": 2})
    mixed_sets = [record("ies", seed=0, metrics={"whole_epochs": 8.5}, info={"metrics": 2}),
                  record("ies", seed=1), record("full", seed=1)]  # fmt: skip
    text = render_markdown(build([*old, new, *mixed_sets]))
    rows = {r["method"].partition(" (")[0]: r for t in tables(text) for r in t if "epochs" in r}
    assert {n: (r["epochs"], r["epochs begun"]) for n, r in rows.items()} == {
        "full": ("-", "10.0"), "seta": ("-", "10.0"), "dual": ("9.0", "-"), "ies": ("-", "10.0"),
    }  # fmt: skip
    assert "records of set 1, 2 records of set 2" in text
    text = render_markdown(
        build(
            [
                replace(
                    r, metrics={**r.metrics, "whole_epochs": 9.5}, info={**r.info, "metrics": 2}
                ).sealed()
                for r in old
            ]
        )
    )
    assert "begun" not in text
    frame = pd.read_csv(io.StringIO(render_csv(build([*old, new])))).set_index("method")
    assert frame.whole_epochs["dual"] == 9.02
    assert np.isnan(frame.whole_epochs["seta"])
    assert frame.epochs_begun["seta"] == 10


def test_epoch_times_that_vary_are_told_beside_the_time_ratio() -> None:
    def runs(method: str, *seconds: float | None) -> list[Record]:
        found = [record(method, seed=seed) for seed in range(len(seconds))]
        return [replace(r, timing={"train_s": 4.0} | ({"epoch_s": s} if s else {})).sealed()
                for r, s in zip(found, seconds, strict=True)]  # fmt: skip

    quiet = [*runs("full", 1, 1.1), *runs("seta", 1, 2), *runs("dual", 1, 2.1),
             *runs("ies", None, 9)]  # fmt: skip
    text = render_markdown(build(quiet))
    assert {r["method"]: r["time"] for r in having(text, "time")} == {
        "full": "-", "seta": "1.00", "dual": "1.00⚠", "ies": "1.00"}  # fmt: skip
    assert "- ⚠ in the time column: epoch times of the row, or of full training" in text
    busy = [*runs("full", 1, 3), *runs("seta", 1, 1)]
    assert having(render_markdown(build(busy)), "time")[1]["time"] == "1.00⚠"
    assert "⚠ in the" not in render_markdown(build([*runs("full", 1, 1), *runs("seta", 1, 1)]))


def test_columns_with_too_few_seeds_are_named_where_others_have_enough() -> None:
    records = grid(seeds=range(6), noises=("clean",))
    records += grid(seeds=(0, 1), noises=("symmetric:0.2",))
    text = render_markdown(build(records))
    line = "⚠ n = 2 in symmetric:0.2: too few seeds to separate rows in one cell; nothing is bold"
    assert f"{line} there" in text
    assert "- Bold: best of its column" in text
