"""Optimisers that can be captured against those of the CPU path, and their state in place."""

import pytest
import torch
from torch import nn

from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.device_optimizers import make_device_optimizer
from prunebench.bench.train.flat import ROW, Block
from prunebench.bench.train.optimizers import make_optimizer, set_schedule
from prunebench.bench.train.schedules import one_cycle, one_cycle_momentum
from support.captures import Ops

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


NAMES = ["sgd", "lars", "adam", "adamw"]


@pytest.mark.parametrize("name", NAMES)
def test_a_tensor_without_a_gradient_stays_as_it_is_and_so_does_its_state(name):
    """Skipped in some steps, never trained, frozen: as torch's own optimisers have it."""
    skipped = {1: 1, 2: 1, 3: 0, 5: 3}
    ours, grads = draw()
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    for params in (ours, theirs):
        params[2].requires_grad_(False)
    one, two = make_device_optimizer(recipe(name), ours), make_optimizer(recipe(name), theirs)
    frozen = ours[2].detach().clone()
    for step, grad in enumerate(grads):
        for params in (ours, theirs):
            for number, (p, g) in enumerate(zip(params, grad, strict=True)):
                p.grad = None if number in (2, skipped.get(step)) else g.clone()
        before = [p.detach().clone() for p in ours]
        state = [{k: v.clone() for k, v in one.state[p].items() if k != "step"} for p in ours]
        one.step()
        two.step()
        for p, value, was in zip(ours, before, state, strict=True):
            assert torch.equal(p, value) == (p.grad is None)
            if p.grad is None:
                assert all(torch.equal(one.state[p][k], v) for k, v in was.items())
    assert torch.equal(ours[2], frozen)
    if not name.startswith("adam"):  # whose steps are counted for all tensors together
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_of_several_types_are_each_updated(name):
    ours = [nn.Parameter(torch.ones(70, dtype=t)) for t in (torch.float32, torch.float64)]
    ours.append(nn.Parameter(torch.full((3,), 2.0)))
    optimizer = make_device_optimizer(recipe(name), ours)
    for p in ours:
        p.grad = torch.full_like(p, 0.5)
    optimizer.step()
    assert [p.dtype for p in ours] == [torch.float32, torch.float64, torch.float32]
    torch.testing.assert_close(ours[0].double(), ours[1], rtol=1e-6, atol=0.0)
    assert all(bool((p < 1 + (p.numel() == 3)).all()) for p in ours)
    optimizer.load_state_dict(optimizer.state_dict())


def test_tensors_keep_strides_values_and_identity():
    torch.manual_seed(0)
    whole = torch.randn(6, 5)
    last = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    params = [*last.parameters(), nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.empty(0, 3)),
              nn.Parameter(whole.t()), nn.Parameter(whole[:, ::2])]  # fmt: skip
    before = [(p.detach().clone(), p.stride()) for p in params]
    optimizer = make_device_optimizer(recipe("lars"), params)
    buffer = optimizer.blocks[0].weights.untyped_storage()
    ends = []
    for p, (value, stride) in zip(params, before, strict=True):
        assert torch.equal(p, value)
        assert p.untyped_storage().data_ptr() == buffer.data_ptr()
        assert p.storage_offset() % ROW == 0
        assert not ends or p.storage_offset() >= ends[-1]
        ends.append(p.storage_offset() + p.numel())
        if p is not params[-1]:  # one with gaps is stored without
            assert p.stride() == stride
        assert p.is_leaf
    x = torch.randn(2, 3, 8, 8)
    last(x).sum().backward()
    assert last.weight.grad.stride() == last.weight.stride()
    optimizer.step()
    assert not torch.equal(last.weight, before[0][0])


def test_a_tensor_that_two_layers_share_is_updated_once():
    one, two = nn.Linear(3, 3), nn.Linear(3, 3)
    two.weight = one.weight
    model = nn.Sequential(one, two)
    plain = [nn.Parameter(p.detach().clone()) for p in model.parameters()]
    optimizer = make_device_optimizer(recipe("sgd"), model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    for p, q in zip(model.parameters(), plain, strict=True):
        q.grad = p.grad.clone()
    optimizer.step()
    make_optimizer(recipe("sgd"), plain).step()
    assert one.weight is two.weight
    for p, q in zip(model.parameters(), plain, strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_operations_does_not_grow_with_that_of_tensors(name):
    def calls(count):
        params = [nn.Parameter(torch.ones(5)) for _ in range(count)]
        optimizer = make_device_optimizer(recipe(name), params)
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
        with Ops() as counted:
            optimizer.step()
        return counted.seen

    assert calls(40) == calls(4)
    assert sum(calls(4).values()) <= 30


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_number_in_one_tensor_stays_there(name):
    params = [nn.Parameter(torch.ones(5)) for _ in range(3)]
    optimizer = make_device_optimizer(recipe(name), params)
    for _ in range(3):
        for number, p in enumerate(params):
            p.grad = torch.full_like(p, float("nan") if number == 1 else 1.0)
        optimizer.step()
    assert [bool(p.isfinite().all()) for p in params] == [True, False, True]


def test_gradients_of_another_precision_are_taken_as_they_are():
    block = Block([nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))], ())
    halves = torch.tensor([0.1, 0.2, 0.3]).bfloat16()
    (part,) = block.parts([halves, torch.tensor([0.1, 0.2])])
    assert torch.equal(part.grad_views[0], halves.float())
    assert torch.equal(part.grad_views[1], torch.tensor([0.1, 0.2]))
    assert block.parts([None, None]) == []
    assert [len(p.weight_views) for p in block.parts([halves, None])] == [1]
