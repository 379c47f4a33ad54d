"""Own data, own network, runs, grids and boards from Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from api.own_loop import network
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from prunebench.api.own_data import task
from prunebench.api.own_model import OwnModel, adapted
from prunebench.api.results import Figure, leaderboard, load_results
from prunebench.api.runs import grid, run
from prunebench.api.selection import select
from prunebench.errors import InputError
from support.command import prunebench

DICE = np.random.default_rng(0)
Y = np.arange(240) % 3
X = DICE.normal(size=(240, 6)) + 4 * np.eye(6)[Y]
SHORT = {"epochs": 3, "batch_size": 32}
QUIET: dict[str, Any] = {"quiet": True, "mlflow": False}

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_arrays.py"


def test_the_short_script_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 25


@pytest.mark.soak
def test_a_short_script_compares_methods_on_own_data_and_network(tmp_path: Path) -> None:
    said = subprocess.run([sys.executable, EXAMPLE], cwd=tmp_path, capture_output=True,
                          text=True, check=False, timeout=300)  # fmt: skip
    assert said.returncode == 0, said.stderr
    found = load_results(tmp_path / "results" / "mine").records
    assert said.stdout.strip() == leaderboard(tmp_path / "results" / "mine").markdown.strip()
    assert found.groupby("method").size().to_dict() == dict.fromkeys(
        ("full", "random", "infobatch", "infobatch+align"), 3
    )


@pytest.mark.soak
def test_the_example_with_embeddings_runs_as_written(tmp_path: Path) -> None:
    script = EXAMPLE.with_name("embeddings_grid.py")
    said = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True,
                          text=True, check=False, timeout=300)  # fmt: skip
    assert said.returncode == 0, said.stderr
    found = load_results(tmp_path / "results" / "embeddings").records
    assert found.groupby("method").size().to_dict() == dict.fromkeys(
        ("full", "random", "el2n", "moderate", "infobatch"), 6
    )


def test_keys_and_records_are_those_of_the_command(tmp_path: Path) -> None:
    mine = run("digits", noise="symmetric:0.4", method="infobatch", ratio=0.5, seed=1,
               recipe=SHORT, out=tmp_path / "a", **QUIET)  # fmt: skip
    said = prunebench(
        "run", "--noise", "symmetric:0.4", "--method", "infobatch", "--ratio", "0.5", "--seed", "1",
        "--recipe-param", "epochs=3", "--recipe-param", "batch_size=32", "--out", tmp_path / "b",
        "--no-mlflow", "--json", "--quiet",
    )  # fmt: skip
    theirs = json.loads(said.out)
    assert (mine.key, mine.record.metrics) == (theirs["key"], theirs["metrics"])
    assert list(mine.epochs["epoch"]) == list(range(len(mine.epochs)))
    assert set(mine.visits["epochs"]) <= set(range(len(mine.epochs) + 1))
    assert len(mine.predictions) == 450
    with pytest.raises(InputError, match="leaves no kept"):
        _ = mine.kept


def test_own_arrays_train_in_worker_processes_with_an_imported_network(tmp_path: Path) -> None:
    data = task((X, Y), (X[:60], Y[:60]), noisy_labels=np.where(np.arange(240) % 5, Y, (Y + 1) % 3),
                name="mine")  # fmt: skip
    fields = {"dataset": data, "noise": "real", "method": ["full", "small-loss"],
              "ratio": 0.5, "seed": 0, "recipe_params": SHORT}  # fmt: skip
    found = grid(fields, model=network, out=tmp_path / "r", workers=2, **QUIET)
    assert set(found.records["status"]) == {"done"}
    assert set(found.records["method"]) == {"full", "small-loss"}
    again = grid(fields, model=network, out=tmp_path / "r", workers=1, **QUIET)
    assert list(again.records["key"]) == list(found.records["key"])
    kept = [run_.kept for run_ in map(found.run, found.records["key"])
            if run_.record.spec["method"]["name"] == "small-loss"]  # fmt: skip
    assert all(len(ids) == len(set(ids)) for ids in kept)
    assert set(found.epochs()["key"]) == set(found.records["key"])
    board = leaderboard(found)
    assert "small-loss" in board.markdown
    assert {"method", "accuracy"} <= set(board.to_frame().columns)
    assert board._repr_html_().startswith("<iframe srcdoc=")
    assert leaderboard(tmp_path / "r").markdown == board.markdown
    order = found.records[["dataset", "noise", "ratio", "method", "seed"]]
    assert order.equals(order.sort_values(list(order), ignore_index=True))


def test_a_figure_is_drawn_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"dataset": "digits", "method": ["full", "random"], "ratio": 0.5}
    fields["recipe_params"] = {"epochs": 1}
    board = leaderboard(grid(fields, out=tmp_path, workers=1, **QUIET))
    drawn: list[tuple[str, str]] = []

    def picture(found: Any, form: str) -> bytes:
        drawn.append((found.stem, form))
        return b"<svg/>"

    monkeypatch.setattr("prunebench.leaderboard.figures.all_figures.picture", picture)
    for kind in ("wins", "wins-digits.svg"):
        assert board.figure(kind).name == "wins-digits.svg"
    assert drawn == [("wins-digits", "svg")] * 2
    with pytest.raises(InputError, match=r"no figure 'pie'.*wins-digits"):
        board.figure("pie")


def test_what_a_notebook_prints_of_them_is_one_short_line(tmp_path: Path) -> None:
    data = task((X, Y), (X[:60], Y[:60]), name="mine")
    fields = {"dataset": data, "method": "full", "recipe_params": SHORT}
    found = grid(fields, out=tmp_path, workers=1, **QUIET)
    kept = select((X, Y), method="small-loss", out=tmp_path, recipe=SHORT, **QUIET)
    figure = Figure("wins-digits.svg", "<svg/>")
    for thing in (data, found, leaderboard(found), figure, kept, found.run(found.all[0].key)):
        assert len(repr(thing)) < 120, repr(thing)
    assert repr(data) == "<OwnData mine: X float64 [240, 6], y int64 [240], " \
                         "X_test float64 [60, 6], y_test int64 [60]>"  # fmt: skip


class Pictures(Dataset[Any]):
    def __init__(self, count: int, kind: str) -> None:
        self.count, self.kind = count, kind

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Any:
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        if self.kind == "floats":
            return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, number % 2
        if self.kind == "image":
            from PIL import Image

            return Image.fromarray(pixels), number % 2
        return pixels, number % 2


def test_every_form_of_images_gives_the_same_file() -> None:
    forms = [task(Pictures(10, kind), Pictures(4, kind)) for kind in ("array", "image")]
    x = np.stack([Pictures(10, "array")[n][0] for n in range(10)])
    forms.append(task((x, np.arange(10) % 2), (x[:4], np.arange(4) % 2)))
    assert len({form.digest for form in forms}) == 1
    floats = task(Pictures(10, "floats"), Pictures(4, "floats"))
    assert np.array_equal(floats.arrays["X"], x.transpose(0, 3, 1, 2))


class Failing(Pictures):
    def __getitem__(self, number: int) -> Any:
        if number == 3:
            raise OSError("no such file")
        return super().__getitem__(number)


class Shrinking(Pictures):
    def __getitem__(self, number: int) -> Any:
        self.count = 9
        return super().__getitem__(number)


class Ragged(Pictures):
    def __getitem__(self, number: int) -> Any:
        pixels, label = super().__getitem__(number)
        return pixels[: 7 if number == 3 else 8], label


class Unlabelled(Pictures):
    def __getitem__(self, number: int) -> Any:
        return super().__getitem__(number)[0]


class Counted(IterableDataset[Any]):
    """A stream that knows its length."""

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Any:
        return iter(())


class Named(Pictures):
    """Whose classes have names, as those of torchvision and of Hugging Face."""

    def __init__(self, classes: list[str]) -> None:
        super().__init__(10, "array")
        self.classes = classes


def test_the_classes_of_the_test_set_have_the_names_and_the_order_of_the_training_set() -> None:
    task(Named(["cat", "dog"]), Named(["cat", "dog"]))
    with pytest.raises(InputError, match=r"test: its classes are dog, cat; .*train: cat, dog"):
        task(Named(["cat", "dog"]), Named(["dog", "cat"]))


TEST = (X[:60], Y[:60])
GOOD = (X, Y), TEST
HOLED = np.where(np.arange(60)[:, None] == 7, np.nan, X[:60])


@pytest.mark.parametrize(
    ("train", "test", "fields", "words"),
    [
        (Failing(10, "array"), Pictures(4, "array"), {}, "sample 3 cannot be read"),
        (Shrinking(10, "array"), Pictures(4, "array"), {}, "its length was 10 and is 9"),
        (TensorDataset(torch.randn(6, 3, 8, 8), torch.arange(6) % 2), Pictures(4, "array"), {},
         "not k/255"),
        ((X, Y * 1.5), (X[:60], Y[:60]), {}, "float64"),
        ((X, Y), (X[:60], Y[:60] + 1), {}, "3 at sample 2"),
        ((np.full_like(X, np.nan), Y), (X[:60], Y[:60]), {}, "not finite"),
        (*GOOD, {"noisy_labels": Y[:10]}, "human"),
        (None, TEST, {}, "train: NoneType has no samples by number"),
        ((X, Y), None, {}, "test: NoneType has no samples by number"),
        (Counted(), TEST, {}, "train: Counted has no samples by number"),
        (Ragged(10, "array"), Pictures(4, "array"), {}, "sample 3 has the shape (7, 8, 3)"),
        (Unlabelled(10, "array"), Pictures(4, "array"), {}, "sample 0: a ndarray alone"),
        ((X[:, 0], Y), TEST, {}, "X: float64 of shape (240,)"),
        ((X, Y[:, None]), TEST, {}, "y: int64 of shape (240, 1)"),
        ((X, Y[:10]), TEST, {}, "y: 10 labels; accepted: 240"),
        ((X, Y - 1), TEST, {}, "y: -1 at sample 0"),
        ((X, Y), (X[:60, :5], Y[:60]), {}, "X_test: samples of shape (5,)"),
        ((X, Y), (HOLED, Y[:60]), {}, "X_test: sample 7 holds a number that is not finite"),
        (*GOOD, {"reference": (HOLED, Y[:60])}, "X_reference: sample 7"),
        (*GOOD, {"reference": (X[:60], Y[:60] + 1)}, "y_reference: 3 at sample 2"),
        (*GOOD, {"labels": Y * 1.0}, "y: float64"),
        (*GOOD, {"num_classes": 0}, "num_classes: 0"),
        (*GOOD, {"num_classes": 2}, "2 at sample 2"),
        (*GOOD, {"groups": [0]}, "super-class"),
        (*GOOD, {"name": "../x"}, "name"),
        (iter([(1, 2)]), (X[:60], Y[:60]), {}, "no samples by number"),
    ],
)  # fmt: skip
def test_bad_data_are_one_line(train: Any, test: Any, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        task(train, test, **fields)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.logits, self.other = nn.Linear(6, 3), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits(x)


@pytest.mark.parametrize(
    ("net", "head", "words"),
    [
        (nn.ReLU(), None, "no linear layer"),
        (nn.Linear(7, 3), "fc", "no linear layer 'fc'"),
        (nn.Sequential(nn.Linear(7, 3)), None, "cannot read samples of shape (6,)"),
        (nn.Sequential(nn.Linear(6, 4)), None, "gives (2, 4) for 2 samples"),
        (nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)), None, "does not end in its linear layer"),
        (TwoHeads(), None, "does not end in its linear layer 'other'"),
        (7, None, "returned a int"),
    ],
)
def test_bad_networks_are_one_line(net: Any, head: str | None, words: str) -> None:
    with pytest.raises(InputError) as caught:
        adapted(net, (6,), 3, head)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_head_that_is_named_is_taken() -> None:
    net: Any = adapted(TwoHeads(), (6,), 3, "logits")
    x = torch.randn(4, 6)
    assert torch.equal(net.features(x), x)
    assert net(x).shape == (4, 3)


def test_a_network_that_others_cannot_import_is_refused_for_workers(tmp_path: Path) -> None:
    data = task((X, Y), (X[:60], Y[:60]))
    fields = {"dataset": data, "method": "full", "seed": "0..1", "recipe_params": SHORT}
    inside = lambda num_classes, in_shape: network(num_classes, in_shape)  # noqa: E731
    with pytest.raises(InputError, match="is a lambda"):
        grid(fields, model=inside, out=tmp_path / "r", workers=2, **QUIET)
    assert not (tmp_path / "r" / "records").exists() or not list(
        (tmp_path / "r" / "records").iterdir()
    )
    found = grid(fields, model=inside, out=tmp_path / "r", **QUIET)
    assert len(found) == 2
    assert OwnModel(network).name != OwnModel(inside).name


def test_unknown_fields_name_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown field 'spede'"):
        run("digits", spede=1, out=tmp_path)
    with pytest.raises(InputError, match="unknown field 'spede'"):
        grid("demo", spede=1, out=tmp_path)
    with pytest.raises(InputError, match="metod"):
        grid({"dataset": "digits", "metod": "full"}, out=tmp_path)
    with pytest.raises(InputError, match="no results"):
        load_results(tmp_path / "none")
