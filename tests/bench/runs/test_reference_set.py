"""Reference sets of every kind: what they hold, and what they are charged."""

import pytest
import torch

from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.runs.reference_set import resolve_reference
from prunebench.bench.train.task import load_task, streams_of
from prunebench.errors import InputError
from support.cells import small_cell


def resolved(**params):
    cell = small_cell("infobatch+align")
    task, streams = load_task(cell.spec, cell.data), streams_of(cell.spec)
    given = {f"align.{name}": value for name, value in params.items()}
    return task, resolve_reference(task, given, streams, None, 2)


def test_clean_reference_is_held_out_and_nested_in_size():
    task, whole = resolved()
    assert not torch.isin(whole.sample_ids, task.train.sample_ids).any()
    assert torch.equal(whole.labels, task.raw.train_y[whole.sample_ids])
    _, small = resolved(reference_size=10)
    _, larger = resolved(reference_size=30)
    assert len(small) == 10
    assert torch.isin(small.sample_ids, larger.sample_ids).all()
    with pytest.raises(InputError, match="reference_size"):
        resolved(reference_size=5000)


def test_train_reference_carries_noisy_labels():
    task, part = resolved(reference="train", reference_size=400)
    assert torch.isin(part.sample_ids, task.train.sample_ids).all()
    wrong = (part.labels != task.raw.train_y[part.sample_ids]).double().mean()
    assert float(wrong) == pytest.approx(0.4, abs=0.08)


@pytest.mark.parametrize("impurity", [0.1, 0.5, 1.0])
def test_impurity_is_exact_and_always_wrong(impurity):
    _, pure = resolved()
    _, impure = resolved(impurity=impurity)
    assert torch.equal(pure.sample_ids, impure.sample_ids)
    wrong = int((pure.labels != impure.labels).sum())
    assert wrong == round(impurity * len(pure))
    assert 0 <= int(impure.labels.min()) <= int(impure.labels.max()) < 10


@pytest.mark.parametrize("kind", ["small-loss", "moderate"])
def test_pseudo_clean_references_come_from_the_shared_run(run, kind):
    params = {"align.reference": kind, "align.reference_size": 60}
    record, _ = run("infobatch+align", params=params)
    assert record.status == "done", record.reason
    assert record.info["clean_labels_used"] == ""
    assert record.ledger["proxy_trained"] == 2 * record.ledger["num_samples"]
    assert record.ledger["reference_forward"] == 60 * record.ledger["epochs"]
    planned = plan_jobs([small_cell("infobatch+align", params=params), small_cell("margin")])
    assert len(planned.shared) == 1


def test_reference_at_the_start_of_an_epoch_is_measured_before_training(run):
    params = {"align.reference_at": "epoch_start"}
    end, end_store = run("infobatch+align", "a")
    start, start_store = run("infobatch+align", "b", params=params)
    last = end_store.artifact(end.key, "epochs.csv").decode().splitlines()
    first = start_store.artifact(start.key, "epochs.csv").decode().splitlines()
    column = last[0].split(",").index("reference_loss")
    after, before = float(last[1].split(",")[column]), float(first[1].split(",")[column])
    assert before == pytest.approx(2.3, abs=0.5)  # log 10: nothing is learned yet
    assert after < before
