"""Two-way shares against least squares, and what noise alone gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from prunebench.leaderboard.stats import two_way


def least_squares(y: np.ndarray) -> tuple[float, float, float, float]:
    """Shares of nested models with blocks, by numpy's solver."""
    i, j, k = y.shape
    a, b, s = (axis.ravel() for axis in np.indices(y.shape))

    def rest(*factors: np.ndarray) -> float:
        columns = [np.ones(y.size)] + [f == level for f in factors for level in set(f.tolist())]
        design = np.stack(columns, 1).astype(float)
        fit = design @ np.linalg.lstsq(design, y.ravel(), rcond=None)[0]
        return float(((y.ravel() - fit) ** 2).sum())

    nothing, error = rest(s), rest(a * j + b, s)
    unit = error / ((i * j - 1) * (k - 1))
    rows, columns = nothing - rest(a, s), nothing - rest(b, s)
    both = rest(a, b, s) - error
    total = rows + columns + both
    degrees = (i - 1, j - 1, (i - 1) * (j - 1))
    parts = [(x - d * unit) / total for x, d in zip((rows, columns, both), degrees, strict=True)]
    return (*parts, (i * j - 1) * unit / total)  # type: ignore[return-value]


def test_shares_are_those_of_least_squares_and_sum_to_one() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=(4, 1, 1)) * 3 + rng.normal(size=(1, 3, 1)) + rng.normal(size=(4, 3, 5))
    found = two_way(y.tolist())
    assert found is not None
    shares = (found.rows, found.columns, found.interaction, found.noise)
    assert [share.value for share in shares] == pytest.approx(least_squares(y), abs=1e-9)
    assert sum(share.value for share in shares) == pytest.approx(1)
    left = [least_squares(np.delete(y, out, 2)) for out in range(5)]
    for place, share in enumerate(shares):
        values = [parts[place] for parts in left]
        assert (share.low, share.high) == pytest.approx((min(values), max(values)), abs=1e-9)


def test_a_block_that_moves_all_cells_moves_nothing() -> None:
    hits = [[[300, 310, 290], [320, 329, 313]], [[340, 352, 331], [400, 411, 391]]]
    values = [[[x / 450 for x in cell] for cell in row] for row in hits]
    moved = [[[(x + d) / 450 for x, d in zip(cell, (0, 31, -17), strict=True)] for cell in row]
             for row in hits]  # fmt: skip
    assert two_way(values) == two_way(moved)


def test_without_effects_the_parts_are_zero_on_average() -> None:
    rng = np.random.default_rng(7)
    means = np.zeros(4)
    for _ in range(60):
        found = two_way(np.round(rng.normal(80, 2, (3, 3, 4)), 1).tolist())
        assert found is not None
        shares = (found.rows, found.columns, found.interaction, found.noise)
        means += np.array([share.value for share in shares]) / 60
    assert means == pytest.approx([0, 0, 0, 1], abs=0.15)


def test_equal_means_and_two_seeds() -> None:
    assert two_way([[[1.0, 3.0], [2.0, 2.0]], [[2.0, 2.0], [3.0, 1.0]]]) is None
    found = two_way([[[1.0, 3.0], [2.0, 2.0]], [[4.0, 2.0], [3.0, 1.0]]])
    assert found is not None
    assert (found.rows.low, found.rows.high, found.blocks) == (None, None, 2)


@pytest.mark.parametrize(
    "values",
    [[[[1.0, 2.0], [1.0, 2.0]]], [[[1.0, 2.0]], [[1.0, 2.0]]], [[[1.0], [2.0]], [[1.0], [3.0]]],
     [[[1.0, 2.0], [1.0]], [[1.0, 2.0], [3.0, 4.0]]]],
    ids=["one row", "one column", "one block", "a gap"],
)  # fmt: skip
def test_tables_that_are_too_small_are_refused(values: list[list[list[float]]]) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        two_way(values)


def test_order_of_rows_and_columns_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    y = rng.integers(0, 450, (3, 3, 3)) / 450
    first = two_way(y.tolist())
    for rows, columns in itertools.product(itertools.permutations(range(3)), repeat=2):
        assert two_way(y[list(rows)][:, list(columns)].tolist()) == first
