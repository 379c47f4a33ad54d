"""Whole runs of RS2, RCAP, OrderDP and of the uniform batch: charges, captured steps, resume."""

from __future__ import annotations

import pytest
import torch

from prunebench.bench.estimates.timed_epoch import _Selecting
from prunebench.bench.runs import checkpoint
from prunebench.bench.train.capture import pool
from prunebench.bench.train.capture.pool import CapturedStepPool
from prunebench.methods.random_batch import RandomBatch
from support.captures import launched
from support.runs import Hooks, make, same

torch.set_num_threads(1)
RECIPE = {"epochs": 3, "eval_every": 0, "model": "mlp", "model_params": {"width": 8}}


@pytest.fixture(autouse=True)
def _own_captures():
    before = pool.use(CapturedStepPool())
    yield
    pool.use(before)


def test_a_uniform_part_of_each_batch_costs_no_scoring_pass_and_is_captured():
    replayed, eager = (
        form("random-batch", ratio=0.6, recipe_params=RECIPE) for form in (make, launched)
    )
    replayed.fit()
    eager.fit()
    assert replayed.not_captured_because == ""
    assert replayed.captured_step.capture.replays > 0
    assert same(replayed, eager)
    divbs = make("divbs", graph="off", ratio=0.6, recipe_params=RECIPE)
    divbs.fit()
    ledger = replayed.ledger
    assert ledger.scoring_forward == 0 < divbs.ledger.scoring_forward
    assert ledger.trained == ledger.target == divbs.ledger.trained
    assert ledger.steps == divbs.ledger.steps
    visits = replayed.sample_tables.seen
    assert visits.float().var() > 0


def test_a_timed_epoch_has_no_scoring_pass_either():
    assert not _Selecting(None, RandomBatch()).scoring_pass


@pytest.mark.parametrize("method", ["rs2", "rcap", "orderdp", "random-batch"])
def test_ratio_0_is_full_training(method):
    runs = [make(name, graph="off", ratio=0.0, recipe_params=RECIPE) for name in (method, "full")]
    for run in runs:
        run.fit()
    one, two = (run.model.state_dict() for run in runs)
    assert all(torch.equal(one[name], two[name]) for name in two)


class Stop(Exception):
    pass


@pytest.mark.parametrize("method", ["rs2", "rcap", "orderdp", "random-batch"])
def test_a_resumed_run_plans_what_an_unbroken_one_plans(method, tmp_path):
    def save(run):
        if run.epoch == 2:
            checkpoint.save(run, tmp_path, "k")
            raise Stop

    def made(*hooks):
        return make(method, graph="off", ratio=0.6, callbacks=hooks, recipe_params=RECIPE)

    whole, resumed = made(), made()
    whole.fit()
    with pytest.raises(Stop):
        made(Hooks(epoch_end=save)).fit()
    assert checkpoint.restore(resumed, tmp_path, "k")
    resumed.fit()
    assert same(whole, resumed)
    assert whole.ledger.trained == whole.ledger.target
    if method == "rs2":
        least, most = whole.sample_tables.seen.aminmax()
        assert most - least <= 1
