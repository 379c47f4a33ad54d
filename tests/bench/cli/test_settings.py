"""Imbalance and corruption on every verb: the words that go in, and the names that come out."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import prunebench as api
from prunebench.bench.estimates.summary import summarise
from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.results.store import Store
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.tuning.design import make_design
from prunebench.bench.tuning.study import study_name
from prunebench.datasets.imbalance import Imbalance
from prunebench.errors import InputError
from support.command import prunebench

GRID = """
name = "settings"
dataset = "digits"
method = ["full", "random"]
ratio = 0.5
seed = "0..1"
recipe_params = { epochs = 1 }
"""
AXES = """
imbalance = ["none", "exp:20"]
corrupt = ["none", "gaussian-noise:0.3"]
corrupt_params = { severity = 5 }
"""
Made = tuple[Path, dict[str, Any]]
NAMES = [
    "clean", "clean + exp:20", "clean + exp:20 + gaussian-noise:0.3 severity 5",
    "clean + gaussian-noise:0.3 severity 5",
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Results of the grid, and what its dry run said before."""
    folder = tmp_path_factory.mktemp("settings")
    toml, out = folder / "g.toml", folder / "r"
    toml.write_text(GRID + AXES)
    cells = expand(*read_grid(toml))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNEBENCH_INLINE", "1")
        dry = summarise(cells, out, ExecutionOptions(), None, lambda kinds, options, n: ({}, 0.0))
        said = prunebench("grid", toml, "--out", out, "-w", "1", "--no-mlflow", "--json")
    assert said.code == 0, said.err
    return out, dry


def test_cells_are_the_product_and_the_dry_run_counts_their_samples(
    made: Made,
) -> None:
    out, dry = made
    records = Store(out).scan().records
    assert len(records) == dry["cells"] == 2 * 2 * 2 * 2
    assert dry["trained samples are exact"] is True
    assert dry["samples"]["trained"] == sum(r.ledger["trained"] for r in records)
    sizes = {r.spec["seed"]: r.info["train_size"] for r in records if "imbalance" in r.spec}
    for record in records:
        if "imbalance" not in record.spec:
            assert "class_sizes" not in record.info
            continue
        found = record.info["class_sizes"]
        assert found == Imbalance("exp", 20).sizes(found[0], 10)
        assert (found[0], found[-1]) == (
            record.info["largest_class"], record.info["smallest_class"]
        )  # fmt: skip
        assert sum(found) == record.info["train_size"] == sizes[record.spec["seed"]]


def test_settings_that_differ_in_the_new_axes_share_their_labels(made: Made) -> None:
    digests: dict[object, set[str]] = {}
    for record in Store(made[0]).scan().records:
        slot = record.spec["seed"], "imbalance" in record.spec
        digests.setdefault(slot, set()).add(record.info["label_digest"])
    assert all(len(found) == 1 for found in digests.values())
    assert len(digests) == 4


def test_columns_are_settings_in_order_and_the_board_says_what_they_are(
    made: Made, tmp_path: Path
) -> None:
    assert prunebench("leaderboard", made[0], "--out", tmp_path / "b").code == 0
    values = json.loads((tmp_path / "b" / "leaderboard.json").read_text())
    assert values["tables"][0]["noises"] == NAMES
    text = (tmp_path / "b" / "leaderboard.md").read_text()
    assert "| method | " + " | ".join(NAMES) in re.sub(" +", " ", text)
    assert "Settings: columns name the label noise and, after +," in text
    page = (tmp_path / "b" / "leaderboard.html").read_text()
    assert "Settings: columns name the label noise" in page
    assert NAMES[2] in page
    shown = prunebench("list", made[0]).out
    assert "setting" in shown
    usual = prunebench("leaderboard", made[0], "--imbalance", "none", "--corrupt", "none",
                       "--out", tmp_path / "u")  # fmt: skip
    assert "Settings:" not in usual.out
    assert "noise" in prunebench("list", made[0], "--imbalance", "none", "--corrupt", "none").out
    compared = re.sub(" +", " ", prunebench("compare", "random", "full", made[0]).out)
    assert "| setting | ratio |" in compared
    assert prunebench("audit", made[0]).code == 0


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--imbalance", "exp:20"), 8),
        (("--imbalance", "none", "--corrupt", "none"), 4),
        (("--imbalance", "none", "--imbalance", "exp:20"), 16),
        (("--corrupt", "gaussian-noise:0.3"), 8),
        (("--corrupt", "gaussian-noise:0.3 severity 5"), 8),
        (("--noise", "clean"), 16),
        (("--noise", NAMES[1]), 4),
    ],
)
def test_filters_pick_settings(made: Made, words: tuple[str, ...], count: int) -> None:
    assert len(prunebench("list", made[0], *words, "--json").json) == count
    said = prunebench("leaderboard", made[0], *words, "--out", "b")
    assert f"Records: {count} used" in said.out


