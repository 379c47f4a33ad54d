"""How far a network has fitted the training labels: which samples are looked at, and what is
reported of them."""

import csv
import io

import pytest
import torch

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.train.label_fit import COLUMNS, LabelFit
from prunebench.bench.train.task import load_task, streams_of
from support.cells import small_cell
from support.runs import trainer_of

ASKED = {"label_fit": 40, "epochs": 4, "eval_every": 2}


def looked_at(cell, most=40):
    task = load_task(cell.spec, cell.data)
    return task, LabelFit.of(task, most, streams_of(cell.spec).get("label-fit"))


def logits_for(labels, classes=10):
    return torch.nn.functional.one_hot(labels, classes).float()


def shares(fit, logits):
    return {name: figure.get() for name, figure in fit.figures(logits).items()}


def test_the_shares_are_of_wrong_and_right_labels():
    task, fit = looked_at(small_cell(noise="symmetric:0.4"), most=30)
    place = {int(sample): at for at, sample in enumerate(task.train.sample_ids)}
    at = torch.tensor([place[int(sample)] for sample in fit.sample_ids])
    assert len(at) == 60
    assert task.flipped[at].tolist() == [True] * 30 + [False] * 30
    given, clean = task.train.labels[at], task.clean_labels[at]
    assert shares(fit, logits_for(given)) == dict(zip(COLUMNS, (1.0, 0.0, 1.0), strict=True))
    assert shares(fit, logits_for(clean)) == dict(zip(COLUMNS, (0.0, 1.0, 1.0), strict=True))
    mixed = given.clone()
    mixed[:15], mixed[30:36] = clean[:15], (given[30:36] + 1) % 10
    assert shares(fit, logits_for(mixed)) == dict(zip(COLUMNS, (0.5, 0.5, 0.8), strict=True))


def test_without_wrong_labels_the_right_ones_are_looked_at():
    _, fit = looked_at(small_cell(noise="clean"))
    assert set(fit.figures(torch.zeros(40, 10))) == {"right_label_accuracy"}


def test_all_methods_of_a_setting_are_asked_about_the_same_samples():
    base, other = (set(looked_at(small_cell(m))[1].sample_ids.tolist()) for m in ("full", "random"))
    more = looked_at(small_cell("full"), most=60)[1].sample_ids.tolist()
    assert base == other
    assert base < set(more)
    assert base != set(looked_at(small_cell("full", seed=1))[1].sample_ids.tolist())


def test_a_run_reports_them_at_every_evaluation_and_trains_the_same():
    with_, without = (
        trainer_of(small_cell("infobatch", recipe_params={**ASKED, "label_fit": most}))
        for most in (40, 0)
    )
    for trainer in (with_, without):
        trainer.fit()
    assert with_.test_accuracy() == without.test_accuracy()
    rows = [{name: row[name] for name in COLUMNS} for row in with_.epoch_log]
    for row, plain in zip(with_.epoch_log, without.epoch_log, strict=True):
        assert {name: row[name] for name in plain} == plain
        assert (row["test_accuracy"] is None) == (row["wrong_label_accuracy"] is None)
    assert sum(row["right_label_accuracy"] is not None for row in rows) == 1  # of 4, less the end
    seen = with_.ledger.eval_forward - without.ledger.eval_forward
    assert seen == 80 * 1  # the end is looked at by whoever ends the run


def test_the_record_holds_the_end_and_the_table_the_way(tmp_path):
    store = Store.open(tmp_path)
    record, _ = run_cell(small_cell("full", recipe_params=ASKED), store)
    for name in COLUMNS:
        assert 0 <= record.metrics[name] <= 1
    assert sum(record.metrics[name] for name in COLUMNS[:2]) <= 1
    table = csv.DictReader(io.StringIO((store.artifacts / record.key / "epochs.csv").read_text()))
    found = [row["wrong_label_accuracy"] for row in table]
    assert [bool(text) for text in found] == [False, True, False, False]


def test_keys_without_it_stay():
    plain, asked = small_cell("full"), small_cell("full", recipe_params={"label_fit": 40})
    assert "label_fit" not in plain.spec.recipe.model_dump()
    assert plain.spec.key != asked.spec.key


@pytest.mark.cuda
def test_on_a_card_the_host_waits_for_nothing_more():
    cell = small_cell("full", recipe_params=ASKED)
    trainer = trainer_of(cell, device=torch.device("cuda"))
    trainer.fit()
    assert trainer.epoch_log[1]["wrong_label_accuracy"] is not None
