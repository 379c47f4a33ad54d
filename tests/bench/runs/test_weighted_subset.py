"""A static method's weights reach the loss, the artifacts, the exports and a loop of one's own."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from prunebench.api.pruning import Pruning
from prunebench.api.results import load_results
from prunebench.api.selection import Selection, select
from prunebench.bench.runs.export import export_csv, ids_file
from prunebench.errors import InputError
from prunebench.methods.base import StaticPruner, Subset, register_method
from prunebench.methods.keep_k import WEIGHTED
from prunebench.methods.precomputed_ids import read_ids
from prunebench.registry import METHODS
from support.card_cells import captured_equals_launched


def by_position(positions):
    """Weights 0, 1, 2, 0, ... by position."""
    return (positions % 3).float()


class Weighted(StaticPruner):
    """A uniform subset, last position first, with weights."""

    options = {"weighted": WEIGHTED}

    def keep(self, evidence, k, rng):
        kept = rng.sample(len(evidence.labels), k).sort(descending=True).values
        return Subset(kept, weights=by_position(kept))


class Even(Weighted):
    """The same with weights that are all 7."""

    def keep(self, evidence, k, rng):
        subset = super().keep(evidence, k, rng)
        return replace(subset, weights=torch.full((k,), 7.0))


@pytest.fixture(autouse=True)
def methods(monkeypatch):
    METHODS.load()
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    register_method("weighted-sample")(Weighted)
    register_method("even-sample")(Even)


def samples_of(record, store):
    with np.load(io.BytesIO(store.artifact(record.key, "samples.npz"))) as arrays:
        return dict(arrays)


def test_weights_train_and_are_recorded(run):
    record, store = run("weighted-sample")
    assert record.status == "done", record.reason
    plain, _ = run("weighted-sample", params={"weighted": False})
    assert plain.ledger == record.ledger
    assert plain.metrics["final_train_loss"] != record.metrics["final_train_loss"]
    samples, other = samples_of(record, store), samples_of(plain, store)
    assert np.array_equal(samples["kept"], other["kept"])
    assert "kept_weight" not in other
    position = {sample: place for place, sample in enumerate(samples["id"].tolist())}
    places = torch.tensor([position[sample] for sample in samples["kept"].tolist()])
    assert samples["kept_weight"].dtype == np.float32
    assert samples["kept_weight"].tolist() == by_position(places).tolist()
    rows = list(csv.DictReader(io.StringIO(export_csv(store, record.key, "kept"))))
    assert [float(row["weight"]) for row in rows] == samples["kept_weight"].tolist()
    text = export_csv(store, record.key, "kept")
    assert json.loads(ids_file(text, "a.json"))["indices"] == samples["kept"].tolist()
    found = load_results(store.root).run(record.key)
    assert dict(zip(found.kept.tolist(), found.kept_weights.tolist(), strict=True)) == dict(
        zip(samples["kept"].tolist(), samples["kept_weight"].tolist(), strict=True)
    )
    assert load_results(store.root).run(plain.key).kept_weights is None


def test_weights_that_are_all_alike_change_no_bit(run):
    even, store = run("even-sample")
    plain, _ = run("even-sample", params={"weighted": False})
    assert even.metrics == plain.metrics
    assert store.artifact(even.key, "epochs.csv") == store.artifact(plain.key, "epochs.csv")


def test_weights_train_on_a_card(tmp_path):
    captured_equals_launched(tmp_path, method="weighted-sample")


def test_a_selection_carries_its_weights_into_a_loop(tmp_path):
    x, y = torch.randn(60, 4), torch.arange(60) % 3
    found = select((x.numpy(), y.numpy()), method="weighted-sample", ratio=0.5, out=tmp_path / "r",
                   recipe={"epochs": 1}, mlflow=False, quiet=True)  # fmt: skip
    assert isinstance(found, Selection)
    assert found.weights.tolist() == by_position(torch.from_numpy(found.indices)).tolist()
    found.to_csv(tmp_path / "kept.csv")
    assert (tmp_path / "kept.csv").read_text().splitlines()[0] == "id,weight"
    assert read_ids(tmp_path / "kept.csv", 60).tolist() == found.indices.tolist()
    data = TensorDataset(x, y)
    mean_one = found.weights / found.weights.mean()
    back = slice(None, None, -1)
    shuffled = replace(
        found, indices=found.indices[back].copy(), weights=found.weights[back].copy()
    )
    for method in (found, shuffled):
        pruning = Pruning(data, method, epochs=2, budget="epochs")
        pruning.begin_epoch()
        assert sorted(pruning.sampler) == found.indices.tolist()
        losses = torch.arange(30, dtype=torch.float32)
        got = pruning.loss(losses, torch.from_numpy(found.indices.copy()))
        assert got == pytest.approx(float((losses * torch.from_numpy(mean_one)).mean()))
    with pytest.raises(InputError, match="weights of shape"):
        Pruning(data, replace(found, weights=found.weights[:-1]), epochs=1)


def test_a_named_method_weighs_a_loop_of_ones_own():
    data = TensorDataset(torch.randn(60, 4), torch.arange(60) % 3)
    pruning = Pruning(data, "weighted-sample", epochs=2, ratio=0.5, budget="epochs")
    pruning.begin_epoch()
    sample = torch.tensor(sorted(pruning.sampler))
    weights = by_position(sample)
    got = pruning.loss(torch.ones(30), sample)
    assert got == pytest.approx(1.0)
    assert pruning.pruner.weights.sort().values == pytest.approx(
        (weights / weights.mean()).sort().values
    )
