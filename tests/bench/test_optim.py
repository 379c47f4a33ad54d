"""LARS against an independent float64 re-derivation, schedules against torch's."""

import math
import warnings

import pytest
import torch
from torch import nn

from prunebench.bench.optim import LARS, multi_step, one_cycle, one_cycle_momentum, schedule
from prunebench.bench.recipe import Recipe


def by_hand(weights, grads_per_step, rates, momentum, decay, trust=1e-3, eps=0.0):
    """The published rules in scalar arithmetic over flat lists of Python floats."""
    buffers = [None] * len(weights)
    for grads, (lr, mu) in zip(grads_per_step, zip(rates, momentum, strict=True), strict=True):
        for n, (w, g) in enumerate(zip(weights, grads, strict=True)):
            wn = math.sqrt(math.fsum(v * v for v in w))
            gn = math.sqrt(math.fsum(v * v for v in g))
            t = trust * wn / (gn + decay * wn + eps) if wn > 0 and gn > 0 else 1.0
            t = min(max(t, 0.0), 50.0)
            d = [min(max(gv + decay * wv, -10.0), 10.0) for gv, wv in zip(g, w, strict=True)]
            old = buffers[n]
            buffers[n] = d if old is None else [mu * b + v for b, v in zip(old, d, strict=True)]
            weights[n] = [wv - lr * t * b for wv, b in zip(w, buffers[n], strict=True)]
    return weights


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_lars_equals_the_rules(momentum):
    torch.manual_seed(0)
    shapes = [(4, 3), (5,), (2, 2, 3), (3,)]
    params = [nn.Parameter(torch.randn(s, dtype=torch.float64)) for s in shapes]
    params[3].data.zero_()  # a zero tensor: trust ratio 1
    start = [p.detach().flatten().tolist() for p in params]
    steps = 30
    rates = [one_cycle(i / steps, 5.2) for i in range(steps)]
    mus = [one_cycle_momentum(i / steps) if momentum else 0.0 for i in range(steps)]
    grads = [[torch.randn_like(p) * (40.0 if i == 7 else 1.0) for p in params]
             for i in range(steps)]  # fmt: skip
    optimizer = LARS(params, lr=0.1, momentum=momentum, weight_decay=5e-4)
    for rate, mu, grad in zip(rates, mus, grads, strict=True):
        for group in optimizer.param_groups:
            group["lr"], group["momentum"] = rate, mu
        for p, g in zip(params, grad, strict=True):
            p.grad = g.clone()
        optimizer.step()
    flat = [[g.flatten().tolist() for g in grad] for grad in grads]
    expected = by_hand(start, flat, rates, mus, 5e-4)
    for p, want in zip(params, expected, strict=True):
        torch.testing.assert_close(
            p.detach().flatten(), torch.tensor(want, dtype=torch.float64), rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay", "trust", "eps"])
def test_lars_refuses_negative_arguments(name):
    with pytest.raises(ValueError, match=name):
        LARS([nn.Parameter(torch.ones(2))], **{"lr": 0.1, name: -1.0})


def test_one_cycle_equals_torch():
    total = 400
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.2, momentum=0.9)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5.2, total_steps=total)
    for step in range(total):
        progress = step / (total - 1)
        # torch puts the peak at step pct * total - 1, ours at pct of the progress.
        group = optimizer.param_groups[0]
        assert one_cycle(progress, 5.2) == pytest.approx(group["lr"], abs=0.05)
        assert one_cycle_momentum(progress) == pytest.approx(group["momentum"], abs=2e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if step + 1 < total:
                reference.step()
    assert one_cycle(0.0, 5.2) == pytest.approx(0.208)
    assert one_cycle(0.3, 5.2) == pytest.approx(5.2)
    assert one_cycle(1.0, 5.2) == pytest.approx(5.2 / 25 / 1e4)
    assert one_cycle_momentum(0.0) == pytest.approx(0.95)
    assert one_cycle_momentum(0.3) == pytest.approx(0.85)


def test_multi_step_and_constant():
    assert multi_step(0.49, 0.02, (0.5,)) == 0.02
    assert multi_step(0.5, 0.02, (0.5,)) == pytest.approx(0.002)
    fixed = Recipe(name="x", model="mlp", epochs=1, batch_size=1, lr=0.3, schedule="constant")
    assert schedule(fixed)(0.7) == (0.3, 0.9)
