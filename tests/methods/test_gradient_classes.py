"""Registered methods on last-layer gradients: quotas, weights, reference set, undefined outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from prunebench.bench.train.plan_checks import check_weights
from prunebench.errors import InputError
from prunebench.methods import last_layer
from prunebench.methods.base import EvidenceSpec, ReferenceView, Snapshot, StaticPruner, Subset
from prunebench.methods.keep_k import quotas
from prunebench.methods.moso import last_layer_moso, snapshot_epochs
from prunebench.registry import METHODS
from prunebench.rng import Stream

NAMES = ["craig", "graph-cut", "facility-location", "gradmatch", "glister", "moso"]
BY_CLASS = NAMES[:5]
N, C, D, EPOCHS, WARMUP = 80, 4, 5, 24, 6


@dataclass
class Recorded:
    """Evidence with random outputs, in which labels beyond ``shown`` have no reference sample."""

    need: EvidenceSpec
    labels: Tensor
    shown: int = C
    epochs: int = EPOCHS
    warmup: int = WARMUP
    damaged: tuple[int, ...] = ()

    @property
    def learning_rates(self) -> Tensor:
        return torch.linspace(0.1, 0.0, self.epochs, dtype=torch.float64)

    def snapshot(self, epoch: int, repeat: int = 0) -> Snapshot:
        assert epoch in self.need.snapshots
        rng = torch.Generator().manual_seed(epoch)
        z = 2 * torch.randn(len(self.labels), C, generator=rng)
        h = torch.randn(len(self.labels), D, generator=rng)
        z[list(self.damaged)] = float("nan")
        h[list(self.damaged)] = float("inf")
        return Snapshot(z, h)

    def reference(self, epoch: int) -> ReferenceView:
        assert epoch in self.need.reference
        rng = torch.Generator().manual_seed(99)
        labels = torch.arange(20) % self.shown
        z, h = torch.randn(20, C, generator=rng), torch.randn(20, D, generator=rng)
        z[0] = float("nan")
        return ReferenceView(z, h, labels)


def uneven() -> Tensor:
    """Classes of 40, 25, 14 and 1."""
    sizes = torch.tensor([40, 25, 14, 1])
    shuffle = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    return torch.arange(C).repeat_interleave(sizes)[shuffle]


def kept(
    name: str, k: int, seed: int = 1, evidence: dict[str, Any] | None = None, **params: Any
) -> Subset:
    method = METHODS.get(name).target(**params)
    assert isinstance(method, StaticPruner)
    need = method.needs(EPOCHS, WARMUP)
    recorded = Recorded(need, **{"labels": uneven(), **(evidence or {})})
    return method.keep(recorded, k, Stream(seed))  # type: ignore[arg-type]


def sizes_by_class(subset: Subset) -> list[int]:
    return torch.bincount(uneven()[subset.indices], minlength=C).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_exactly_k_with_the_quotas_of_the_classes(name: str) -> None:
    for k in (0, 1, 37, N):
        subset = kept(name, k)
        indices = subset.indices.tolist()
        assert indices == sorted(set(indices))
        assert len(indices) == k
        assert all(type(value) is int for value in subset.info.values())
        if name in BY_CLASS:
            due = quotas(uneven(), k, Stream(1))
            assert sizes_by_class(subset) == [due[c] for c in range(C)]
    for k in (-1, N + 1):
        with pytest.raises(InputError, match="0 to 80"):
            kept(name, k)


@pytest.mark.parametrize("name", ["craig", "gradmatch"])
def test_weights_follow_their_samples(name: str) -> None:
    subset = kept(name, 40)
    assert subset.weights is not None
    assert subset.weights.dtype == torch.float32
    shot = Recorded(METHODS.get(name).target().needs(EPOCHS, WARMUP), uneven()).snapshot(WARMUP)
    members = (uneven() == 0).nonzero().squeeze(1)
    inside = uneven()[subset.indices] == 0
    picks = [members.tolist().index(i) for i in subset.indices[inside].tolist()]
    r, h = last_layer.residuals(shot.logits[members], uneven()[members]), shot.features[members]
    if name == "craig":
        apart = last_layer.distances(r, h)
        nearest = apart[:, picks].argmin(1)
        assert subset.weights[inside].tolist() == torch.bincount(nearest).tolist()
        assert subset.weights.sum() == N
    else:
        gram = last_layer.gram(r, h)
        matched = gram[:, picks] @ subset.weights[inside].double()
        alone = (gram.mean(1)).norm()
        assert (gram.mean(1) - matched).norm() < 0.2 * alone
        assert subset.info["zero_weights"] == int((subset.weights == 0).sum())


def test_all_picks_of_gradmatch_come_back_where_weights_are_0() -> None:
    subset = kept("gradmatch", 70, target="reference")
    assert len(subset.indices) == 70
    assert subset.info["zero_weights"] > 0


class Sure(Recorded):
    """Outputs so certain of every label that no gradient is left."""

    def snapshot(self, epoch: int, repeat: int = 0) -> Snapshot:
        shot = super().snapshot(epoch, repeat)
        return replace(shot, logits=5000.0 * torch.nn.functional.one_hot(self.labels, C))


def test_gradmatch_weighs_all_alike_where_there_is_nothing_to_match() -> None:
    method = METHODS.get("gradmatch").target()
    evidence = Sure(method.needs(EPOCHS, WARMUP), uneven())
    subset = method.keep(evidence, 40, Stream(1))
    assert subset.info["zero_weights"] == 40 - (uneven()[subset.indices] == 3).sum()
    check_weights(subset.weights, 40, "gradmatch")


@pytest.mark.parametrize("name", NAMES)
def test_samples_without_finite_outputs_survive(name: str) -> None:
    lost = tuple((uneven() == 0).nonzero().flatten()[:3].tolist())
    subset = kept(name, 40, evidence={"damaged": lost})
    assert set(lost) <= set(subset.indices.tolist())
    assert len(subset.indices) == 40
    if subset.weights is not None:
        where = torch.isin(subset.indices, torch.tensor(lost))
        assert bool((subset.weights[where] > 0).all())
        assert bool(subset.weights.isfinite().all())
    everything = kept(name, 40, evidence={"damaged": tuple(range(N))})
    assert len(everything.indices) == 40


def test_glister_reads_the_reference_set_of_the_class_or_all_of_it() -> None:
    assert METHODS.get("glister").target().needs(EPOCHS, WARMUP).reference == (WARMUP,)
    assert METHODS.get("glister").target.clean_data == "the reference set"
    whole, fewer = kept("glister", 40), kept("glister", 40, evidence={"shown": 2})
    assert len(fewer.indices) == 40
    assert whole.indices.tolist() != fewer.indices.tolist()
    method = METHODS.get("glister").target(balance=False)
    over_all = kept("glister", 40, balance=False)
    assert sizes_by_class(over_all) != sizes_by_class(whole)
    empty = Recorded(method.needs(EPOCHS, WARMUP), uneven())
    view = empty.reference(WARMUP)
    empty.reference = lambda epoch: replace(view, logits=view.logits * float("nan"))  # type: ignore
    with pytest.raises(InputError, match="reference set: it is empty"):
        method.keep(empty, 5, Stream(0))


def test_gradmatch_uses_clean_labels_only_with_the_reference_as_target() -> None:
    plain, clean = (METHODS.get("gradmatch").target(**o) for o in ({}, {"target": "reference"}))
    assert (plain.clean_data, clean.clean_data) == ("", "the reference set")
    assert (plain.needs(9, 2).reference, clean.needs(9, 2).reference) == ((), (2,))
    one, two = kept("gradmatch", 30), kept("gradmatch", 30, target="reference")
    assert one.indices.tolist() != two.indices.tolist()


def test_features_can_stand_in_for_gradients() -> None:
    for name in ("graph-cut", "facility-location"):
        ours = kept(name, 30, on="features").indices.tolist()
        assert ours != kept(name, 30).indices.tolist()


def test_large_classes_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_layer, "MAX_SAMPLES", 30)
    for name in BY_CLASS[:4]:
        with pytest.raises(InputError, match=r"all pairs of 40 and 40 .*at most 30 samples"):
            kept(name, 40)
    assert len(kept("glister", 40, balance=False).indices) == 40


def test_moso_adds_up_the_snapshots_of_one_run() -> None:
    assert snapshot_epochs(200, 10) == tuple(range(20, 201, 20))
    assert snapshot_epochs(3, 10) == (1, 2, 3)
    epochs = snapshot_epochs(EPOCHS, 3)
    method = METHODS.get("moso").target(snapshots=3)
    assert method.needs(EPOCHS, WARMUP).snapshots == epochs
    recorded = Recorded(method.needs(EPOCHS, WARMUP), uneven())
    shots = [recorded.snapshot(epoch) for epoch in epochs]
    rates = recorded.learning_rates[torch.tensor(epochs) - 1]
    expected = last_layer_moso(
        torch.stack([s.logits for s in shots]), torch.stack([s.features for s in shots]),
        uneven(), rates,
    )  # fmt: skip
    subset = kept("moso", 40, snapshots=3)
    assert subset.scores is not None
    assert subset.scores.tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    best = expected.argsort(descending=True)[:40].sort().values
    assert subset.indices.tolist() == best.tolist()
    balanced = kept("moso", 40, snapshots=3, balance=True)
    assert sizes_by_class(balanced) != sizes_by_class(subset)
    assert sizes_by_class(balanced)[0] == 20
