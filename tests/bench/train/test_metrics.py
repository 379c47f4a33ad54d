"""The figures of an epoch: exact, and on their way to the host in one transfer."""

import math
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prunebench.bench.train.metrics import (
    CORRUPTED,
    WRONG,
    EpochFigures,
    Mark,
    auroc,
    weight_sums,
)

READS = {"_local_scalar_dense", "item", "nonzero", "_unique2", "masked_select", "equal", "bincount"}


class Reads(TorchDispatchMode):
    """Counts operators whose result the host must know."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        boolean = name == "index" and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        self.found[name] += name in READS or boolean
        return func(*args, **(kwargs or {}))


def scored(n: int, seed: int, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores with ties and some that are not finite, and which samples are positive."""
    g = torch.Generator().manual_seed(seed)
    scores = torch.randint(-levels, levels, (n,), generator=g).float() / 7
    for value in (math.nan, math.inf, -math.inf):
        scores[torch.randint(0, n, (n // 20,), generator=g)] = value
    return scores, torch.rand(n, generator=g) < 0.3


def by_unique(scores: torch.Tensor, positive: torch.Tensor) -> float:
    """The former formula, whose bits are in published records."""
    valid = scores.isfinite()
    scores, positive = scores[valid].double(), positive[valid]
    n_pos = int(positive.sum())
    _, inverse, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    ranks = (ends - (counts.double() - 1) / 2)[inverse]
    total = ranks[positive].sum() - n_pos * (n_pos + 1) / 2
    return float(total / (n_pos * (len(scores) - n_pos)))


@pytest.mark.parametrize("levels", [1, 3, 50, 10**6])
@pytest.mark.parametrize("n", [40, 5001])
def test_auroc_has_the_bits_of_the_former_formula(n, levels):
    for seed in range(5):
        scores, positive = scored(n, seed, levels)
        found, valid = auroc(scores, positive), scores.isfinite()
        assert found == by_unique(scores, positive)
        pairs = scores[valid & positive][:, None] - scores[valid & ~positive]
        above = (pairs > 0).double() + (pairs == 0).double() / 2  # by the definition
        assert found == pytest.approx(float(above.mean()))


def test_auroc_needs_both_sides():
    scores = torch.tensor([1.0, 2.0, math.nan])
    for positive in ([True, True, False], [False, False, True]):
        assert auroc(scores, torch.tensor(positive)) is None
    assert auroc(scores, torch.tensor([False, True, True])) == 1.0


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("with_scores", [True, False])
def test_the_figures_of_an_epoch_are_read_at_once(noisy, with_scores):
    n = 2000
    scores, flipped = scored(n, 1, 40)
    loss, visited = torch.rand(n), torch.randperm(n)[:900]
    with Reads() as reads:
        figures = EpochFigures(
            loss, visited, scores if with_scores else None,
            [Mark(flipped if noisy else None, *WRONG), Mark(~flipped, *CORRUPTED)],
        )  # fmt: skip
    assert +reads.found == Counter()
    assert figures.row() == {
        "kept_fraction": 0.45,
        "train_loss": float(loss[visited].double().mean()),
        "kept_noise_rate": float(flipped[visited].double().mean()) if noisy else None,
        "kept_noise_weight": float(flipped[visited].double().mean()) if noisy else None,
        "score_auroc": by_unique(scores, flipped) if noisy and with_scores else None,
        "kept_corrupted_rate": float((~flipped)[visited].double().mean()),
        "kept_corrupted_weight": float((~flipped)[visited].double().mean()),
        "score_auroc_corrupted": by_unique(scores, ~flipped) if with_scores else None,
    }


def test_loss_weight_on_wrong_labels_is_counted_beside_their_share():
    flipped, visited = torch.tensor([True, False, True, False]), torch.tensor([0, 1, 3])
    weights = torch.tensor([0.5, 2.0, 1.5])
    wrong, none = [Mark(flipped, *WRONG)], [Mark(None, *WRONG)]
    figures = EpochFigures(torch.rand(4), visited, torch.rand(4), wrong, weights).row()
    assert figures["kept_noise_rate"] == pytest.approx(1 / 3)
    assert figures["kept_noise_weight"] == pytest.approx(0.125)
    assert weight_sums(visited, wrong, weights).tolist() == [4.0, 0.5]
    assert weight_sums(visited, none, None).tolist() == [3.0, 0.0]
    nothing = EpochFigures(torch.rand(4), visited, None, wrong, torch.zeros(3)).row()
    assert nothing["kept_noise_weight"] is None


def test_an_epoch_that_trains_nothing_has_no_loss():
    nothing = torch.empty(0, dtype=torch.int64)
    marks = [Mark(torch.ones(4, dtype=torch.bool), *WRONG)]
    row = EpochFigures(torch.rand(4), nothing, None, marks).row()
    assert (row["kept_fraction"], row["train_loss"], row["kept_noise_rate"]) == (0.0, None, None)
