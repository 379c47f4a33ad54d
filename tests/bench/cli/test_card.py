"""``prunebench card``: its steps at a size at which they only show that they run."""

import json
from pathlib import Path

import pytest
import torch

from prunebench.bench.cli import card
from prunebench.bench.results.store import Store
from prunebench.datasets.packfile import write_packed
from prunebench.leaderboard.bundle import unpack
from support.command import prunebench, refused

GRID = """
name = "small"
dataset = "digits"
noise = "symmetric:0.4"
method = ["infobatch", "full"]
ratio = 0.5
seed = "0..1"
recipe_params = { epochs = 1 }
"""


OUTPUT = """collected 3 items
tests/a/test_cuda.py::test_one PASSED                                    [ 33%]
tests/a/test_cuda.py::test_two[a b-1] SKIPPED (no luck)                  [ 66%]
"""
FAILED = "tests/a/test_cuda.py::test_three FAILED   [100%]\n== FAILURES ==\nE FAILED\n"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")
    Path("g.toml").write_text(GRID)


@pytest.fixture
def children(monkeypatch):
    """Stands in for pytest and the benchmark: what they were asked, and how they end."""
    asked, ends, lines = [], {"pytest": 0, "cuda": 0}, [OUTPUT]

    def child(words, seconds, **how):
        asked.append((words, seconds))
        if "pytest" in words:
            how["stdout"].write(lines[0].encode())
        return ends["pytest" if "pytest" in words else "cuda"]

    monkeypatch.setattr(card, "_child", child)
    return asked, ends, lines


def call(*words):
    return prunebench("card", "--out", "c", "--device", "cpu", "--grid", "g.toml", *words)


def records():
    return {record.key for record in Store(Path("c/results")).scan().records}


def test_all_steps_are_stored_and_the_next_call_repeats_none(children):
    asked, *_ = children
    said = call("--minutes", "60")
    assert said.code == 0, said.err
    assert [words[2] for words, _ in asked] == ["pytest", "prunebench.bench.perf.cuda"]
    assert asked[0][1] == pytest.approx(600, abs=60)  # a sixth, then a third of an hour
    assert asked[1][1] == pytest.approx(1440, abs=60)
    lines = said.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    begun = [line.split()[:3] for line in lines if " left" in line]
    assert begun == [["seed", s, m] for s in "01" for m in ("full", "infobatch")]
    assert any(line == "tests   1 passed, 1 skipped" for line in lines)
    assert "cells   4 of 4 recorded" in lines
    assert {r.key for r in unpack(Path("c/records-0.jsonl.gz"))} == records()
    assert len(records()) == 4
    before = {path: path.read_bytes() for path in Path("c/results/records").iterdir()}
    again = call()
    assert again.code == 0
    assert [words[2] for words, _ in asked[2:]] == ["prunebench.bench.perf.cuda"]
    assert "tests   1 passed, 1 skipped\n" in again.out
    assert not [line for line in again.out.splitlines() if line.endswith(" left")]
    assert {path: path.read_bytes() for path in before} == before


def test_a_failure_ends_nothing_and_is_said_first(children):
    _, ends, lines = children
    ends.update(pytest=1, cuda=-11)
    lines[0] += FAILED
    said = call()
    assert said.code == 1
    summary = said.out.partition("\n\n")[2].splitlines()
    assert summary[0] == (
        "FAILED  tests: 1 failed, 1 passed, 1 skipped, pytest ended with 1; see tests.txt"
    )
    assert summary[1].startswith("FAILED  speed: ended with code -11")
    assert "cells   4 of 4 recorded" in summary
    assert json.loads(Path("c/tests.json").read_text())["code"] == 1
    assert call("--only", "tests").code == 1  # kept, and said again


def test_tests_that_the_time_broke_off_go_on_in_the_next_call(children):
    asked, ends, lines = children
    ends["pytest"] = None
    said = call("--only", "tests")
    assert said.code == 1
    assert "FAILED  tests: not all were run in the time" in said.out
    ends["pytest"], lines[0] = 1, FAILED
    said = call("--only", "tests")
    assert [word for word in asked[1][0] if word.startswith("--deselect")] == [
        "--deselect=tests/a/test_cuda.py::test_two[a b-1]",
    ]  # by prefix: test_one would take test_one_more with it
    assert "tests   1 failed, 1 passed, 1 skipped" in said.out
    assert call("--only", "tests").code == 1
    assert len(asked) == 2


