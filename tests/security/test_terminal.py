"""What files hold reaches a terminal spelled out, whatever the verb."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.grids.progress import Progress
from prunebench.bench.results.store import Store
from prunebench.errors import spelled
from prunebench.leaderboard.bundle import unpack
from prunebench.record import Record
from prunebench.terminal import SafeStream, guard_output, terminal
from support.command import Said, prunebench

_BUNDLE = Path(__file__).parents[2] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"
RECORD = replace(unpack(_BUNDLE)[0], artifacts={})
#: A title, a cleared screen, a bell, C1 controls, text turned around, a line of one's own making.
EVIL = "a\x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj.exe\u2066\rok\u2028\x0b\x0c\x85 b"
LINE = f"{EVIL}\nprunebench: all is well"
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e"
                       r"\u2066-\u2069]")  # fmt: skip


def test_every_sign_that_moves_something_is_spelled_out() -> None:
    for code in range(0x3000):
        text = spelled(f"a{chr(code)}b", keep="\n\t")
        assert not _STEERING.search(text), hex(code)
    assert spelled("Größe 模型 naïve\u00a0x") == "Größe 模型 naïve\u00a0x"
    assert spelled(LINE).count("\n") == 0
    assert "\\x1b]0;owned\\x07" in spelled(LINE)


def test_a_guarded_stream_is_a_text_stream() -> None:
    out = io.StringIO()
    stream = SafeStream(out)
    print("one\ttwo", EVIL, file=stream, flush=True)
    stream.writelines(["x\x1b", "y"])
    assert not _STEERING.search(out.getvalue())
    assert out.getvalue().startswith("one\ttwo a\\x1b]0;")
    assert terminal(stream) is out
    assert not stream.isatty()
    with pytest.raises(TypeError):
        stream.write(b"x")  # type: ignore[arg-type]


def test_guarding_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", None)
    guard_output()
    guard_output()
    assert terminal(sys.stdout) is out
    assert sys.stderr is None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of a stranger: text that steers in every place that takes text."""
    store = Store.open(tmp_path / "r")
    spec = json.loads(json.dumps(RECORD.spec))
    done = replace(RECORD, metrics={**RECORD.metrics, LINE: 0.5}, reason=LINE,
                   info={**RECORD.info, "cautions": [LINE], "subset": {LINE: LINE}},
                   environment={**RECORD.environment, "host": LINE})  # fmt: skip
    _plant(store, done)
    from prunebench.record import content_key

    for number, status in enumerate(("failed", "killed", "skipped", "diverged"), start=1):
        other = {**spec, "seed": 70 + number}
        _plant(store, replace(done, spec=other, key=content_key(other), status=status))
    (store.records / f"{EVIL}.json").write_text("x")
    (store.records / "line\nbreak.json").write_text("x")
    return store.root


def _plant(store: Store, record: Record) -> None:
    """As a stranger would: sealed by hand, text as it is."""
    body = record.body()
    from prunebench.record import _seal

    sealed = Record(**body, digest=_seal(body))
    (store.records / f"{record.key}.json").write_text(sealed.dumps() + "\n")


VERBS: list[Callable[[Path], tuple[Any, ...]]] = [
    lambda root: ("status", root),
    lambda root: ("status", root, "--verify"),
    lambda root: ("audit", root),
    lambda root: ("leaderboard", root),
    lambda root: ("compare", "full", "random", root),
    lambda root: ("reproduce", root),
    lambda root: ("export", RECORD.key, root, "--what", "epochs"),
    lambda root: ("tune", "--report", "s\x1b", "--out", root),
    lambda root: ("status", root / EVIL),
    lambda root: ("grid", root / EVIL),
]


def quiet(said: Said) -> None:
    for text in (said.out, said.err):
        found = _STEERING.search(text)
        assert found is None, text[max(0, found.start() - 80) : found.end() + 20]
        assert "\nprunebench: all is well" not in text


@pytest.mark.parametrize("number", range(len(VERBS)))
def test_no_verb_sends_what_a_record_holds(
    number: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    said = prunebench(*VERBS[number](root))
    quiet(said)
    assert "Traceback" not in said.err


def test_bad_names_are_still_told(root: Path) -> None:
    said = prunebench("status", root)
    assert said.code == 1
    assert "\\x1b]0;owned" in said.out.replace("\n", "")
    assert "line\\nbreak" in said.out
    assert json.loads(prunebench("status", root, "--json").out)["problems"]


def test_artifacts_are_exported_spelled_out_to_a_terminal_and_as_they_are_to_a_file(
    tmp_path: Path,
) -> None:
    store = Store.open(tmp_path / "r")
    record = store.save(RECORD, {"epochs.csv": f"epoch,{EVIL}\n1,2\n".encode()})
    words = ("export", record.key, store.root, "--what", "epochs")
    said = prunebench(*words)
    assert said.code == 0, said.err
    quiet(said)
    assert "a\\x1b]0;owned" in said.out


def test_a_repeat_tells_its_differences_spelled_out(tmp_path: Path) -> None:
    root = tmp_path / "r"
    words = ("run", "--dataset", "synthetic", "--dataset-param", "n=180", "--recipe-param",
             "epochs=1", "--no-mlflow", "-q", "--out", root)  # fmt: skip
    assert prunebench(*words).code == 0
    store = Store(root)
    (record,) = store.scan().records
    _plant(store, replace(record, metrics={**record.metrics, LINE: 0.5}))
    said = prunebench("rerun", record.key, root, "-q")
    assert said.code == 1
    assert "DIFFERENT" in said.out
    quiet(said)
    quiet(prunebench(*words))


def test_progress_spells_names_out() -> None:
    out = io.StringIO()
    progress = Progress([], 1, mode="plain", stream=out)
    progress._print(EVIL)
    assert not _STEERING.search(out.getvalue())
