"""Data sets with reference samples of their own: runs, the encoder, and the mark of a leak."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.bench.train import self_supervised, task
from prunebench.bench.train.self_supervised import Encoder
from prunebench.bench.train.step import run_to_end
from prunebench.datasets.source import RawData, register_dataset
from prunebench.datasets.sources.digits import Digits
from prunebench.datasets.sources.synthetic import Synthetic
from prunebench.errors import InputError
from prunebench.record import Record
from prunebench.registry import DATASETS
from prunebench.rng import Streams
from support.cells import small_cell

REFERENCE = 40


class Apart(Synthetic):
    """Synthetic images whose last training images are reference samples."""

    leaks = False

    def load(self) -> RawData:
        raw = super().load()
        n = len(raw.train_y)
        return replace(raw, reference_rows=torch.arange(n - REFERENCE, n), leaks=self.leaks)


class Leaking(Apart):
    """The same, taken from the test split."""

    leaks = True


class Missing(Synthetic):
    """Reads a file that is not there."""

    def identity(self) -> str:
        return Path("/no/such/file").read_text()


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register_dataset("apart")(Apart)
    register_dataset("missing")(Missing)
    register_dataset("leaking")(Leaking)
    yield
    DATASETS.forget(__name__)


def run(tmp_path: Any, dataset: str, method: str, ratio: float = 0.3, **fields: Any) -> Record:
    cell = resolve_cell(
        dataset=dataset, noise="symmetric:0.4", method=method, ratio=ratio, recipe="digits",
        dataset_params={"n": 240, "test": 60, "classes": 4, "superclasses": 2, "size": 8},
        recipe_params={"epochs": 3, "batch_size": 32}, **fields,
    )  # fmt: skip
    store = Store.open(tmp_path / "out")
    record = run_cell(cell, store)[0]
    assert record.status in ("done", "diverged"), record.reason
    return record


def test_training_stays_whole(tmp_path) -> None:
    record = run(tmp_path, "apart", "infobatch+align")
    assert (record.info["train_size"], record.info["reference_size"]) == (200, REFERENCE)
    assert "reference_leaks" not in record.info
    assert record.ledger["reference_forward"] == REFERENCE * record.ledger["epochs"]
    assert record.info["noise_rate"] == 0.4
    joined = run(tmp_path, "apart", "full+reference", 0.0)
    assert joined.ledger["trained"] == 3 * 200  # the budget is that of the training split


def test_a_reference_from_the_test_split_is_recorded(tmp_path) -> None:
    assert run(tmp_path, "leaking", "infobatch+align").info["reference_leaks"] is True
    assert run(tmp_path, "leaking", "full+reference", 0.0).info["reference_leaks"] is True
    assert "reference_leaks" not in run(tmp_path, "leaking", "infobatch").info
    guessed = run(tmp_path, "leaking", "infobatch+align", params={"align.reference": "train"})
    assert "reference_leaks" not in guessed.info


def test_the_encoder_never_trains_on_reference_samples(monkeypatch) -> None:
    raw = Apart(n=240, test=60, classes=4, superclasses=2, size=8).load()
    seen: set[int] = set()
    draw = self_supervised.strong_draws

    def spy(inputs: Any, rows: torch.Tensor, stream: Any) -> torch.Tensor:
        seen.update(rows.tolist())
        return draw(inputs, rows, stream)

    monkeypatch.setattr(self_supervised, "strong_draws", spy)
    recipe = resolve_cell(dataset="digits", recipe_params={"epochs": 2}).spec.recipe
    encoder = Encoder(raw, recipe, Streams(0, "d", "n"), torch.device("cpu"))
    run_to_end(encoder.steps())
    assert len(run_to_end(encoder.embed())) == 240
    assert encoder.trained == 2 * 2 * 200
    assert max(seen) < 200


def test_what_the_clean_labels_are_may_be_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load = Digits.load
    monkeypatch.setattr(Digits, "load", lambda self: replace(load(self), clean_known=False))
    monkeypatch.setattr(task, "_raw", OrderedDict())
    store = Store.open(tmp_path / "r")
    plain, _ = run_cell(small_cell("random-dynamic"), store)
    assert plain.status == "done"
    assert "noise_rate" not in plain.info
    assert plain.metrics["kept_noise_rate"] is None
    oracle, _ = run_cell(small_cell("oracle-clean"), store)
    assert (oracle.status, oracle.reason) == ("skipped", "the clean labels of digits are not known")


def test_an_identity_that_cannot_be_read_is_one_line() -> None:
    with pytest.raises(InputError, match=r"/no/such/file: cannot be read \(No such file"):
        resolve_cell(dataset="missing", noise="clean", method="full", recipe="digits")
