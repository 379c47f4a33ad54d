"""Values on the command line are read by the type of their option; small things beside."""

from __future__ import annotations

import re

import pytest

from prunebench.bench.cli.options import parse_all_params
from prunebench.bench.estimates import summary
from prunebench.bench.executors.base import Event, Job, Outcome
from prunebench.bench.grids.progress import Tally
from prunebench.bench.runs.resolve import build_spec
from prunebench.methods.compose import list_methods
from support.command import prunebench, refused
from support.small_grid import key_of


def read(
    field: str, pair: str, dataset: str = "folder:x", method: str = "infobatch+align"
) -> object:
    """One value as `run` reads it."""
    values = {"dataset": "folder:x", "method": "infobatch+align", "params": (), "recipe_params": (),
              "dataset_params": (), "corrupt_params": (), "noise_params": ()}  # fmt: skip
    values[field] = (pair,)
    parse_all_params(values)
    (value,) = values[field].values()
    return value


@pytest.mark.parametrize(
    ("field", "pair", "value"),
    [
        ("recipe_params", "augment=none", "none"),
        ("recipe_params", 'augment="none"', "none"),
        ("recipe_params", "weights=none", None),
        ("recipe_params", "model=123", "123"),
        ("recipe_params", "warmup=none", None),
        ("recipe_params", "epochs=3", 3),
        ("recipe_params", "nesterov=true", True),
        ("recipe_params", "milestones=[0.5]", [0.5]),
        ("recipe_params", 'model_params={"width": 4}', {"width": 4}),
        ("dataset_params", "augment=none", "none"),
        ("dataset_params", "path=2024", "2024"),
        ("dataset_params", "limit=none", None),
        ("dataset_params", "limit=20", 20),
        ("params", "align.warmup=none", "none"),
        ("params", "r=0.5", 0.5),
        ("params", "unknown=none", None),
    ],
)
def test_a_value_has_the_type_of_its_option(field, pair, value):
    found = read(field, pair)
    assert found == value
    assert type(found) is type(value)


def test_what_lists_none_takes_it():
    """All the way to a specification."""
    said = prunebench("run", "--recipe-param", "augment=none", "--recipe-param", "epochs=1",
                      "--json", "--no-mlflow", "--out", "r")  # fmt: skip
    assert said.code == 0, said.err
    assert said.json["spec"]["recipe"]["augment"] == "none"


def test_help_of_leaderboard_shows_its_options():
    said = prunebench("leaderboard", "--help")
    assert said.code == 0
    for word in ("--publish", "--protocol", "--figures", "--from-mlflow", "RESULTS", "merge"):
        assert word in said.out
    assert "Usage: prunebench leaderboard [OPTIONS]" in said.out
    assert said.out.endswith("merge  Copy several folders into one.\n")
    refused(prunebench("leaderboard"), "RESULTS")
    merge = prunebench("leaderboard", "merge", "--help")
    assert "--publish" not in merge.out
    for words in ((), ("data",)):
        said = prunebench(*words)
        assert said.code == 2
        assert "Usage: " in said.err
        assert said.err.count("\n") > 5


def test_few_classes_have_super_classes_of_their_own():
    for classes in (2, 4, 5, 6):
        spec = build_spec(dataset="synthetic", dataset_params={"classes": classes})
        assert spec.dataset.params["superclasses"] == min(5, classes)
    said = prunebench("run", "--dataset", "synthetic", "--dataset-param", "classes=4",
                      "--dataset-param", "n=100", "--dataset-param", "test=20", "--json",
                      "--recipe-param", "epochs=1", "--no-mlflow", "--out", "r")  # fmt: skip
    assert said.code == 0, said.err
    said = prunebench("run", "--dataset", "synthetic", "--dataset-param", "classes=4",
                      "--dataset-param", "superclasses=5", "--no-mlflow", "--out", "q")  # fmt: skip
    refused(said, "5 super-classes for 4 classes", "1 to 4")


def test_a_dry_run_names_no_method_that_is_not_there():
    """What is counted for every batch-level method is not called after one of them."""
    names = {info.name for info in list_methods()}
    words = {word for text in summary._PURPOSES.values() for word in re.findall(r"[\w-]+", text)}
    assert "divbs" in names
    assert len(words) > 10
    assert not names & words


def test_counts_of_a_resumed_grid_agree(whole, copied):
    """What was recorded before is in no count of what runs now, though its job is there."""
    for path in (copied / "records").glob(f"{key_of(copied, 'small-loss')}.json"):
        path.unlink()
    said = prunebench("grid", whole[0], "--out", copied, "-w", "1", "--no-mlflow")
    assert said.code == 0, said.err
    assert "1/1 cells" in said.err, said.err
    shown = dict(line.rsplit(maxsplit=1) for line in said.out.splitlines())
    assert (shown["cells"], shown["recorded before"], shown["done"]) == ("6", "5", "1")
    jobs = [Job("a", {}), Job("b", {}, after=("a",))]
    tally = Tally(jobs, 1, recorded={"a"})
    for key in ("a", "b"):
        tally(Event("finished", key, 0, outcome=Outcome(key, "done")))
    assert tally.line() == "1/1 cells"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("run --ratio half", "--ratio: 'half' is not accepted; accepted: a number"),
        ("run --seed 1.5", "--seed: '1.5' is not accepted; accepted: a whole number"),
        ("run --threads a",
         "--threads: 'a' is not accepted; accepted: a whole number from 1 to 256"),
        ("run -w 0", "--workers: 0 is not accepted; accepted: a whole number from 1 to 1024"),
        ("run --checkpoint-s -1",
         "--checkpoint-s: -1.0 is not accepted; accepted: a number, 0 or more"),
        ("run --time-limit 0", "--time-limit: 0.0 is not accepted; accepted: a number above 0"),
        ("run --budget sample",
         "--budget: 'sample' is not accepted; accepted: samples, paper, epochs"),
        ("run --rato 0.5", "run: unknown option '--rato'; accepted: --ratio"),
        ("export --zq x", "export: unknown option '--zq'; accepted: --budget, "),
        ("run extra", "run: 'extra' is too much; accepted: [OPTIONS]"),
        ("compare a", "compare: B is missing; accepted: [OPTIONS] A B RESULTS..."),
        ("leaderboard merge x",
         "leaderboard merge: --out is missing; accepted: [OPTIONS] RESULTS..."),
        ("data verfy", "data: unknown command 'verfy'; accepted: verify, pack, prepare"),
    ],
)  # fmt: skip
def test_what_click_refuses_has_the_form_of_other_lines(words, line):
    refused(prunebench(*words.split()), f"prunebench: {line}")
