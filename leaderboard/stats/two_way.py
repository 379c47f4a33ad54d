"""How much of the spread of a two-way table its rows, its columns and both together explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from prunebench.leaderboard.stats.exact import Vector, mean, numbers, squares

#: Values [I][J][K] of I rows, J columns and K blocks.
_Cube = Sequence[Sequence[Sequence[Fraction]]]
#: Shares of rows, columns, interaction and noise.
_Parts = tuple[Fraction, Fraction, Fraction, Fraction]


@dataclass(frozen=True)
class VarianceShare:
    """A share of the variance between cells.

    Attributes:
        value: Estimate, whose expectation holds no noise; below 0 by chance where there is no
            effect.
        low, high: Least and greatest estimate with one block left out; None below three blocks.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class TwoWay:
    """Parts of the variance between the cells of a two-way table of means; they sum to 1.

    Attributes:
        rows, columns, interaction: What each explains, less what noise adds to it.
        noise: What the noise of the means would give alone.
        blocks: Blocks K.
    """

    rows: VarianceShare
    columns: VarianceShare
    interaction: VarianceShare
    noise: VarianceShare
    blocks: int


def two_way(values: Sequence[Sequence[Vector]]) -> TwoWay | None:
    """Splits the variance between the cell means of I rows x J columns x K blocks.

    The model is a fixed-effects analysis in blocks: y = row + column + row:column + block + error.
    The sums of squares of rows, columns and interaction are those of the cell means; each is
    lessened by its degrees of freedom times MS / K, with the mean square MS of the error on
    (IJ - 1)(K - 1) degrees of freedom.

    Args:
        values: [I][J][K], block k the same in every cell.

    Returns:
        The parts, or None where all cell means are equal or are with a block left out.

    Raises:
        ValueError: Fewer than two rows, columns or blocks, cells of several sizes, or values that
            are not finite.
    """
    cube = [[numbers(cell) for cell in row] for row in values]
    sizes = {len(cell) for row in cube for cell in row}
    if len(cube) < 2 or len({len(row) for row in cube}) != 1 or len(cube[0]) < 2:
        raise ValueError("expected a table of at least 2 rows and 2 columns")
    if len(sizes) != 1 or (k := sizes.pop()) < 2:
        raise ValueError("expected the same blocks in every cell, at least 2")
    whole = _parts(cube)
    left = [_parts([[[*cell[:out], *cell[out + 1 :]] for cell in row] for row in cube])
            for out in range(k)] if k > 2 else []  # fmt: skip
    known = [parts for parts in left if parts is not None]
    if whole is None or len(known) < len(left):
        return None

    def share(place: int) -> VarianceShare:
        values = [float(parts[place]) for parts in known]
        low, high = (min(values), max(values)) if values else (None, None)
        return VarianceShare(float(whole[place]), low, high)

    return TwoWay(share(0), share(1), share(2), share(3), k)


def _parts(cube: _Cube) -> _Parts | None:
    """Shares of rows, columns, interaction and noise; None where all cell means are equal."""
    i, j, k = len(cube), len(cube[0]), len(cube[0][0])
    cells = [[mean(cell) for cell in row] for row in cube]
    rows = [mean(row) for row in cells]
    columns = [mean(column) for column in zip(*cells, strict=True)]
    blocks = [mean([cell[b] for row in cube for cell in row]) for b in range(k)]
    by_row, by_column = j * squares(rows), i * squares(columns)
    total = squares([cell for row in cells for cell in row])
    if not total:
        return None
    error = squares([
        value - cells[r][c] - blocks[b]
        for r, row in enumerate(cube) for c, cell in enumerate(row) for b, value in enumerate(cell)
    ])  # fmt: skip
    unit = error / ((i * j - 1) * (k - 1) * k)  # expected share of noise per degree of freedom
    return (
        (by_row - (i - 1) * unit) / total,
        (by_column - (j - 1) * unit) / total,
        (total - by_row - by_column - (i - 1) * (j - 1) * unit) / total,
        (i * j - 1) * unit / total,
    )
