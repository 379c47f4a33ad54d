"""LARS against an independent float64 re-derivation, and against timm's where the two agree."""

import math

import pytest
import torch
from torch import nn

from prunebench.bench.train.optimizers import LARS
from prunebench.bench.train.schedules import one_cycle, one_cycle_momentum

STEPS, PEAK, DECAY = 30, 5.2, 5e-4


def by_hand(weights, grads_per_step, rates, momentum, decay, trust=1e-3, eps=0.0):
    """The published rules in scalar arithmetic over flat lists of Python floats; also counts how
    often each clamp took hold."""
    buffers = [None] * len(weights)
    clamped = {"ratio": 0, "direction": 0}
    for grads, (lr, mu) in zip(grads_per_step, zip(rates, momentum, strict=True), strict=True):
        for n, (w, g) in enumerate(zip(weights, grads, strict=True)):
            wn = math.sqrt(math.fsum(v * v for v in w))
            gn = math.sqrt(math.fsum(v * v for v in g))
            t = trust * wn / (gn + decay * wn + eps) if wn > 0 and gn > 0 else 1.0
            clamped["ratio"] += t > 50.0
            t = min(max(t, 0.0), 50.0)
            raw = [gv + decay * wv for gv, wv in zip(g, w, strict=True)]
            d = [min(max(v, -10.0), 10.0) for v in raw]
            clamped["direction"] += d != raw
            old = buffers[n]
            buffers[n] = d if old is None else [mu * b + v for b, v in zip(old, d, strict=True)]
            weights[n] = [wv - lr * t * b for wv, b in zip(w, buffers[n], strict=True)]
    return weights, clamped


def drive(optimizer, params, grads, rates, mus=None):
    for step, grad in enumerate(grads):
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
            if mus is not None:
                group["momentum"] = mus[step]
        for p, g in zip(params, grad, strict=True):
            p.grad = g.clone()
        optimizer.step()


def draw(shapes=((4, 3), (5,), (2, 2, 3), (3,)), steps=STEPS):
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(s, dtype=torch.float64)) for s in shapes]
    return params, [[torch.randn_like(p) for p in params] for _ in range(steps)]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_equals_the_rules_over_a_one_cycle(momentum, decay):
    params, grads = draw()
    params[3].data.zero_()  # a zero tensor: trust ratio 1
    grads[7] = [g * 40.0 for g in grads[7]]  # the clamp on the direction
    grads[11] = [g * 1e-8 for g in grads[11]]  # the clamp on the ratio, without decay
    start = [p.detach().flatten().tolist() for p in params]
    rates = [one_cycle(i / STEPS, PEAK) for i in range(STEPS)]
    mus = [one_cycle_momentum(i / STEPS) if momentum else 0.0 for i in range(STEPS)]
    optimizer = LARS(params, lr=0.1, momentum=momentum, weight_decay=decay)
    drive(optimizer, params, grads, rates, mus)
    flat = [[g.flatten().tolist() for g in grad] for grad in grads]
    expected, clamped = by_hand(start, flat, rates, mus, decay)
    assert clamped["direction"] > 0
    assert (clamped["ratio"] > 0) == (decay == 0.0)
    for p, want in zip(params, expected, strict=True):
        want = torch.tensor(want, dtype=torch.float64)
        torch.testing.assert_close(p.detach().flatten(), want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_equals_timms_without_momentum_only(momentum):
    timm = pytest.importorskip("timm.optim", reason="the extra timm is not installed")
    ours, grads = draw()
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    rates = [0.3] * STEPS
    drive(LARS(ours, lr=0.3, momentum=momentum, weight_decay=DECAY), ours, grads, rates)
    other = timm.Lars(theirs, lr=0.3, momentum=momentum, weight_decay=DECAY, eps=0.0)
    drive(other, theirs, grads, rates)
    distance = math.sqrt(
        sum(float(((p - q).detach() ** 2).sum()) for p, q in zip(ours, theirs, strict=True))
        / sum(float((q.detach() ** 2).sum()) for q in theirs)
    )
    # With momentum timm scales the gradient that enters the buffer, the official loop the buffer.
    assert distance < 1e-14 if momentum == 0 else distance > 1e-3


def test_first_step_with_momentum_equals_timms():
    timm = pytest.importorskip("timm.optim", reason="the extra timm is not installed")
    ours, grads = draw(steps=1)
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    drive(LARS(ours, lr=0.3, momentum=0.9, weight_decay=DECAY), ours, grads, [0.3])
    other = timm.Lars(theirs, lr=0.3, momentum=0.9, weight_decay=DECAY, eps=0.0)
    drive(other, theirs, grads, [0.3])
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-14, atol=1e-15)


def test_norms_and_biases_are_adapted_too():
    layer = nn.BatchNorm1d(4).double()
    layer.weight.grad = torch.full_like(layer.weight, 2.0)
    optimizer = LARS(layer.parameters(), lr=1.0, momentum=0.9, weight_decay=0.1)
    optimizer.step()
    step = 1e-3 * 2.0 / (4.0 + 0.1 * 2.0) * (2.0 + 0.1)
    torch.testing.assert_close(layer.weight.detach(), torch.full_like(layer.weight, 1.0 - step))


def test_works_under_torchs_one_cycle():
    params, grads = draw(steps=10)
    optimizer = LARS(params, lr=0.1)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK, total_steps=10)
    seen = []
    for grad in grads:
        for p, g in zip(params, grad, strict=True):
            p.grad = g
        optimizer.step()
        seen.append(optimizer.param_groups[0]["momentum"])
        if len(seen) < 10:
            cycle.step()
    assert max(seen) == pytest.approx(0.95)
    assert min(seen) == pytest.approx(0.85)


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay", "trust", "eps"])
def test_refuses_negative_arguments(name):
    with pytest.raises(ValueError, match=name):
        LARS([nn.Parameter(torch.ones(2))], **{"lr": 0.1, name: -1.0})
