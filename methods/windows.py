"""Means and standard deviations of all windows of a trajectory, in O(E N)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from prunebench.errors import InputError, SkipCell

#: Elements per operation: stays in cache, and below the 32,768 from which torch starts threads,
#: which stall each other on a busy machine.
_TILE = 1 << 14


def window_length(epochs: int, window: int | None) -> int:
    """The window J for a run of E epochs: as given, else min(10, E // 3) and at least 2.

    Raises:
        SkipCell: One epoch has no spread.
    """
    if epochs < 2:
        raise SkipCell("the spread over epochs needs at least 2 epochs")
    return max(2, min(10, epochs // 3)) if window is None else window


def check_window(epochs: int, window: int) -> None:
    """Raises InputError unless 2 <= window <= epochs."""
    if not 2 <= window <= epochs:
        raise InputError(
            f"a window of {window} epochs does not fit {epochs} recorded epochs",
            where="window",
            accepted=f"2 to {epochs}" if epochs >= 2 else "at least 2 recorded epochs",
        )


def window_moments(p: Tensor, window: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Mean and standard deviation (ddof 1) of every run of J consecutive rows.

    Rows are cut into blocks of J. A window is the end of one block and the start of the next, so
    its moments follow by merging a suffix with a prefix (Chan, Golub and LeVeque 1983). Sums of
    squares only ever grow, so that nothing cancels however close the values are to each other.

    Args:
        p: [E, N], any float dtype.
        window: J, 2..E.

    Yields:
        Columns, means and standard deviations, the latter two float64 [windows, columns] for
        some of the E-J+1 windows; together every window of every column once.

    Raises:
        InputError: The window does not fit.
    """
    p = p.detach()
    epochs, total = p.shape
    check_window(epochs, window)
    blocks = -(-epochs // window)
    width = max(64, _TILE // blocks)
    for start in range(0, total, width):
        columns = slice(start, min(start + width, total))
        rows = p.new_empty((blocks, window, columns.stop - start), dtype=torch.float64)
        for block, part in zip(rows, torch.split(p[:, columns], window), strict=True):
            block[: len(part)], block[len(part) :] = part, 0.0
        for mean, spread in _merged(rows, epochs - window + 1):
            yield columns, mean, _root(spread.div_(window - 1))


def _root(x: Tensor) -> Tensor:
    """Square root in place; for float64 on CPUs torch calls a library that is far slower."""
    if x.device.type == "cpu":
        np.sqrt(x.numpy(), out=x.numpy())
        return x
    return x.sqrt_()


def _merged(x: Tensor, windows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Mean and centred sum of squares of the windows that begin at offset 0, 1, .. of a block."""
    length = x.shape[1]
    mean, spread = x[:, -1], torch.zeros_like(x[:, -1])
    suffixes = [(mean, spread)]
    for size in range(2, length + 1):
        mean, spread = _extend(mean, spread, x[:, -size], size)
        suffixes.append((mean, spread))
    yield mean[: -(-windows // length)], spread[: -(-windows // length)]
    head, grown = x[1:, 0], torch.zeros_like(x[1:, 0])
    for offset in range(1, min(length, windows)):
        if offset > 1:
            head, grown = _extend(head, grown, x[1:, offset - 1], offset)
        count = -(-(windows - offset) // length)
        mean, spread = (part[:count] for part in suffixes[length - offset - 1])
        gap = head[:count] - mean
        weight = offset * (length - offset) / length
        yield (
            torch.add(mean, gap, alpha=offset / length),
            (spread + grown[:count]).addcmul_(gap, gap, value=weight),
        )


def _extend(mean: Tensor, spread: Tensor, row: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Welford's update: moments of ``size`` rows from those of one row fewer."""
    gap = row - mean
    return (
        torch.add(mean, gap, alpha=1 / size),
        torch.addcmul(spread, gap, gap, value=(size - 1) / size),
    )
