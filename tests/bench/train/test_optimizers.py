"""Schedules against torch's, and what reaches the optimiser. LARS: test_lars.py."""

import warnings

import pytest
import torch
from torch import nn

from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.optimizers import make_optimizer, set_schedule
from prunebench.bench.train.schedules import (
    linear_tail,
    multi_step,
    one_cycle,
    one_cycle_momentum,
    schedule,
    warm_cosine,
)


def test_one_cycle_equals_torch():
    total = 391 * 40
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.2, momentum=0.9)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5.2, total_steps=total)
    worst = worst_momentum = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in range(total):
            group, progress = optimizer.param_groups[0], step / (total - 1)
            worst = max(worst, abs(one_cycle(progress, 5.2) - group["lr"]))
            worst_momentum = max(
                worst_momentum, abs(one_cycle_momentum(progress) - group["momentum"])
            )
            if step + 1 < total:
                reference.step()
    # torch puts the peak one step before the share, ours on it.
    assert worst < 8e-4
    assert worst_momentum < 2e-5
    assert optimizer.param_groups[0]["lr"] == pytest.approx(one_cycle(1.0, 5.2), rel=1e-9)
    assert one_cycle(0.0, 5.2) == pytest.approx(0.208)
    assert one_cycle(0.3, 5.2) == pytest.approx(5.2)
    assert one_cycle(1.0, 5.2) == pytest.approx(2.08e-5)
    assert one_cycle_momentum(0.0) == pytest.approx(0.95)
    assert one_cycle_momentum(0.3) == pytest.approx(0.85)


def test_multi_step_and_constant():
    assert multi_step(0.49, 0.02, (0.5,)) == 0.02
    assert multi_step(0.5, 0.02, (0.5,)) == pytest.approx(0.002)
    fixed = Recipe(name="x", model="mlp", epochs=1, batch_size=1, lr=0.3, schedule="constant")
    assert schedule(fixed)(0.7) == (0.3, 0.9)


def test_linear_tail_is_the_plan_of_co_teaching_plus():
    epochs, start = 200, 80
    plan = [1e-3] * start + [1e-3 * (epochs - i) / (epochs - start) for i in range(start, epochs)]
    for epoch, rate in enumerate(plan):
        assert linear_tail(epoch / epochs, 1e-3, start / epochs) == pytest.approx(rate)
    assert linear_tail(1.0, 1e-3, 0.4) == 0.0


def test_warm_cosine_rises_in_a_line_and_falls_like_torchs():
    assert warm_cosine(0.0, 2.0, 0.1) == 0.0
    assert warm_cosine(0.05, 2.0, 0.1) == pytest.approx(1.0)
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=2.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=90)
    for step in range(90):
        rate = optimizer.param_groups[0]["lr"]
        assert warm_cosine(0.1 + step / 100, 2.0, 0.1) == pytest.approx(rate)
        optimizer.step()
        cosine.step()


def test_momentum_is_beta1_for_adam():
    fields = {"name": "x", "model": "mlp", "epochs": 1, "batch_size": 1, "lr": 1e-3}
    recipe = Recipe(
        **fields, optimizer="adam", momentum=0.8, schedule="linear_tail",
        milestones=(0.4,), tail_momentum=0.1,
    )  # fmt: skip
    optimizer = make_optimizer(recipe, [nn.Parameter(torch.ones(2))])
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)
    rate = schedule(recipe)
    assert rate(0.39) == (1e-3, 0.8)
    assert rate(0.4) == (1e-3, 0.1)
    set_schedule(optimizer, *rate(0.7))
    assert optimizer.param_groups[0]["betas"] == (0.1, 0.999)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(5e-4)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_and_adamw_equal_torchs(name):
    torch.manual_seed(0)
    recipe = Recipe(
        name="x", model="mlp", epochs=1, batch_size=1, lr=0.01, optimizer=name, weight_decay=0.1
    )
    ours = nn.Parameter(torch.randn(5, dtype=torch.float64))
    theirs = nn.Parameter(ours.detach().clone())
    optimizer = make_optimizer(recipe, [ours])
    make = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    reference = make([theirs], lr=0.01, weight_decay=0.1)
    for _ in range(5):
        ours.grad = torch.randn_like(ours)
        theirs.grad = ours.grad.clone()
        optimizer.step()
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
