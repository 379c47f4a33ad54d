"""Ratios that nobody gave, budgets that leave nothing, networks that no machine can hold."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.networks.build import build_model
from prunebench.bench.results.store import Store
from prunebench.bench.runs.resolve import build_spec
from prunebench.bench.spec.recipes import get_recipe
from prunebench.errors import InputError
from prunebench.rng import Streams
from support.command import prunebench, refused

HEAD = 'name = "g"\ndataset = "digits"\nrecipe_params = { epochs = 1 }\n'


def cells(folder: Path, text: str) -> list[tuple[str, float]]:
    """Method and ratio of each cell of a grid."""
    path = folder / "g.toml"
    path.write_text(HEAD + text)
    return [(c.spec.method.name, c.spec.ratio) for c in expand(*read_grid(path))]


@pytest.mark.parametrize("budget", ["samples", "paper"])
@pytest.mark.parametrize(
    "method", ["random", "random-dynamic", "dual", "divbs", "infobatch", "ies+align", "short-full"]
)
def test_a_forgotten_ratio_is_refused(tmp_path: Path, method: str, budget: str) -> None:
    with pytest.raises(InputError, match=f"g.toml: ratio: method '.*{method[:3]}.*' needs a ratio"):
        cells(tmp_path, f'method = ["full", "{method}"]\nbudget = "{budget}"\n')
    said = prunebench("run", "--method", method, "--budget", budget, "--no-mlflow",
                      "--out", tmp_path / "r")  # fmt: skip
    refused(said, f"run: ratio: method '{method}' needs a ratio", "0 to train on everything")
    assert not (tmp_path / "r").exists()


def test_what_needs_no_ratio_is_free(tmp_path: Path) -> None:
    assert cells(tmp_path, 'method = ["full", "full+reference"]\n') == [
        ("full", 0.0), ("full+reference", 0.0)]  # fmt: skip
    own = 'method = ["infobatch", "ies", "seta+align"]\nbudget = "epochs"\n'
    assert len(cells(tmp_path, own)) == 3
    with pytest.raises(InputError, match="'random' needs a ratio"):
        cells(tmp_path, 'method = "random"\nbudget = "epochs"\n')
    assert cells(tmp_path, 'method = ["full", "random"]\nratio = 0\n') == [
        ("full", 0.0), ("random", 0.0)]  # fmt: skip
    assert cells(tmp_path, 'ratio = 0.5\nmethod = "random"\n[[block]]\nmethod = "full"\n') == [
        ("full", 0.0)]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--method", "random"), "leaves 0 of 1253 samples"),
        (("--method", "small-loss", "--budget", "epochs"), "leaves 0 of 1253 samples"),
        (("--method", "random-dynamic"), "leaves 0 of 1253 samples in 1 epochs"),
        (("--method", "infobatch+align"), "in 1 epochs"),
        (("--method", "short-full"), "in 1 epochs"),
    ],
)
def test_a_run_with_nothing_to_train_is_refused(
    tmp_path: Path, words: tuple[str, ...], part: str
) -> None:
    said = prunebench("run", "--dataset", "digits", "--recipe-param", "epochs=1", *words, "--ratio",
                      "0.9999", "--no-mlflow", "-q", "--out", tmp_path / "r")  # fmt: skip
    refused(said, "nothing left to train: ratio 0.9999", part)
    assert not (tmp_path / "r").exists()


def test_a_grid_skips_what_has_nothing_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")
    path = tmp_path / "g.toml"
    path.write_text(HEAD + 'method = ["random", "infobatch"]\nratio = [0.5, 0.9999]\n')
    said = prunebench("grid", path, "-w", "1", "--no-mlflow", "-q", "--out", tmp_path / "r")
    assert said.code == 0
    found = {
        (r.spec["method"]["name"], r.spec["ratio"]): r for r in Store(tmp_path / "r").scan().records
    }
    assert {key: r.status for key, r in found.items()} == {
        ("random", 0.5): "done", ("random", 0.9999): "skipped",
        ("infobatch", 0.5): "done", ("infobatch", 0.9999): "skipped",
    }  # fmt: skip
    assert "nothing left to train" in found["random", 0.9999].reason


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("cnn", {"width": 10**8}),
        ("cnn", {"width": 10**6}),
        ("cnn", {"depth": 60}),
        ("cnn", {"depth": 10**6}),
        ("mlp", {"width": 10**5, "depth": 4}),
        ("mlp", {"depth": 10**7}),
        ("resnet18", {"width": 20_000}),
    ],
)
def test_a_network_beyond_any_machine_takes_no_memory(model: str, params: dict[str, int]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def attempt() -> None:
        spec = build_spec(dataset="digits", recipe_params={"model": model, "model_params": params})
        build_model(spec.recipe, (1, 8, 8), 10, Streams(0, "d", "n").get("init"))

    with pytest.raises(InputError, match=r"parameters|accepted: 1,?0"):
        attempt()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_counting_draws_nothing() -> None:
    """The same initial weights as before networks were counted first."""
    recipe, stream = get_recipe("digits"), Streams(0, "d", "n").get("init")
    from prunebench.bench.networks import build

    first = build_model(recipe, (1, 8, 8), 10, stream).state_dict()
    build._sized.clear()
    again = build_model(recipe, (1, 8, 8), 10, stream).state_dict()
    assert all(bool((first[name] == again[name]).all()) for name in first)
