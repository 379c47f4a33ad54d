"""CLD beside the official scores, its edges, and what it reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from prunebench.bench.checks.population import SimulatedEvidence, simulate_population
from prunebench.bench.train.plan_checks import check_subset
from prunebench.errors import InputError, SkipCell
from prunebench.methods.cld import cld_scores
from prunebench.methods.compose import resolve_method
from prunebench.rng import Stream
from support.vectors import FOLDER

VECTORS = np.load(FOLDER / "dynamic-2" / "cld_official.npz", allow_pickle=False)
CASES = [r["case"] for r in json.loads((FOLDER / "dynamic-2" / "cld_official.json").read_text())]


def curves(case):
    names = ("losses", "labels", "val_losses", "val_labels")
    return [torch.from_numpy(VECTORS[f"c{case}_{name}"]) for name in names]


@pytest.mark.parametrize("case", CASES)
def test_scores_and_order_are_the_official_ones(case):
    losses, labels, val_losses, val_labels = curves(case)
    scores = cld_scores(losses, labels, val_losses, val_labels, 10)
    np.testing.assert_allclose(scores.numpy(), VECTORS[f"c{case}_score_reference"], atol=1e-9)
    for cls, row in enumerate(VECTORS[f"c{case}_order_by_class"]):
        order = torch.from_numpy(row[row >= 0])
        assert (labels[order] == cls).all()
        assert (scores[order].diff() <= 1e-6).all()  # the official file has float32 scores


def test_scores_ignore_the_scale_and_level_of_either_curve():
    losses, labels, val_losses, val_labels = curves(0)
    scores = cld_scores(losses, labels, val_losses, val_labels, 10)
    moved = cld_scores(3 * losses.double() + 2, labels, val_losses.double() / 4 - 1, val_labels, 10)
    assert torch.allclose(scores, moved, atol=1e-7, rtol=0)


def test_flat_curves_missing_classes_and_missing_losses():
    losses = torch.tensor([[3.0, 0.3, 5.0, 1.0], [2.0, 0.2, 4.0, 2.0], [0.5, 0.1, 3.0, torch.nan]])
    labels, own = torch.tensor([0, 0, 1, 0]), torch.zeros(1, dtype=torch.int64)
    reference = torch.tensor([[2.0], [1.5], [0.25]])
    scores = cld_scores(losses, labels, reference, own, 2)
    assert scores[0] == pytest.approx(1.0)
    assert abs(float(scores[1])) <= 1.0
    assert scores[2:].isnan().all()
    straight = cld_scores(losses[:, [2]], own, reference, own, 1)
    assert straight.tolist() == [0.0]
    assert cld_scores(losses[:, :1], own, torch.ones(3, 1), own, 1).tolist() == [0.0]
    assert cld_scores(losses[:2, :2], own.repeat(2), reference[:2], own, 1).tolist() == [0.0, 0.0]
    with pytest.raises(InputError, match="E >= 2"):
        cld_scores(losses[:1], labels, reference[:1], own, 2)


def test_the_method_reads_losses_and_keeps_by_class():
    population = simulate_population()
    need = resolve_method("cld").build().needs(12, 2)
    assert need.signals == {"loss", "reference_loss"}
    assert need.reads_reference
    with pytest.raises(SkipCell, match="at least 2 epochs"):
        resolve_method("cld").build().needs(1, 1)
    evidence = SimulatedEvidence(population, 2, need)
    kept = resolve_method("cld").build().keep(evidence, 60, Stream(0))
    assert population.labels[kept.indices].bincount().tolist() == [15] * 4
    wrong = population.labels != population.clean_labels
    assert wrong[kept.indices].double().mean() < wrong.double().mean() / 2
    assert kept.info["undefined"] == 0
    top = resolve_method("cld@top").build().keep(evidence, 60, Stream(0))
    assert top.scores is not None
    assert kept.scores is not None
    assert torch.equal(top.scores, kept.scores)
    assert not torch.equal(top.indices, kept.indices)


@pytest.mark.parametrize("name", ["cld", "cld@top", "cld@strata", "cld@beta"])
def test_a_class_without_reference_samples_is_kept_first(name, monkeypatch):
    population = simulate_population()
    method = resolve_method(name).build()
    evidence = SimulatedEvidence(population, 2, method.needs(12, 2))
    losses, labels = evidence.reference_loss, evidence.reference_labels
    without = {"reference_loss": losses[:, labels != 3], "reference_labels": labels[labels != 3]}
    for field, values in without.items():
        monkeypatch.setattr(SimulatedEvidence, field, property(lambda _, v=values: v))
    subset = method.keep(evidence, 60, Stream(0))
    check_subset(subset, 60, len(population.labels), name)
    alone = int((population.labels == 3).sum())
    assert subset.info["undefined"] == int(subset.scores.isnan().sum()) == alone
    if name == "cld@top":
        assert int((population.labels[subset.indices] == 3).sum()) == min(alone, 60)