def test_tests_of_a_killed_call_are_in_its_log(children, monkeypatch):
    asked, *_ = children
    child = card._child

    def killed(words, seconds, **how):
        child(words, seconds, **how)
        how["stdout"].flush()
        raise KeyboardInterrupt

    monkeypatch.setattr(card, "_child", killed)
    assert call("--only", "tests").code == 1
    monkeypatch.setattr(card, "_child", child)
    assert call("--only", "tests").code == 0
    assert "--deselect=tests/a/test_cuda.py::test_two[a b-1]" in asked[1][0]


def test_no_output_of_pytest_is_a_failure_too(children):
    _, ends, lines = children
    ends["pytest"], lines[0] = 4, "usage error\n"
    said = call("--only", "tests")
    assert said.code == 1
    assert "FAILED  tests: , pytest ended with 4" not in said.out
    assert "pytest ended with 4" in said.out


def test_packed_records_are_enough_to_go_on(children, monkeypatch):
    assert call("--only", "cells").code == 0
    keys = records()
    monkeypatch.setattr(card, "MOST_BYTES", 1500)
    store = Store(Path("c/results"))
    written = card.pack_records(Path("c"), store)
    assert len(written) > 1
    assert all(path.stat().st_size <= 1500 for path in written)
    assert {record.key for path in written for record in unpack(path)} == keys
    Path("c/results").rename("elsewhere")
    monkeypatch.setattr(card, "MOST_BYTES", 16 << 20)
    said = call("--only", "cells")
    assert said.code == 0
    assert "4 records of an earlier call" in said.out
    assert not [line for line in said.out.splitlines() if line.endswith(" left")]
    assert records() == keys
    assert [path.name for path in card._packed(Path("c"))] == ["records-0.jsonl.gz"]


def test_packed_data_take_the_place_of_the_grid_s(children):
    made = torch.Generator().manual_seed(0)
    Path("p").mkdir()
    for split, n in (("train", 60), ("test", 20)):
        images = torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=made)
        labels = torch.arange(n) % 2
        human = {"worst": labels.roll(7)} if split == "train" else {}
        write_packed(Path(f"p/{split}.npz"), images, labels, human=human)
    text = GRID.replace('"digits"', '"cifar10n"').replace("symmetric:0.4", "real:worst")
    Path("g.toml").write_text(text.replace("epochs = 1", 'epochs = 1, model = "cnn"'))
    said = call("--data", "p", "--only", "cells")
    assert said.code == 0, said.err
    found = Store(Path("c/results")).scan().records
    assert {record.spec["dataset"]["name"] for record in found} == {"packed"}
    assert {record.spec["noise"]["name"] for record in found} == {"real:worst"}


def test_data_that_turn_out_bad_are_said_with_what_was_found_before(children):
    Path("p").mkdir()
    for split in ("train", "test"):
        write_packed(Path(f"p/{split}.npz"), iter([b"no image"] * 4), torch.arange(4) % 2)
    said = call("--data", "p")
    assert said.code == 1
    summary = said.out.partition("\n\n")[2].splitlines()
    assert summary[0].startswith("FAILED  cells: ")
    assert "unknown image format" in summary[0]
    assert any(line.startswith("tests   1 passed") for line in summary)


@pytest.mark.parametrize(("words", "line"), [
    (("--grid", "none.toml"), "none.toml"),
    (("--data", "nowhere"), "nowhere"),
    (("--device", "cuda:9"), "no device 'cuda:9' here"),
    (("--lanes", "2"), "--lanes"),
    (("--minutes", "0"), "--minutes"),
    (("--out", "g.toml"), "--out"),
])  # fmt: skip
def test_bad_input_is_one_line_before_anything_is_measured(words, line, children):
    refused(call(*words), line)
    assert children[0] == []
