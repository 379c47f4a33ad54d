"""Cross-entropy and SOP against the official code and dense SGD."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from prunebench.errors import InputError
from prunebench.methods.cross_entropy import CrossEntropy
from prunebench.methods.sop import SOP, SOPPlus, learning_rates, sop_loss, sop_terms
from prunebench.registry import CRITERIA

CPU = torch.device("cpu")


@pytest.mark.parametrize(("case", "consistency", "balance"), [("c0", 0.0, 0.0), ("c1", 0.9, 0.1)])
def test_official_loss_and_gradients(vectors, case, consistency, balance):
    v = {k[3:]: t for k, t in vectors("sop_loss.npz").items() if k.startswith(case)}
    logits = v["logits"].clone().requires_grad_()
    u, w = v["u"].clone().requires_grad_(), v["v"].clone().requires_grad_()
    size = len(v["labels"])
    strong = logits[size:] if len(logits) > size else None
    index = v["index"]
    loss = sop_loss(logits[:size], v["labels"], u[index], w[index], strong, consistency, balance)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(v["loss"]), abs=1e-5)
    for ours, name in ((logits, "logits"), (u, "u"), (w, "v")):
        torch.testing.assert_close(ours.grad, v[f"grad_{name}"], rtol=1e-5, atol=1e-5)


def inputs(size=6, classes=4, seed=0):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    labels = torch.randint(classes, (size,), generator=g)
    return draw(size, classes), labels, draw(size, 1) * 0.5, draw(size, classes) * 0.5


def test_v_learns_through_the_squared_term_alone():
    logits, labels, u, v = inputs()
    v.requires_grad_()
    guess = F.one_hot(logits.argmax(1), 4)
    y = F.one_hot(labels, 4).double()
    plus, minus = u**2 * y, (v**2 * (1 - y)).clamp(0, 1)
    squared = (guess + plus - minus - y).square().sum(1)
    expected = torch.autograd.grad(squared.sum(), v)[0]
    per_sample, term = sop_terms(logits, labels, u, v, balance=0.1)
    ours = torch.autograd.grad((per_sample.sum() + term), v)[0]
    torch.testing.assert_close(ours, expected)
    assert float(ours.abs().max()) > 0


def test_network_learns_from_first_and_second_view_as_published():
    logits, labels, u, v = inputs()
    logits.requires_grad_()
    strong = (logits.detach() * 0.3 + 0.1).requires_grad_()
    plain = sop_terms(logits, labels, u, v)[0].sum()
    both = sop_terms(logits, labels, u, v, strong, consistency=0.9)[0].sum()
    a = torch.autograd.grad(plain, logits)[0]
    b, c = torch.autograd.grad(both, (logits, strong))
    torch.testing.assert_close(a, b)
    expected = 0.9 * (strong.softmax(1) - logits.softmax(1)).detach()
    torch.testing.assert_close(c, expected)


def test_balance_is_least_for_uniform_predictions():
    zero = torch.zeros(8, 4, dtype=torch.float64)
    labels = torch.arange(8) % 4
    term = sop_terms(zero, labels, zero[:, :1], zero, balance=1.0)[1]
    assert float(term) == pytest.approx(math.log(4))
    skewed = zero.clone()
    skewed[:, 0] = 5.0
    assert float(sop_terms(skewed, labels, zero[:, :1], zero, balance=1.0)[1]) > math.log(4)
    per_sample, none = sop_terms(zero, labels, zero[:, :1], zero)
    assert per_sample.dtype == torch.float64
    assert float(none) == 0.0
    with pytest.raises(ValueError, match="strong view"):
        sop_terms(zero, labels, zero[:, :1], zero, consistency=0.9)


def test_clamped_entries_stay_put():
    logits, labels, u, v = inputs()
    u, v = (u * 0 + 1.5).requires_grad_(), (v * 0 + 1.5).requires_grad_()
    grads = torch.autograd.grad(sop_terms(logits, labels, u, v)[0].sum(), (u, v))
    assert all(float(g.abs().max()) == 0 for g in grads)


@pytest.mark.parametrize("kind", [SOP, SOPPlus])
def test_sparse_steps_equal_dense_sgd(kit, kind):
    n, classes = 20, 5
    criterion = kind(lr_u=2.0, lr_v=5.0)
    criterion.begin(n, classes, CPU, kit.stream())
    g = torch.Generator().manual_seed(1)
    # The published start is a saddle; move off it so that every row has a gradient.
    criterion.u.copy_(torch.rand(n, 1, generator=g))
    criterion.v.copy_(torch.rand(n, classes, generator=g))
    u, v = criterion.u.clone().requires_grad_(), criterion.v.clone().requires_grad_()
    dense = torch.optim.SGD([{"params": u, "lr": 2.0}, {"params": v, "lr": 5.0}])
    for _ in range(5):
        sample_ids = torch.randperm(n, generator=g)[:8]
        logits = torch.randn(8, classes, generator=g).requires_grad_()
        strong = torch.randn(8, classes, generator=g) if criterion.views == 2 else None
        labels, weights = torch.randint(classes, (8,), generator=g), torch.rand(8, generator=g)
        losses, term = sop_terms(
            logits,
            labels,
            u[sample_ids],
            v[sample_ids],
            strong,
            criterion.consistency,
            criterion.balance,
        )
        dense.zero_grad()
        ((losses * weights).mean() + term).backward()
        dense.step()
        ours = (criterion.per_sample(logits, labels, sample_ids, strong) * weights).mean()
        extra = criterion.batch_term(logits, labels, sample_ids, strong)
        assert (extra is None) == (kind is SOP)
        (ours if extra is None else ours + extra).backward()
        criterion.step()
        torch.testing.assert_close(criterion.u, u.detach())
        torch.testing.assert_close(criterion.v, v.detach())


def test_pruned_samples_do_not_move_and_state_round_trips(kit):
    criterion = SOP(lr_u=1.0, lr_v=1.0)
    criterion.begin(10, 3, CPU, kit.stream())
    assert float(criterion.u.abs().max()) < 1e-7
    assert float(criterion.v.abs().min()) > 0
    start = criterion.u.clone(), criterion.v.clone()
    sample_ids, labels = torch.tensor([2, 7]), torch.tensor([0, 1])
    criterion.per_sample(torch.zeros(2, 3), labels, sample_ids).sum().backward()
    criterion.step()
    still = torch.ones(10, dtype=torch.bool)
    still[sample_ids] = False
    assert torch.equal(criterion.u[still], start[0][still])
    assert torch.equal(criterion.v[still], start[1][still])
    again = SOP()
    again.begin(10, 3, CPU, kit.stream(5))
    assert not torch.equal(again.v, start[1])
    again.load_state_dict(criterion.state_dict())
    assert torch.equal(again.v, criterion.v)
    same = SOP()
    same.begin(10, 3, CPU, kit.stream())
    assert torch.equal(same.u, start[0])


def test_scores_without_backward_leave_parameters_alone(kit):
    criterion = SOPPlus()
    criterion.begin(10, 3, CPU, kit.stream())
    before = criterion.v.clone()
    with torch.no_grad():
        losses = criterion.per_sample(torch.zeros(2, 3), torch.tensor([0, 1]), torch.tensor([1, 2]))
    criterion.step()
    assert losses.shape == (2,)
    assert torch.equal(criterion.v, before)


def test_views_rates_and_names():
    assert SOP().views == 1
    assert SOPPlus().views == 2
    assert SOPPlus(consistency=0.0).views == 1
    assert learning_rates(10) == (10.0, 10.0)
    assert learning_rates(100) == (1.0, 10.0)
    assert {"ce", "sop", "sop+"} <= set(CRITERIA.names())
    assert not SOP.is_cross_entropy
    assert CrossEntropy.is_cross_entropy


def test_cross_entropy():
    logits, labels, *_ = inputs()
    for smoothing in (None, 0.0, 0.1):
        criterion = CrossEntropy(smoothing=smoothing)
        ours = criterion.per_sample(logits, labels, labels)
        log = logits.log_softmax(1)
        picked = -log.gather(1, labels[:, None]).squeeze(1)
        expected = (1 - (smoothing or 0)) * picked - (smoothing or 0) * log.mean(1)
        torch.testing.assert_close(ours, expected)
    assert criterion.per_sample(logits.bfloat16(), labels, labels).dtype == torch.float32
    assert criterion.batch_term(logits, labels, labels) is None
    with pytest.raises(InputError, match="smoothing"):
        CrossEntropy(smoothing=2.0)
