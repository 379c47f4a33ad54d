"""Records with numbers that no run has: named and left out, while the others are rendered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.reports.boards import gather, load_records, make_board, texts
from prunebench.bench.results.store import Store
from prunebench.errors import InputError
from prunebench.leaderboard.audit import audit
from prunebench.leaderboard.board.check_record import check_shape
from prunebench.leaderboard.bundle import pack, unpack
from prunebench.record import Record, RecordError, _seal, content_key, parse
from support.command import prunebench
from support.fuzzing import bounded

_BUNDLE = Path(__file__).parents[2] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"
RECORDS = [replace(record, artifacts={}).sealed() for record in unpack(_BUNDLE)]
NOISE = RECORDS[0].spec["noise"]["name"]
GOOD = [r for r in RECORDS if r.spec["method"]["name"] in ("full", "random", "infobatch")
        and r.spec["noise"]["name"] == NOISE]  # fmt: skip
HUGE = 10**400
WIDE = (HUGE, -HUGE, 2**63, -(2**63) - 1)


def forged(record: Record, path: tuple[str, ...], value: Any) -> Record:
    """A record with one value changed, sealed as anybody can, under the key of its spec."""
    body = json.loads(record.dumps())
    part = body
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    del body["digest"]
    body["key"] = content_key(body["spec"])
    return Record(**body, digest=_seal(body))


@pytest.mark.parametrize("value", WIDE)
@pytest.mark.parametrize(
    "path",
    [("info", "chance"), ("info", "noise_rate"), ("info", "test_size"), ("spec", "ratio"),
     ("spec", "seed"), ("spec", "method", "params", "x"), ("spec", "recipe", "epochs"),
     ("ledger", "trained"), ("metrics", "test_accuracy"), ("timing", "train_s"),
     ("environment", "threads"), ("info", "deep")],
)  # fmt: skip
def test_numbers_beyond_64_bits_are_refused_at_reading(path: tuple[str, ...], value: int) -> None:
    record = forged(RECORDS[0], path, {"a": [value]} if path == ("info", "deep") else value)
    with pytest.raises(RecordError, match=r"64 bits|wrong type"):
        parse(record.dumps())


def test_digits_in_text_are_no_numbers() -> None:
    record = forged(RECORDS[0], ("info", "label_digest"), "1" * 64)
    assert parse(record.dumps()).info["label_digest"] == "1" * 64
    assert parse(forged(RECORDS[0], ("info", "n"), 2**63 - 1).dumps()).info["n"] == 2**63 - 1


@pytest.fixture(params=["folder", "bundle"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Good records, one with a huge number and one with a share that is none."""
    bad = [forged(GOOD[0], ("info", "chance"), HUGE),
           forged(GOOD[1], ("info", "noise_rate"), 7)]  # fmt: skip
    if request.param == "bundle":
        (path := tmp_path / "b.jsonl.gz").write_bytes(pack([*bad, *GOOD[2:]]))
        return path
    store = Store.open(tmp_path / "r")
    for record in (*bad, *GOOD[2:]):
        (store.records / f"{record.key}.json").write_text(record.dumps() + "\n")
    return store.root


def test_one_bad_record_does_not_hold_up_a_board(source: Path, tmp_path: Path) -> None:
    faults: list[InputError] = []
    assert gather([source], faults=faults) == sorted(GOOD[2:], key=lambda record: record.key)
    assert len(faults) == 2
    with pytest.raises(InputError, match=r"2 such records"):
        load_records(source)
    said = prunebench("leaderboard", source, "--out", tmp_path / "board")
    assert said.code == 1
    assert (tmp_path / "board" / "leaderboard.html").is_file()
    lines = [line for line in said.err.splitlines() if line.startswith("warning: left out: ")]
    assert len(lines) == 2
    assert any("64 bits" in line and (GOOD[0].key in line or "line " in line) for line in lines)
    assert any(f"record {GOOD[1].key}: noise_rate: 7" in line for line in lines)
    said = prunebench("compare", "infobatch", "random", source)
    assert said.code == 1
    assert "infobatch" in said.out
    found = prunebench("audit", source, "--json")
    assert found.code == 1
    assert [f["what"] for f in found.json][:2] == ["unreadable", "unreadable"]
    assert prunebench("leaderboard", "merge", source, "--out", tmp_path / "all").code == 2


def test_a_publication_holds_the_good_records(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "publication"
    assert prunebench("leaderboard", source, "--no-figures", "--publish", folder).code == 1
    assert len(unpack(folder / "records.jsonl.gz")) == len(GOOD) - 2
    assert prunebench("leaderboard", folder / "records.jsonl.gz", "--out", tmp_path / "x").code == 0


def _numbers(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _numbers(item, (*path, name))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


@pytest.mark.parametrize("value", [1e308, -1e308, 2**63 - 1, -(2**63), 5e-324, 7])
def test_any_number_of_a_record_may_be_anything_and_the_board_stands(value: float) -> None:
    """Each number in turn: the record is refused by name, or the board is rendered."""
    few = GOOD
    tried = [path for path in _numbers(json.loads(few[0].dumps())) if path != ("schema",)]
    assert len(tried) > 40
    with bounded(300):
        for path in tried:
            _try(few, path, value)


def _try(few: list[Record], path: tuple[str, ...], value: float) -> None:
    with suppress(InputError):
        record = parse(forged(few[0], path, value).dumps())
        audit([record])
        check_shape(record)
        few = [record, *few[1:]]
    try:
        texts(make_board(few))
    except InputError as told:  # one table holds one value; a fault of one record stops nothing
        if not re.search(r" mixed in |of key \w+ differ", told.what):
            raise
