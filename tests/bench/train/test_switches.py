"""Each switch does what the official loop does, and nothing without it."""

from typing import get_args

import pytest
import torch
from torch import nn

import prunebench.bench.train.trainer as loop
from prunebench.bench.networks.batch_norm import SplitBatchNorm, split_batch_norm
from prunebench.bench.networks.build import build_model
from prunebench.bench.spec.recipe import SWITCHES, Recipe, Switch, schedule_point
from prunebench.bench.spec.recipes import get_recipe
from prunebench.bench.train.budget import Clock
from prunebench.bench.train.schedules import schedule
from prunebench.errors import InputError
from prunebench.rng import Streams
from support.cells import small_cell
from support.runs import trainer_of

EPOCHS, LENGTH, SAMPLES = 200, 391, 50_000


def with_switch(*names, recipe="cifar100n"):
    return get_recipe(recipe).model_copy(update={"compat": names})


def rate_at(recipe, epoch, step, budget):
    """Learning rate of a step of full training, as the loop asks for it."""
    clock = Clock(SAMPLES, EPOCHS, 0.0, budget)
    started, trained = epoch * SAMPLES, epoch * SAMPLES + step * 128
    point = schedule_point(recipe, step, LENGTH, started, trained, SAMPLES)
    return schedule(recipe)(clock.fraction(epoch, *point))[0]


def trainer(switch=(), method="full", criterion="ce", **fields):
    recipe = {"compat": list(switch), **fields.pop("recipe_params", {})}
    return trainer_of(small_cell(method, recipe_params=recipe, criterion=criterion, **fields))


def test_every_switch_is_described():
    assert set(SWITCHES) == set(get_args(Switch))
    assert all(what and source for what, source in SWITCHES.values())


@pytest.mark.parametrize("budget", ["samples", "epochs"])
def test_seta_lr_is_the_rate_of_setas_loop(budget):
    """torch's OneCycleLR as SeTa builds it at the start of an epoch."""
    recipe = with_switch("seta-lr")
    for epoch in (0, 1, 59, 60, 61, 130, 199):
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.2, momentum=0.9)
        for group in optimizer.param_groups:  # what an earlier scheduler leaves behind
            group |= {"initial_lr": 5.2 / 25, "max_lr": 5.2, "min_lr": 5.2 / 25e4,
                      "max_momentum": 0.95, "base_momentum": 0.85}  # fmt: skip
        official = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 5.2, epochs=EPOCHS, steps_per_epoch=SAMPLES, last_epoch=epoch * SAMPLES - 1
        )
        for step in range(LENGTH):
            ours = rate_at(recipe, epoch, step, budget)
            assert ours == pytest.approx(official.get_last_lr()[0], rel=1e-3, abs=2e-6)
            optimizer.step()
            official.step()


@pytest.mark.parametrize("budget", ["samples", "epochs"])
def test_seta_lr_ends_thirty_times_higher(budget):
    assert rate_at(with_switch("seta-lr"), 199, 390, budget) == pytest.approx(6.6e-4, rel=0.02)
    assert rate_at(with_switch(), 199, 390, budget) == pytest.approx(2.1e-5, rel=0.02)


@pytest.mark.parametrize("budget", ["samples", "epochs"])
def test_lr_per_epoch_holds_the_rate_of_the_start(budget):
    held = with_switch("lr-per-epoch")
    for epoch in (0, 60, 199):
        rates = {rate_at(held, epoch, step, budget) for step in range(LENGTH)}
        assert rates == {rate_at(with_switch(), epoch, 0, budget)}


@pytest.mark.parametrize(("switch", "distinct"), [((), 120), (("lr-per-epoch",), 6)])
def test_the_loop_asks_the_switch(switch, distinct, monkeypatch):
    rates = []
    inner = loop.set_schedule
    monkeypatch.setattr(
        loop, "set_schedule", lambda o, lr, m: (rates.append(lr), inner(o, lr, m))[1]
    )
    run = trainer(switch)
    run.fit()
    assert len(rates) == run.ledger.steps == 120
    assert len(set(rates)) == distinct


def test_head_100_has_100_outputs_and_learns_the_ten():
    run = trainer(["head-100"])
    run.fit()
    assert run.test_logits().shape[1] == 100
    assert run.test_accuracy() > 0.6
    assert trainer().test_logits().shape[1] == 10


def test_head_100_with_a_criterion_that_owns_parameters_per_class():
    run = trainer(["head-100"], criterion="sop", recipe_params={"epochs": 2})
    run.fit()
    assert run.ledger.trained == run.ledger.target


def test_head_100_on_a_hundred_classes_is_refused():
    recipe = with_switch("head-100")
    with pytest.raises(InputError, match="fewer than 100 classes"):
        build_model(recipe, (3, 32, 32), 100, Streams(0, "d", "n").get("init"))


def halves(x, norm):
    """What two cards compute, with torch's own layer on each."""
    first, second = (nn.BatchNorm2d(x.shape[1]).train() for _ in range(2))
    for copy in (first, second):
        copy.load_state_dict(norm.state_dict())
    parts = x.chunk(2)
    return torch.cat([first(parts[0]), second(parts[1])]), first


@pytest.mark.parametrize("n", [8, 7])
def test_split_normalisation_is_two_cards(n):
    torch.manual_seed(0)
    x = torch.randn(n, 3, 4, 4)
    model = nn.Sequential(nn.BatchNorm2d(3))
    nn.init.uniform_(model[0].weight)
    expected, first = halves(x, model[0])
    split_batch_norm(model, "test")
    assert isinstance(model[0], SplitBatchNorm)
    torch.testing.assert_close(model.train()(x), expected)
    for name, value in first.state_dict().items():  # the second card's statistics are lost
        torch.testing.assert_close(model[0].state_dict()[name], value)
    whole = nn.BatchNorm2d(3)
    whole.load_state_dict(model[0].state_dict())
    torch.testing.assert_close(model.eval()(x), whole.eval()(x))


def test_split_normalisation_of_batches_too_small_to_split():
    vectors = nn.Sequential(nn.BatchNorm1d(3))
    plain = nn.BatchNorm1d(3)
    split_batch_norm(vectors, "test")
    x = torch.randn(3, 3)  # halves of two and one
    torch.testing.assert_close(vectors(x), plain(x))


def test_split_normalisation_in_a_run_moves_the_training_only():
    plain, split = trainer(), trainer(["bn-split-2"])
    names = [n for n, _ in plain.model.named_parameters()]
    assert names == [n for n, _ in split.model.named_parameters()]
    for a, b in zip(plain.model.parameters(), split.model.parameters(), strict=True):
        assert torch.equal(a, b)
    plain.fit()
    split.fit()
    assert split.test_accuracy() > 0.6
    assert not torch.equal(plain.test_logits(), split.test_logits())


def test_split_normalisation_needs_some():
    recipe = Recipe(name="x", model="mlp", epochs=1, batch_size=4, lr=0.1, compat=("bn-split-2",))
    with pytest.raises(InputError, match="needs batch normalisation"):
        build_model(recipe, (4,), 2, Streams(0, "d", "n").get("init"))
