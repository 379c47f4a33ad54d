"""What a run with corrupted images records of them, and that other runs record nothing."""

import csv
import io
from contextlib import suppress
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from prunebench.bench.runs.evidence import RecordedEvidence
from prunebench.bench.runs.export import export_csv
from prunebench.bench.train.metrics import CORRUPTED, auroc
from prunebench.bench.train.task import load_task
from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.task import RawData, Task
from prunebench.rng import Stream
from support.cells import small_cell
from support.runs import trainer_of

CORRUPT = {"corrupt": "occlusion:0.3"}


def samples(record, store):
    with np.load(store.artifact_path(record.key, "samples.npz"), allow_pickle=False) as found:
        return dict(found)


def epochs(record, store):
    return pd.read_csv(io.BytesIO(store.artifact(record.key, "epochs.csv")))


def test_a_static_run_counts_the_corrupted_among_the_kept(run):
    record, store = run("small-loss", **CORRUPT)
    held, made = samples(record, store), load_task(small_cell("small-loss", **CORRUPT).spec, {})
    mask = held["corrupted"]
    assert np.array_equal(mask, made.corrupted.numpy())
    assert mask.sum() == int(0.3 * len(mask) + 0.5)
    assert record.info["corrupted_rate"] == round(mask.mean(), 6)
    metrics, visits = record.metrics, held["visits"]
    rate = visits[mask].sum() / visits.sum()
    assert rate == pytest.approx(mask[np.isin(held["id"], held["kept"])].mean(), abs=0.01)
    assert metrics["kept_corrupted_rate"] == pytest.approx(rate)
    assert metrics["kept_corrupted_weight"] == pytest.approx(rate)
    expected = auroc(torch.from_numpy(held["score"]), torch.from_numpy(mask))
    assert metrics["score_auroc_corrupted"] == pytest.approx(expected)
    assert metrics["kept_noise_rate"] != metrics["kept_corrupted_rate"]
    table = list(csv.DictReader(io.StringIO(export_csv(store, record.key, "training"))))
    assert [row["id"] for row in table if row["corrupted"] == "1"] == [
        str(i) for i in held["id"][mask]
    ]
    seen = list(csv.DictReader(io.StringIO(export_csv(store, record.key, "visits"))))
    assert [row["corrupted"] == "1" for row in seen] == mask.tolist()


def test_a_dynamic_run_counts_them_epoch_by_epoch_by_samples_and_weight(run):
    record, store = run("infobatch", **CORRUPT)
    held, table = samples(record, store), epochs(record, store)
    visits, mask = held["visits"], held["corrupted"]
    rate = visits[mask].sum() / visits.sum()
    assert record.metrics["kept_corrupted_rate"] == pytest.approx(rate)
    trained = table["trained"]
    mean = (table["kept_corrupted_rate"] * trained).sum() / trained.sum()
    assert mean == pytest.approx(rate)
    assert record.metrics["kept_corrupted_weight"] != pytest.approx(rate, rel=1e-6)
    assert table["kept_corrupted_weight"].notna().all()
    assert table["score_auroc_corrupted"].notna().any()


def test_reference_samples_that_are_trained_are_not_corrupted(run):
    record, store = run("full+reference", **CORRUPT)
    held, size = samples(record, store), record.info["reference_size"]
    own = record.info["train_size"]
    mask, visits = held["corrupted"], held["visits"]
    assert len(mask) == own + size
    assert mask.sum() == int(0.3 * own + 0.5)
    assert record.metrics["kept_corrupted_rate"] == pytest.approx(visits[mask].sum() / visits.sum())


def test_runs_without_corruption_record_what_they_did(run):
    record, store = run("infobatch")
    assert not set(CORRUPTED) & record.metrics.keys()
    assert "corrupted_rate" not in record.info
    assert "corrupted" not in samples(record, store)
    assert not set(CORRUPTED) & set(epochs(record, store))
    assert "corrupted" not in export_csv(store, record.key, "training").splitlines()[0]
    changed, _ = run("infobatch", **CORRUPT)
    assert changed.info["label_digest"] == record.info["label_digest"]
    assert changed.key != record.key
    assert changed.metrics["test_accuracy"] != record.metrics["test_accuracy"]


def _reachable(found, seen):
    """Everything that the public attributes of an object lead to."""
    if id(found) in seen or isinstance(found, (str, int, float, type)):
        return
    seen[id(found)] = found
    inner = []
    if isinstance(found, dict):
        inner = [*found.values()]
    elif isinstance(found, (list, tuple, set, frozenset)):
        inner = [*found]
    elif type(found).__module__.startswith("prunebench"):
        for name in dir(found):
            if not name.startswith("_"):
                with suppress(KeyError, PermissionError, TypeError):  # not recorded, not for it
                    inner.append(getattr(found, name))
    for value in inner:
        if not callable(value):
            _reachable(value, seen)


class Looks:
    """What a method is given, as it is given to it."""

    def __init__(self):
        self.given = {}

    def wrap(self, pruner):
        for name in ("begin", "prepare", "plan", "select", "keep"):
            if hasattr(pruner, name):
                setattr(pruner, name, partial(self._noted, getattr(pruner, name)))
        return pruner

    def _noted(self, method, *args):
        for value in args:
            _reachable(value, self.given)
        return method(*args)


@pytest.mark.parametrize("method", ["infobatch+align", "divbs", "small-loss"])
def test_no_method_can_reach_the_mask_or_pixels(method, run):
    looks, cell = Looks(), small_cell(method, **CORRUPT)
    task = load_task(cell.spec, cell.data)
    if method == "small-loss":
        _, store = run(method, **CORRUPT)
        folder = next(store.root.joinpath("evidence").iterdir())
        looks.wrap(cell.pruner()).keep(RecordedEvidence(task, 6, 2, [folder]), 100, Stream(0))
    else:
        trainer_of(cell, wrap=looks.wrap).fit()
    tensors = [value for value in looks.given.values() if isinstance(value, torch.Tensor)]
    assert any(torch.equal(value, task.train.labels) for value in tensors)
    assert not any(isinstance(v, (Task, RawData, ImageFiles)) for v in looks.given.values())
    for value in tensors:
        assert value.dtype != torch.uint8
        assert value.shape != task.corrupted.shape or not torch.equal(
            value.double(), task.corrupted.double()
        )