def test_a_run_says_the_words_that_repeat_it(made: Made) -> None:
    words = ("--method", "random", "--seed", "0", "--noise", NAMES[2])
    said = prunebench("rerun", made[0], *words, "--json")
    assert said.code == 0, said.err
    assert said.json["identical"]
    again = shlex.split(said.json["command"])[1:]
    assert "--imbalance exp:20 --corrupt gaussian-noise:0.3" in said.json["command"]
    repeated = prunebench(*again, "--out", made[0], "--no-mlflow", "--json")
    assert repeated.json["key"] == said.json["key"]
    assert len(Store(made[0]).scan().records) == 16


def test_frames_hold_settings_and_their_parts(made: Made) -> None:
    frame = api.load_results(made[0]).records
    assert sorted(set(frame.noise)) == sorted(NAMES)
    assert set(frame.imbalance) == {"none", "exp:20"}
    assert set(frame.corrupt) == {"none", "gaussian-noise:0.3"}
    record = api.run(imbalance="exp:20", method="random", ratio=0.5, out=made[0], mlflow=False,
                     recipe={"epochs": 1}).record  # fmt: skip
    assert record.key in set(frame.key)
    assert api.grid(
        {"dataset": "digits", "method": "random", "ratio": 0.5, "imbalance": "exp:20",
         "recipe_params": {"epochs": 1}}, out=made[0], mlflow=False, workers=1,
    ).records.shape == frame.shape  # fmt: skip


def test_frames_of_results_without_the_axes_stay(tmp_path: Path) -> None:
    api.run(out=tmp_path, mlflow=False, recipe={"epochs": 1})
    assert not {"imbalance", "corrupt"} & set(api.load_results(tmp_path).records.columns)


def test_a_choice_of_samples_takes_the_axes(tmp_path: Path) -> None:
    found = api.select("digits", method="random", ratio=0.5, imbalance="exp:20", out=tmp_path,
                       recipe={"epochs": 1}, mlflow=False)  # fmt: skip
    assert len(found) < 250


def test_a_study_is_named_by_its_setting() -> None:
    design = make_design(dataset="digits", method="infobatch", ratio=0.5, imbalance="exp:5",
                         corrupt="jpeg:0.2", params={}, recipe_params={"epochs": 1})  # fmt: skip
    assert study_name(design) == "digits-clean-exp-5-jpeg-0.2-infobatch-0.5"
    assert design.content["spec"]["imbalance"] == {"name": "exp:5"}
    assert design.base.spec.imbalance is not None


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("imbalance = 50", "imbalance.0: 50 is not accepted"),
        ("imbalance = true", "imbalance.0: true is not accepted"),
        ("imbalance = []", "imbalance: [] is not accepted"),
        ('imbalance = ["none", "epx:50"]', "imbalance: unknown imbalance 'epx'"),
        ('imbalance = "exp:0.5"', "ratio 0.5 is out of range; accepted: a number from 1"),
        ('imbalance = "exp"', "'exp' lacks its ratio"),
        ('imbalnce = "exp:3"', "unknown field 'imbalnce'; accepted: imbalance"),
        ('corrupt = "gausian-noise:0.3"', "unknown corruption 'gausian-noise'"),
        ('corrupt = "jpeg:1.3"', "share 1.3 is out of range"),
        ("corrupt = 0.3", "corrupt.0: 0.3 is not accepted"),
        ("corrupt_params = { severity = 2 }", "corrupt_params: options without a corruption"),
        ('corrupt = "jpeg:1"\ncorrupt_params = { severity = "3" }', "severity: '3' is not"),
        ('corrupt = "jpeg:1"\ncorrupt_params = { severity = true }', "severity: true is not"),
        ('corrupt = "jpeg:1"\ncorrupt_params = { severity = 3.5 }', "severity: 3.5 is not"),
        ('corrupt = "jpeg:1"\ncorrupt_params = { severity = 6 }', "accepted: 1, 2, 3, 4 or 5"),
        ('corrupt = "jpeg:1"\ncorrupt_params = { strength = 2 }', "unknown field 'strength'"),
    ],
)
def test_bad_grids_are_one_clear_line_with_the_file(lines: str, said: str) -> None:
    Path("bad.toml").write_text(GRID + lines)
    found = prunebench("grid", "bad.toml", "--out", "made", "--no-mlflow")
    assert found.code == 2
    assert found.err.startswith("prunebench: bad.toml: ")
    assert said in found.err
    assert found.err.count("\n") == 1
    assert not Path("made").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--imbalance", "exp:5000"), "would be empty"),
        (("--imbalance", "50"), "unknown imbalance '50'"),
        (("--corrupt", "jpeg:0.2", "--corrupt-param", "severity=9"), "9 is not accepted"),
        (("--corrupt-param", "severity=2"), "options without a corruption"),
    ],
)
def test_bad_runs_are_refused_before_they_make_anything(words: tuple[str, ...], said: str) -> None:
    found = prunebench("run", *words, "--out", "made", "--no-mlflow")
    assert found.code == 2
    assert said in found.err
    assert found.err.count("\n") == 1
    assert not Path("made").exists()


def test_vectors_are_not_corrupted(tmp_path: Path) -> None:
    vectors = [[float(n), 1.0] for n in range(40)]
    data = api.task((vectors, [0, 1] * 20), (vectors, [0, 1] * 20))
    with pytest.raises(InputError, match="no images"):
        api.run(data, corrupt="jpeg:0.2", out=tmp_path / "r", mlflow=False)
