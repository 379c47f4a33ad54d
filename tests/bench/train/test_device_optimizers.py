"""Optimisers that can be captured against those of the CPU path, and their state in place."""

import pytest
import torch
from torch import nn

from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.device_optimizers import make_device_optimizer
from prunebench.bench.train.optimizers import make_optimizer, set_schedule
from prunebench.bench.train.schedules import one_cycle, one_cycle_momentum

STEPS = 20


def recipe(optimizer: str, **fields) -> Recipe:
    values = {"lr": 0.01, "weight_decay": 1e-2, "nesterov": False, **fields}
    return Recipe(name="x", model="mlp", epochs=1, batch_size=1, optimizer=optimizer, **values)


def draw():
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (5,), (2, 2, 3), (3,))
    params = [
        nn.Parameter(torch.randn(s, dtype=torch.float64, generator=generator)) for s in shapes
    ]
    params[3].data.zero_()
    grads = [
        [torch.randn(p.shape, dtype=torch.float64, generator=generator) for p in params]
        for _ in range(STEPS)
    ]
    grads[3] = [40 * g for g in grads[3]]
    return params, grads


def drive(optimizer, params, grads, momentum=True):
    for step, grad in enumerate(grads):
        mu = one_cycle_momentum(step / STEPS) if momentum else 0.0
        set_schedule(optimizer, one_cycle(step / STEPS, 0.1), mu)
        for p, g in zip(params, grad, strict=True):
            p.grad = g.clone()
        optimizer.step()


CASES = [
    ("sgd", {}), ("sgd", {"nesterov": True}), ("sgd", {"weight_decay": 0.0}),
    ("lars", {}), ("adam", {}), ("adamw", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields"), CASES)
def test_equals_the_optimiser_of_the_cpu_path(name, fields):
    ours, grads = draw()
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    settings = recipe(name, **fields)
    drive(make_device_optimizer(settings, ours), ours, grads)
    drive(make_optimizer(settings, theirs), theirs, grads)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-11, atol=1e-13)


def test_sgd_without_momentum_keeps_no_buffer():
    settings = recipe("sgd", momentum=0.0, schedule="constant")
    ours, grads = draw()
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizer = make_device_optimizer(settings, ours)
    assert not any(optimizer.state.values())
    drive(optimizer, ours, grads, momentum=False)
    drive(make_optimizer(settings, theirs), theirs, grads, momentum=False)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["sgd", "lars", "adam"])
def test_state_is_restored_and_reset_where_it_lies(name):
    ours, grads = draw()
    optimizer = make_device_optimizer(recipe(name), ours)
    drive(optimizer, ours, grads[:5])
    saved = {n: {k: v.clone() for k, v in s.items()} for n, s in
             optimizer.state_dict()["state"].items()}  # fmt: skip
    middle = [p.detach().clone() for p in ours]
    places = [v.data_ptr() for state in optimizer.state.values() for v in state.values()]
    drive(optimizer, ours, grads[5:])
    end = [p.detach().clone() for p in ours]
    for p, value in zip(ours, middle, strict=True):
        p.data.copy_(value)
    optimizer.load_state_dict({"state": saved, "param_groups": []})
    drive(optimizer, ours, grads[5:])
    assert all(torch.equal(p, q) for p, q in zip(ours, end, strict=True))
    optimizer.load_state_dict({"state": {}, "param_groups": []})
    assert not any(bool(v.any()) for state in optimizer.state.values() for v in state.values())
    again = [v.data_ptr() for state in optimizer.state.values() for v in state.values()]
    assert again == places
