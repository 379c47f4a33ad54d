"""Records of strangers: an attacker can edit any field and recompute key and digest."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.bench.reports.boards import make_board, texts
from prunebench.bench.runs.rerun import recorded_cell
from prunebench.bench.tracking.payload import build_payload
from prunebench.leaderboard.audit import audit
from prunebench.leaderboard.bundle import unpack
from prunebench.leaderboard.render.model_index import render_model_index
from prunebench.record import Record, canonical, content_key, parse
from support.fuzzing import answer, changed, damaged, fuzz

_BUNDLE = Path(__file__).parents[2] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"
_ALL = unpack(_BUNDLE)


def _few() -> list[Record]:
    wanted = ("full", "infobatch", "infobatch+align", "small-loss")
    ratio = min(r.spec["ratio"] for r in _ALL if r.spec["ratio"] > 0)
    return [
        r for r in _ALL
        if r.spec["method"]["name"] in wanted and r.spec["criterion"]["name"] == "ce"
        and r.spec["ratio"] in (0.0, ratio) and r.spec["seed"] < 4
    ]  # fmt: skip


FEW = _few()
LINES = [record.dumps() for record in FEW]
BODIES = [json.loads(line) for line in LINES]


def _resealed(body: Any) -> str | None:
    """The body with key and digest made to fit; None where no digest can be had."""
    try:
        body = {**body, "key": content_key(body["spec"])}
        content = {name: value for name, value in body.items() if name != "digest"}
        digest = hashlib.sha256(canonical(content).encode()).hexdigest()
        return canonical({**content, "digest": digest})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def test_the_sample_is_a_board() -> None:
    assert len(FEW) == 16
    assert len({r.spec["method"]["name"] for r in FEW}) == 4
    assert audit(FEW) is not None
    assert set(texts(make_board(FEW)))


@fuzz(700)
@given(st.data())
def test_damaged_bytes_are_refused_or_mean_the_same(data: st.DataObject) -> None:
    line = data.draw(st.sampled_from(LINES))
    spoiled = data.draw(damaged(line.encode()))
    record, _ = answer(lambda: parse(spoiled))
    if record is not None:  # only a byte that is no part of the content may have gone
        assert record.dumps() in LINES
        assert spoiled.strip() == record.dumps().encode()


@fuzz(200)
@given(st.data())
def test_unsealed_edits_never_pass(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(BODIES))
    spoiled = data.draw(changed(body))
    try:
        text = canonical(spoiled)
    except ValueError:
        return
    record, _ = answer(lambda: parse(text))
    assert record is None or record.dumps() in LINES


@fuzz(250)
@given(st.data())
def test_resealed_edits_are_refused_or_rendered(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(FEW) - 1))
    text = _resealed(data.draw(changed(BODIES[number])))
    if text is None:
        return
    record, _ = answer(lambda: parse(text))
    if record is None:
        return
    assert record.dumps() == text
    records = [*FEW[:number], record, *FEW[number + 1 :]]
    answer(lambda: build_payload(record, None))
    answer(lambda: recorded_cell(record, {}))
    findings, _ = answer(lambda: audit(records))
    assert findings is None or all(f.level in ("error", "warning", "note") for f in findings)
    board, line = answer(lambda: make_board(records))
    if board is None:
        assert line
        return
    for content in (*texts(board).values(), render_model_index(board)):
        content.encode()
    shown = [cell.accuracy.mean for table in board.tables
             for row in (*table.rows, *table.incomplete) for cell in row.cells
             if cell is not None]  # fmt: skip
    assert all(0 <= value <= 100 for value in shown)


@fuzz(80)
@given(st.data())
def test_damaged_bundles_are_refused_whole(tmp_path_factory: Any, data: st.DataObject) -> None:
    raw = "".join(line + "\n" for line in LINES[:3]).encode()
    packed = data.draw(st.booleans())
    content = gzip.compress(raw, mtime=0) if packed else raw
    path = tmp_path_factory.mktemp("bundle") / ("r.jsonl.gz" if packed else "r.jsonl")
    path.write_bytes(data.draw(damaged(content)))
    records, _ = answer(lambda: unpack(path))
    if records is not None:
        assert {r.dumps() for r in records} <= set(LINES[:3])


@pytest.mark.parametrize(
    "spoiled",
    [
        LINES[0].replace('"reason":""', '"reason":"x","reason":""'),
        LINES[0].replace('"schema":1', '"schema":NaN'),
        LINES[0].replace('"schema":1', '"schema":' + "9" * 5000),
        LINES[0].replace('"info":{', '"info":{"a":' + "[" * 5000 + "]" * 5000 + ","),
        LINES[0].replace('"info":{', '"info":{"a":' + "[" * 900 + "]" * 900 + ","),
        LINES[0].replace('"info":{', '"info":{"a":Infinity,'),
        LINES[0] + LINES[0],
        "[" * 100_000,
        '{"key":' * 50_000,
        "",
        "null",
        "\ufeff" + LINES[0],
    ],
)
def test_known_tricks_are_refused(spoiled: str) -> None:
    assert answer(lambda: parse(spoiled))[0] is None
