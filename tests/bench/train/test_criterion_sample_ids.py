"""Criteria with per-sample parameters reach those of the batch's samples, whatever is held out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from prunebench.bench.spec.run_spec import HeldOut, Validation
from prunebench.bench.train.budget import Clock
from prunebench.bench.train.setup import Setup
from prunebench.bench.train.task import load_task, streams_of
from prunebench.bench.train.trainer import Trainer
from prunebench.methods.base import Criterion
from prunebench.methods.compose import resolve_method
from prunebench.methods.sop import SOP, SOPPlus
from support.cells import small_cell


class LearnedTemperature(Criterion):
    """One temperature per sample; written against the former names ``index`` and ``plain``."""

    plain = False

    def begin(self, num_samples, num_classes, device, rng) -> None:
        self.temperature = torch.ones(num_samples, device=device)
        self.labels = torch.full((num_samples,), -1, device=device)
        self.visits = torch.zeros(num_samples, dtype=torch.int64, device=device)

    def per_sample(self, logits, labels, index, strong_logits=None) -> Tensor:
        self.leaf, self.last = self.temperature[index].requires_grad_(), index
        self.labels[index] = labels
        return cross_entropy(logits / self.leaf[:, None], labels, reduction="none")

    def batch_term(self, logits, labels, index, strong_logits=None) -> Tensor:
        assert torch.equal(index, self.last)
        return 0.0 * logits.sum()

    @torch.no_grad()
    def step(self) -> None:
        self.temperature[self.last] *= 1 - 0.1 * self.leaf.grad.sign()
        self.visits[self.last] += 1


def trained(method: str, criterion: Criterion) -> Trainer:
    """Two epochs on digits with a reference set and a validation split held out."""
    cell = small_cell(
        method,
        recipe_params={"epochs": 2},
        reference=HeldOut(size=60),
        validation=Validation(size=90),
    )
    task = load_task(cell.spec, cell.data)
    pruner = resolve_method(cell.spec.method.name).build(cell.spec.method.params)
    clock = Clock(len(task.train), 2, cell.spec.ratio, cell.spec.budget)
    trainer = Trainer(
        Setup(task, cell.spec.recipe, pruner, criterion, streams_of(cell.spec), clock,
              torch.device("cpu"), reference=task.reference)
    )  # fmt: skip
    trainer.fit()
    return trainer


@pytest.mark.parametrize("method", ["full", "random-dynamic", "divbs"])
def test_a_criterion_gets_the_sample_ids_of_its_batch(method: str) -> None:
    criterion = LearnedTemperature()
    trainer = trained(method, criterion)
    task, ids = trainer.setup.task, trainer.sample_ids
    assert len(ids) < len(task.raw.train_x) - 100  # positions and sample ids differ
    visits = torch.zeros_like(criterion.visits)
    visits[ids] = trainer.kept_visits
    assert torch.equal(criterion.visits, visits)
    assert torch.equal(criterion.temperature != 1, visits > 0)
    labels = torch.full_like(criterion.labels, -1)
    labels[ids] = torch.where(trainer.kept_visits > 0, trainer.labels, -1)
    assert torch.equal(criterion.labels, labels)


@pytest.mark.parametrize("kind", [SOP, SOPPlus])
def test_sop_moves_the_parameters_of_trained_samples_alone(kind: type[SOP]) -> None:
    criterion, before = kind(), kind()
    trainer = trained("random-dynamic", criterion)
    n, outputs = len(trainer.setup.task.raw.train_x), criterion.v.shape[1]
    before.begin(n, outputs, torch.device("cpu"), trainer.setup.streams.get("criterion"))
    moved = (criterion.u != before.u).any(1) | (criterion.v != before.v).any(1)
    expected = torch.zeros(n, dtype=torch.bool)
    expected[trainer.sample_ids] = trainer.kept_visits > 0
    assert torch.equal(moved, expected)


def test_the_former_name_of_is_cross_entropy_is_read() -> None:
    class Former(LearnedTemperature):
        plain = True

    class Both(Former):
        is_cross_entropy = False

    assert Former.is_cross_entropy
    assert not LearnedTemperature.is_cross_entropy
    assert not Both.is_cross_entropy
