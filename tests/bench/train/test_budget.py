"""The clock: exact targets, annealing, batches."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.bench.train.budget import Clock, batch_bounds, selected_counts
from prunebench.errors import SkipCell
from prunebench.methods.base import kept_count, pruning_epochs


@pytest.mark.parametrize(
    ("total", "ratio", "kept"),
    [(10, 0.7, 3), (5, 0.5, 2), (7, 0.5, 4), (50_000, 0.9, 5_000), (1_281_167, 0.5, 640_584),
     (10, 0.0, 10), (1, 0.5, 0)],
)  # fmt: skip
def test_kept_count_is_round_half_even_without_float_error(total, ratio, kept):
    assert kept_count(total, ratio) == kept


def test_paper_epochs():
    """AlignPrune's 200 epochs at q = .2877 and .3294 (Tables 3 and F)."""
    for share, expected in ((0.2877, (197, 140, 84)), (0.3294, (209, 149, 89))):
        for ratio, epochs in zip((0.3, 0.5, 0.7), expected, strict=True):
            assert Clock(40_000, 200, ratio, "paper", share).epochs == epochs
    assert Clock(40_000, 200, 0.5, "paper", 0.5).epochs == 200
    assert Clock(40_000, 200, 0.5, "epochs").epochs == 200


@pytest.mark.parametrize("delta", [0.875, 0.5, 0.29, 0.7, 1.0, 0.0])
def test_fixed_epochs_anneal_after_the_floor(delta):
    for total in range(1, 301):
        clock = Clock(100, total, 0.0, "epochs")
        pruning = [e for e in range(total) if not clock.progress(e, 0).annealing(delta)]
        assert len(pruning) == int(Fraction(str(delta)) * total)
        assert len(pruning) == pruning_epochs(total, delta)
        assert pruning == list(range(len(pruning)))


@given(st.integers(20, 300), st.floats(0.3, 0.95), st.floats(0.35, 1.0))
def test_sample_budgets_anneal_for_the_last_share_of_their_epochs(epochs, delta, kept):
    """Pruning epochs cost a share of N, annealing ones N; annealing fills the last (1 - delta)
    of the epochs and never stops once it has begun."""
    delta = round(delta, 3)
    n = 1000
    clock = Clock(n, epochs, 0.5)
    trained, epoch, annealing = 0, 0, []
    while not clock.finished(epoch, trained):
        annealing.append(clock.progress(epoch, trained).annealing(delta))
        trained += min(n if annealing[-1] else int(n * kept), clock.target - trained)
        epoch += 1
    assert trained == clock.target
    start = annealing.index(True) if True in annealing else epoch
    assert all(annealing[start:])
    assert start == pytest.approx(delta * epoch, abs=2)


def test_unreachable_budget_is_skipped():
    clock = Clock(100, 10, 0.5)
    assert not clock.finished(29, 0)
    with pytest.raises(SkipCell, match="budget unreachable"):
        clock.finished(30, 499)
    assert clock.finished(30, 500)


@given(st.integers(1, 2000), st.integers(2, 300))
def test_batches_cover_everything_and_none_is_single(n, size):
    bounds = batch_bounds(n, size)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == n
    assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))
    assert all(stop - start <= size + 1 for start, stop in bounds)
    if n > 1:
        assert all(stop - start > 1 for start, stop in bounds)


@given(st.integers(1, 500), st.sampled_from([0.3, 0.5, 0.7, 0.9]), st.integers(1, 400))
def test_selected_counts_never_pass_the_room(n, ratio, room):
    chosen = selected_counts(batch_bounds(n, 32), ratio, room)
    assert sum(k for _, _, k in chosen) <= room
    assert all(1 <= k <= stop - start for start, stop, k in chosen)
    free = selected_counts(batch_bounds(128, 128), ratio, None)
    assert free == [(0, 128, int((1 - Fraction(str(ratio))) * 128))]
