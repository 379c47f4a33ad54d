"""What greedy choices among feature vectors share: float64 rows, inner products, ties, classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.interfaces import Subset
from prunebench.methods.keep_k import check_count, quotas, real
from prunebench.progress import counted
from prunebench.rng import Stream

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Samples up to which all inner products are held at once (8 n^2 bytes: 1.2 GB).
_HELD = 12_000
#: Rounding of an inner product of a few hundred terms, relative to the lengths multiplied.
_ROUNDING = 2.0**-44


def float64_rows(features: Tensor) -> Floats:
    """A float64 copy of [n, D].

    Raises:
        InputError: Not a matrix, or a value is not finite.
    """
    if features.ndim != 2:
        raise InputError(
            f"features of shape {tuple(features.shape)}", where="features", accepted="[n, D]"
        )
    rows = real(features.detach().cpu()).numpy().astype(np.float64)
    finite = np.isfinite(rows).all(1)
    if not finite.all():
        raise InputError(
            f"row {int(finite.argmin())} is not finite", where="features", accepted="finite numbers"
        )
    return rows


def float64_vector(values: Tensor, length: int, where: str) -> Floats:
    """A float64 copy of [length].

    Raises:
        InputError: Another shape, or a value is not finite.
    """
    copy = real(values.detach().cpu()).numpy().astype(np.float64)
    if copy.shape != (length,):
        raise InputError(f"shape {copy.shape}", where=where, accepted=f"[{length}]")
    if not np.isfinite(copy).all():
        raise InputError("a value is not finite", where=where, accepted="finite numbers")
    return copy


def tie_order(total: int, rng: Stream | None) -> Ints:
    """The order in which equal samples are preferred: by index, or drawn from a stream."""
    order = torch.arange(total) if rng is None else rng.child("ties").permutation(total)
    return order.numpy()


class InnerProducts:
    """Inner products of the rows of a matrix with all rows, one row of them at a time.

    Args:
        rows: float64 [n, D], centred: products of rows far from the origin cancel.
    """

    def __init__(self, rows: Floats) -> None:
        self.rows = rows
        self.squares: Floats = np.einsum("nd,nd->n", rows, rows)
        self.held = rows @ rows.T if len(rows) <= _HELD else None

    def of(self, sample: int) -> Floats:
        """float64 [n]; not to be written to."""
        row: Floats = self.rows @ self.rows[sample] if self.held is None else self.held[sample]
        return row


def first_of_best(gain: Floats, size: Floats) -> int:
    """Index of the greatest gain, the first of those equal up to rounding.

    Gains that are sums of inner products of equal samples differ in their last digits, which
    depend on the processor.

    Args:
        gain: [n]; -inf where a sample is taken.
        size: [n], >= 0: magnitude of the terms that each gain is the sum of.
    """
    best = int(gain.argmax())
    near = gain >= gain[best] - _ROUNDING * (size + size[best])
    return int(near.argmax())


def choose(
    features: Tensor,
    labels: Tensor | None,
    k: int,
    rng: Stream,
    order: Callable[[Tensor, int, Stream], Tensor],
) -> Subset:
    """Keeps the first picks of an order, within every class or over all samples.

    Rows that are not finite survive, as undefined scores do: they come first in their class. A
    class of which all samples are kept is not ordered.

    Args:
        features: [N, D].
        labels: int64 [N], noisy: sizes by class are those of ``keep_k.quotas``. None: no classes.
        k: 0..N.
        rng: Stream of the sizes and, by a child for each class, of the orders.
        order: Takes finite features [n, D], how many to pick and a stream; gives picks int64.

    Returns:
        k indices, ascending, and how many rows are not finite.
    """
    check_count(k, len(features))
    finite = features.isfinite().all(1)
    groups = torch.zeros_like(finite, dtype=torch.int64) if labels is None else labels
    sizes = quotas(groups, k, rng)
    parts = [groups.new_empty(0)]
    for group, size in counted(sizes.items(), len(sizes)):
        members = (groups == group).nonzero().squeeze(1)
        kept = members
        if size < len(members):
            own = rng.child("class", group)
            lost, known = members[~finite[members]], members[finite[members]]
            survive = lost[own.child("undefined").sample(len(lost), min(size, len(lost)))]
            picks = order(features[known], size - len(survive), own)
            kept = torch.cat([survive, known[picks]])
        parts.append(kept)
    indices = torch.cat(parts).sort().values
    return Subset(indices, None, {"not_finite": int((~finite).sum())})
