"""The CUDA path: same draws as on the CPU, no host synchronisation in the step loop."""

import pytest
import torch

from prunebench.bench.budget import Clock
from prunebench.bench.images import Inputs, draw_crop_flip
from prunebench.bench.tasks import load_task, streams_of
from prunebench.bench.trainer import Trainer
from prunebench.bench.training import Epoch, Setup
from prunebench.methods.base import Plan
from prunebench.methods.compose import resolve_method
from prunebench.registry import CRITERIA
from prunebench.rng import Stream
from support.cells import small_cell

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


def make(method: str, device: str, **recipe) -> Trainer:
    cell = small_cell(method, recipe_params=recipe)
    spec = cell.spec
    task = load_task(spec, cell.data)
    setup = Setup(
        task, spec.recipe, resolve_method(method).build(spec.method.params),
        CRITERIA.get("ce").target(smoothing=0.0), streams_of(spec),
        Clock(len(task.train), spec.recipe.epochs, spec.ratio), torch.device(device),
        reference=task.reference,
    )  # fmt: skip
    return Trainer(setup)


def test_draws_equal_the_cpu():
    ids = torch.arange(10_000)
    for name in ("uniform_at", "bits"):
        host, device = getattr(Stream(7), name)(ids), getattr(Stream(7), name)(ids.cuda())
        assert torch.equal(host, device.cpu())
    a, b = draw_crop_flip(Stream(3), ids, 4), draw_crop_flip(Stream(3), ids.cuda(), 4)
    assert torch.equal(a.flip, b.flip.cpu())
    assert torch.equal(a.top, b.top.cpu())
    assert torch.equal(a.left, b.left.cpu())


def test_augmented_batches_equal_the_cpu():
    task = load_task(small_cell().spec, small_cell().data)
    rows = torch.arange(100)
    views = []
    for device in ("cpu", "cuda"):
        inputs = Inputs(task.raw.train_x, task.raw, augment="crop_flip", pad=2, device=device)
        draws = draw_crop_flip(Stream(1), rows.to(device), 2)
        views.append(inputs.augmented(rows.to(device), draws).cpu())
    torch.testing.assert_close(*views, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["full", "infobatch", "infobatch+align", "divbs", "seta"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_trains_within_its_budget_and_learns(method, precision):
    trainer = make(method, "cuda", precision=precision, epochs=12)
    trainer.fit()
    assert trainer.ledger.trained == trainer.ledger.target
    assert trainer.test_accuracy() > 0.7


def test_first_epoch_follows_the_cpu():
    losses = []
    for device in ("cpu", "cuda"):
        trainer = make("full", device, epochs=1)
        trainer.fit()
        losses.append(trainer.tables.loss.cpu())
    torch.testing.assert_close(*losses, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_no_synchronisation_inside_the_step_loop(optimizer):
    trainer = make("full", "cuda", optimizer=optimizer)
    plan = Plan(torch.arange(len(trainer.rows), device="cuda"))
    trainer._steps(Epoch(plan, trainer.ledger.trained))
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer._steps(Epoch(plan, trainer.ledger.trained))
    finally:
        torch.cuda.set_sync_debug_mode("default")
