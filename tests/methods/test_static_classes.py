"""Every static method end to end on recorded evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prunebench.errors import InputError, SkipCell
from prunebench.methods.base import EvidenceSpec, Snapshot, StaticPruner, StrongView
from prunebench.registry import METHODS
from prunebench.rng import Stream

NAMES = [
    "random",
    "small-loss",
    "margin",
    "forgetting",
    "grand",
    "el2n",
    "moderate",
    "ssp",
    "prune4rel",
    "dyn-unc",
    "dual",
    "dual-beta",
]
N, C, D, EPOCHS, WARMUP = 90, 5, 7, 40, 6


def generator(*key: int) -> torch.Generator:
    return torch.Generator().manual_seed(hash(key) % 2**31)


@dataclass
class FakeEvidence:
    """Evidence with random content that refuses whatever was not declared."""

    need: EvidenceSpec
    total: int = N
    num_classes: int = C
    epochs: int = EPOCHS
    warmup: int = WARMUP
    labels: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.labels = torch.randint(0, self.num_classes, (self.total,), generator=generator(1))

    def _rows(self, name: str) -> int:
        assert name in self.need.signals
        return self.epochs if self.need.until is None else self.need.until

    @property
    def p_target(self) -> Tensor:
        rows = self._rows("p_target")
        return torch.rand(self.epochs, self.total, generator=generator(2))[:rows]

    @property
    def correct(self) -> Tensor:
        rows = self._rows("correct")
        return torch.rand(self.epochs, self.total, generator=generator(3))[:rows] < 0.5

    @property
    def ssl_features(self) -> Tensor:
        assert self.need.ssl
        return torch.randn(self.total, D, generator=generator(4))

    def snapshot(self, epoch: int, repeat: int = 0) -> Snapshot:
        assert epoch in self.need.snapshots
        assert repeat < self.need.repeats
        g = generator(5, epoch, repeat)
        return Snapshot(
            torch.randn(self.total, self.num_classes, generator=g),
            torch.randn(self.total, D, generator=g),
        )

    def strong(self, epoch: int) -> StrongView:
        assert epoch in self.need.strong
        g = generator(6, epoch)
        return StrongView(
            torch.rand(self.total, generator=g), torch.rand(self.total, D, generator=g)
        )


def pruner(name: str, **params: Any) -> StaticPruner:
    made = METHODS.get(name).target(**params)
    assert isinstance(made, StaticPruner)
    return made


def recorded(method: StaticPruner, **sizes: Any) -> FakeEvidence:
    epochs, warmup = sizes.get("epochs", EPOCHS), sizes.get("warmup", WARMUP)
    return FakeEvidence(method.needs(epochs, warmup), **sizes)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [0, 1, 37, N])
def test_exactly_k_and_reproducible(name: str, k: int) -> None:
    method = pruner(name)
    evidence = recorded(method)
    subset = method.keep(evidence, k, Stream(1))
    assert subset.indices.dtype == torch.int64
    assert subset.indices.tolist() == sorted(set(subset.indices.tolist()))
    assert len(subset.indices) == k
    assert subset.indices.tolist() == pruner(name).keep(evidence, k, Stream(1)).indices.tolist()
    if subset.scores is not None:
        assert subset.scores.shape == (N,)
        assert subset.scores.is_floating_point()
    assert all(isinstance(value, int) for value in subset.info.values())


@pytest.mark.parametrize("name", NAMES)
def test_no_global_generator_is_touched(name: str) -> None:
    method = pruner(name)
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    evidence = recorded(method)
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    method.keep(evidence, 40, Stream(2))
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(legacy, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("dual-beta", "forgetting")])
def test_nested_in_k(name: str) -> None:
    method = pruner(name)
    evidence = recorded(method)
    sets = [set(method.keep(evidence, k, Stream(4)).indices.tolist()) for k in range(0, N, 11)]
    assert all(small <= large for small, large in pairwise(sets))


@pytest.mark.parametrize("name", NAMES)
def test_short_recipes_work(name: str) -> None:
    method = pruner(name)
    evidence = recorded(method, epochs=5, warmup=2, total=12, num_classes=3)
    assert len(method.keep(evidence, 6, Stream(1)).indices) == 6


@pytest.mark.parametrize("name", NAMES)
def test_cards_and_search_spaces_hold_together(name: str) -> None:
    cls = METHODS.get(name).target
    assert cls.card.title
    assert cls.card.side
    assert name == "random" or (cls.card.paper and cls.card.cost != "none")
    for option, table in cls.options.items():
        for value in table.search or ():
            if table.type is float and isinstance(value, int):
                value = float(value)
            pruner(name, **{option: value})


def test_scores_decide_the_side_that_is_kept() -> None:
    for name, side in (("small-loss", "low"), ("margin", "low"), ("grand", "high")):
        method = pruner(name)
        subset = method.keep(recorded(method), 30, Stream(1))
        assert subset.scores is not None
        order = subset.scores.argsort(descending=side == "high")
        assert sorted(order[:30].tolist()) == subset.indices.tolist()


def test_forgetting_is_balanced_by_default() -> None:
    method = pruner("forgetting")
    evidence = recorded(method)
    subset = method.keep(evidence, 45, Stream(1))
    for cls in range(C):
        size = int((evidence.labels == cls).sum())
        assert abs(int((evidence.labels[subset.indices] == cls).sum()) - size / 2) < 1
    assert subset.info["tied_at_cut"] > 0
    whole = pruner("forgetting", balance=False).keep(evidence, 45, Stream(1))
    assert whole.scores is not None
    kept, dropped = whole.scores[whole.indices].min(), whole.scores.sort().values[N - 45]
    assert kept == dropped


def test_repeats_are_averaged() -> None:
    for name in ("grand", "el2n"):
        method = pruner(name, repeats=3)
        assert method.needs(EPOCHS, WARMUP).repeats == 3
        mean = method.keep(recorded(method), 10, Stream(1)).scores
        once = pruner(name).keep(recorded(method), 10, Stream(1)).scores
        assert mean is not None
        assert once is not None
        assert not torch.allclose(mean, once)


def test_ssp_sides_are_opposite_and_find_clusters() -> None:
    hard, easy = pruner("ssp"), pruner("ssp", side="easy")
    evidence = recorded(hard)
    one = hard.keep(evidence, 45, Stream(1)).indices.tolist()
    two = easy.keep(evidence, 45, Stream(1)).indices.tolist()
    assert sorted(one + two) == list(range(N))
    scores = hard.keep(evidence, 45, Stream(1)).scores
    assert scores is not None
    assert scores.max() < 1.5  # nearer to the own centre than to an opposite point


def test_dyn_unc_variants_differ() -> None:
    every, fewer = pruner("dyn-unc"), pruner("dyn-unc", windows="drop_last")
    evidence = recorded(every)
    a, b = (m.keep(evidence, 45, Stream(1)).scores for m in (every, fewer))
    assert a is not None
    assert b is not None
    assert not torch.equal(a, b)


def test_dual_reads_its_first_epochs_only() -> None:
    for name in ("dual", "dual-beta"):
        assert pruner(name).needs(200, 10).until == 30
        assert pruner(name, epochs=60, window=5).needs(200, 10).until == 60


def test_dual_beta_draws_afresh_and_prefers_high_weights() -> None:
    method = pruner("dual-beta")
    evidence = recorded(method)
    runs = [method.keep(evidence, 30, Stream(key)).indices for key in range(40)]
    assert len({tuple(run.tolist()) for run in runs}) > 30
    assert method.randomised


def test_dual_beta_fills_up_from_the_highest_scores() -> None:
    method = pruner("dual-beta")
    evidence = recorded(method)

    class Constant(FakeEvidence):
        @property
        def p_target(self) -> Tensor:
            p = super().p_target.clone()
            p[:, 20:] = 0.5  # no spread: score and weight are 0
            return p

    frozen = Constant(evidence.need)
    subset = method.keep(frozen, 50, Stream(1))
    assert len(subset.indices) == 50
    assert set(range(20)) <= set(subset.indices.tolist())
    assert subset.info == {"tied_at_cut": 70, "filled": 30}


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("forgetting", {"epochs": 41}),
        ("dyn-unc", {"window": 41}),
        ("dyn-unc", {"window": 40, "windows": "drop_last"}),
        ("dual", {"epochs": 41}),
        ("dual", {"epochs": 8}),
    ],
)
def test_options_that_do_not_fit_the_recipe_are_refused(
    name: str, params: Mapping[str, Any]
) -> None:
    with pytest.raises(InputError):
        pruner(name, **params).needs(EPOCHS, WARMUP)


def test_a_spread_needs_two_epochs() -> None:
    for name in ("dyn-unc", "dual"):
        with pytest.raises(SkipCell):
            pruner(name).needs(1, 1)


def test_undefined_scores_survive_in_every_ranking_method() -> None:
    class Damaged(FakeEvidence):
        def snapshot(self, epoch: int, repeat: int = 0) -> Snapshot:
            shot = super().snapshot(epoch, repeat)
            shot.logits[3], shot.features[3] = float("nan"), float("nan")
            return shot

        @property
        def p_target(self) -> Tensor:
            p = super().p_target.clone()
            p[0, 3] = float("nan")
            return p

    for name in ("small-loss", "margin", "grand", "el2n", "moderate", "dyn-unc", "dual-beta"):
        method = pruner(name)
        evidence = Damaged(method.needs(EPOCHS, WARMUP))
        assert 3 in method.keep(evidence, 2, Stream(1)).indices.tolist(), name
