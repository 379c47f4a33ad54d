"""Protocol files and pinned files of tuned options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.grids.pinned import read_pinned
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.bundle import unpack
from prunebench.leaderboard.protocol_file import ProtocolFile, read_protocol
from prunebench.record import canonical, content_key
from support.cells import small_cell
from support.fuzzing import EDGES, HOSTILE, answer, changed, damaged, fuzz

_BUNDLE = Path(__file__).parents[2] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"
RECORDS = [r for r in unpack(_BUNDLE) if r.spec["method"]["name"] in ("full", "infobatch")
           and r.spec["criterion"]["name"] == "ce"]  # fmt: skip

PROTOCOL = """name = "mine"
version = 2
alpha = 0.05
margin = 0.5
rope = 0.5
reference = "full"
diverged = "value"
rows = "complete"
planned = [["infobatch+align", "infobatch"]]
method = ["infobatch", "random"]
noise = ["symmetric:0.4"]
ratio = [0.5]
seed = [0, 1, 2]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to spoil files in."""
    return tmp_path_factory.mktemp("protocol")


def _check(path: Path, whole: bool) -> None:
    settings, _ = answer(lambda: read_protocol(path))
    if settings is None:
        return
    assert ProtocolFile.model_validate(settings.model_dump(mode="json")) == settings
    assert 0 < settings.alpha < 0.5
    assert len(settings.digest) == 16
    if whole:
        board, _ = answer(lambda: build(RECORDS, settings))
        if board is not None and settings.seed is not None:
            seeds = {s for t in board.tables for slots in t.runs.values() for _, s in slots}
            assert seeds <= set(settings.seed)


@fuzz(200)
@given(data=st.data())
def test_damaged_protocols(place: Path, data: st.DataObject) -> None:
    path = place / "p.toml"
    path.write_bytes(data.draw(damaged(PROTOCOL.encode())))
    _check(path, data.draw(st.integers(0, 7)) == 0)


@fuzz(200)
@given(data=st.data())
def test_nearly_right_protocols(place: Path, data: st.DataObject) -> None:
    lines = PROTOCOL.splitlines()
    for _ in range(data.draw(st.integers(1, 2))):
        number = data.draw(st.integers(0, len(lines) - 1))
        name = lines[number].partition(" =")[0]
        value = data.draw(st.sampled_from((*HOSTILE, *EDGES, True, [], [[]], {}, "nan", "inf")))
        text = json.dumps(value).replace("\\ud83d\\ude00", "\\U0001F600")
        text = value if value in ("nan", "inf") else text
        lines[number] = f"{name} = {text if data.draw(st.booleans()) else f'[{text}]'}"
    path = place / "n.toml"
    path.write_text("\n".join(lines))
    _check(path, data.draw(st.integers(0, 7)) == 0)


@pytest.mark.parametrize("text", ["a = " + "[" * 9999, "version = " + "9" * 5000,
                                  "seed = [" + "[" * 90 + "]" * 91])  # fmt: skip
def test_tricks_with_protocols(place: Path, text: str) -> None:
    (place / "t.toml").write_text(text)
    assert answer(lambda: read_protocol(place / "t.toml"))[0] is None


_SPEC = small_cell("infobatch").spec.content
BODY: dict[str, Any] = {
    "schema": 1,
    "study": "s",
    "method": {"name": "infobatch", "version": _SPEC["method"]["version"]},
    "dataset": _SPEC["dataset"],
    "criterion": _SPEC["criterion"],
    "params": {"r": 0.4, "delta": 0.9},
    "metric": "validation_accuracy",
    "validation": {"size": 100, "labels": "noisy"},
    "seeds": {"trials": [1_000_000, 1_000_001], "final": [2_000_000]},
    "records": [],
}
GRID = """name = "g"
dataset = "digits"
method = ["infobatch", "infobatch+align"]
ratio = 0.5
tuned = "pinned.json"
"""


def _tuned(place: Path, text: str, transfer: bool) -> int:
    """Cells of a grid with the pinned file in it; tuned ones say so."""
    (place / "pinned.json").write_text(text)
    (place / "g.toml").write_text(GRID + f"transfer = {str(transfer).lower()}\n")
    answer(lambda: read_pinned(place / "pinned.json"))
    cells, _ = answer(lambda: expand(*read_grid(place / "g.toml")))
    for cell in cells or []:
        again = RunSpec.model_validate(json.loads(canonical(cell.spec.content)))
        assert again.key == cell.spec.key
        assert again.tuned is None or again.seed not in again.tuned.seeds
    return sum(cell.spec.tuned is not None for cell in cells or [])


def test_the_right_file_is_taken(place: Path) -> None:
    assert _tuned(place, json.dumps({**BODY, "hash": content_key(BODY)}), False) == 1


@fuzz(200)
@given(data=st.data())
def test_pinned_files(place: Path, data: st.DataObject) -> None:
    body = data.draw(changed(BODY))
    try:  # an attacker can compute the hash
        text = json.dumps({**body, "hash": content_key(body)})
    except (ValueError, RecursionError, TypeError):
        return
    _tuned(place, text, data.draw(st.booleans()))


@fuzz(150)
@given(data=st.data())
def test_damaged_pinned_files(place: Path, data: st.DataObject) -> None:
    good = json.dumps({**BODY, "hash": content_key(BODY)})
    spoiled = data.draw(damaged(good.encode()))
    (place / "pinned.json").write_bytes(spoiled)
    pinned, _ = answer(lambda: read_pinned(place / "pinned.json"))
    assert pinned is None or canonical(dict(pinned.body)) == canonical(BODY)
