"""Options that pick some of the records, on every verb that reads them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from prunebench.bench.cli.filter_options import filters, flags
from prunebench.bench.results.store import Store
from prunebench.leaderboard.filters import Filters
from support.command import files, prunebench
from support.records import RECIPE, grid, record

CNN = {"recipe": RECIPE | {"name": "other", "model": "cnn", "epochs": 5}}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two recipes in one folder, a budget of its own, and a noise rule that changed."""
    store = Store.open(tmp_path / "r")
    for made in grid(("full", "random", "infobatch"), seeds=(0, 1)):
        store.save(made)
        spec = made.spec
        store.save(record(spec["method"]["name"], spec["noise"]["name"], spec["seed"],
                          spec["ratio"], 0.5 + spec["seed"] / 100, spec=CNN))  # fmt: skip
    return store.root


def test_two_recipes_stand_side_by_side_and_each_alone(results: Path, tmp_path: Path) -> None:
    both = prunebench("leaderboard", results, "--out", tmp_path / "both")
    assert both.code == 0
    assert "## digits, digits-mlp, mlp, ratio 0.5" in both.out
    assert "## digits, other, cnn, ratio 0.5" in both.out
    assert "## digits, digits-mlp mlp and other cnn, ratio 0.5" in both.out
    for number, option in enumerate((("--recipe", "other"), ("--model", "cnn"),
                                     ("--where", "recipe.epochs=5"))):  # fmt: skip
        alone = prunebench("leaderboard", results, *option, "--out", tmp_path / str(number))
        assert alone.code == 0
        assert "## digits, ratio 0.5" in alone.out
        assert f"Only records with {option[0].strip('-')}" in alone.out.replace(
            "recipe.epochs", "where"
        )
    assert prunebench("compare", "random", "infobatch", results).out.count("## ") == 2
    one = prunebench("compare", "random", "infobatch", results, "--model", "mlp")
    assert one.out.count("## ") == 1
    assert prunebench("audit", results).code == 0


def test_a_publication_with_filters_renders_itself_again(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--model", "cnn", "--where", "recipe.epochs=5", "--seed", "0..1", "--no-figures")
    assert prunebench("leaderboard", results, *words, "--publish", tmp_path / "p").code == 0
    before = files(tmp_path / "p")
    line = next(text for text in before["README.md"].decode().splitlines()
                if "prunebench leaderboard records.jsonl.gz" in text)  # fmt: skip
    monkeypatch.chdir(tmp_path / "p")
    assert prunebench(*shlex.split(line.split("`")[1])[1:]).code == 0
    assert files(tmp_path / "p") == before


def test_a_protocol_file_filters_as_the_command_does(results: Path, tmp_path: Path) -> None:
    protocol = tmp_path / "p.toml"
    protocol.write_text('model = ["cnn"]\n[where]\n"recipe.epochs" = 5\n')
    said = prunebench("leaderboard", results, "--protocol", protocol, "--out", tmp_path / "o")
    assert said.code == 0
    assert "## digits, ratio 0.5" in said.out
    wrong = prunebench("leaderboard", results, "--protocol", protocol, "--model", "mlp")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--noise", "symetric:0.4"),
            "no record has noise 'symetric:0.4'; accepted: symmetric:0.4",
        ),
        (("--model", "cn"), "no record has model 'cn'"),
        (("--where", "recipe.epoch=5"), "no record has the field 'recipe.epoch'"),
        (("--where", "epochs"), "'epochs' is no pair"),
        (("--seed", "1..0"), "accepted: a seed, or a range such as 0..4"),
    ],
)
def test_filters_that_fit_nothing_are_refused_in_one_line(
    results: Path, words: tuple[str, ...], said: str
) -> None:
    for verb in ("leaderboard", "audit"):
        refused = prunebench(verb, results, *words)
        assert (refused.code, refused.err.count("\n")) == (2, 1), refused
        assert said in refused.err


def test_a_score_with_its_own_sampler_finds_the_records_of_the_bare_name(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    for method in ("full", "moderate", "aum@strata", "ccs", "el2n"):
        store.save(record(method))

    def found(method: str) -> set[str]:
        said = prunebench("list", store.root, "--method", method)
        assert said.code == 0, said.err
        return set(said.out.split()) & {"moderate", "aum@strata", "ccs", "el2n"}

    assert found("moderate@window") == {"moderate"}
    assert found("aum@strata") == {"aum@strata", "ccs"}
    assert found("ccs") == {"ccs"}
    assert found("el2n@top") == {"el2n"}
    refused = prunebench("list", store.root, "--method", "el2n@topp")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "no record has method 'el2n@topp'" in refused.err


def test_filters_become_the_words_they_came_from() -> None:
    found = Filters.model_validate(
        {"method": ["a b"], "seed": [1, 2], "ratio": [0.5], "where": {"x.y": [1, "z", True]}}
    )
    words = flags(found)
    values: dict[str, list[object]] = {name: [] for name in Filters.model_fields}
    for option, value in zip(words[::2], words[1::2], strict=True):
        values[option.strip("-")].append(float(value) if option == "--ratio" else value)
    again = filters(dict(values))
    assert again.method == ("a b",)
    assert again.seed == (1, 2)
    assert again.ratio == (0.5,)
    assert again.where == {"x.y": ("1", "z", "true")}
