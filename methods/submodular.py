"""Greedy maximisation of facility location and graph cut over a similarity matrix, exactly."""

from __future__ import annotations

import heapq
import math

import numpy as np
import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.feature_space import Floats, Ints, tie_order
from prunebench.methods.keep_k import check_count
from prunebench.progress import counted
from prunebench.rng import Stream

__all__ = ["cluster_sizes", "facility_location_order", "graph_cut_order"]


def facility_location_order(similarity: Tensor, k: int, rng: Stream | None = None) -> Tensor:
    """Greedy picks for F(S) = sum_i max(0, max_{j in S} s_ij).

    A gain only falls as S grows, so one from an earlier step is an upper bound: a heap of them
    finds the best pick with few recomputed (Minoux). Entries are first rounded to a grid on which
    sums of n of them are exact, so that samples which serve each other equally, such as two that
    are each other's only neighbours, tie on every processor.

    Args:
        similarity: [n, n], finite; row i says how well each j serves i.
        k: Number of picks, 0..n.
        rng: Among equal gains, which are usual here, those that serve all samples better
            go first, and the stream decides between equals; None: the lowest index.

    Returns:
        int64 [k] in pick order, nested in k.

    Raises:
        InputError: k or the matrix is not accepted.
    """
    columns = _columns_on_a_grid(similarity)
    check_count(k, len(columns))
    best, held = np.zeros(len(columns)), 0.0
    after = np.empty_like(best)
    gains = [float(np.maximum(column, 0.0, out=after).sum()) for column in columns]
    keys = tie_order(len(columns), rng)
    if rng is not None:
        keys[np.lexsort((keys, np.negative(gains)))] = np.arange(len(columns))
    heap = [(-gain, key, j) for j, (gain, key) in enumerate(zip(gains, keys, strict=True))]
    heapq.heapify(heap)
    evaluated = [0] * len(columns)
    picks: list[int] = []
    for step in counted(range(k)):
        while evaluated[heap[0][2]] != step:
            _, key, j = heap[0]
            gain = float(np.maximum(best, columns[j], out=after).sum()) - held
            evaluated[j] = step
            heapq.heapreplace(heap, (-gain, key, j))
        bound, _, pick = heapq.heappop(heap)
        np.maximum(best, columns[pick], out=best)
        held -= bound
        picks.append(pick)
    return torch.tensor(picks, dtype=torch.int64, device=similarity.device)


def graph_cut_order(
    similarity: Tensor, k: int, lam: float = 1.0, rng: Stream | None = None
) -> Tensor:
    """Greedy picks by the gain lam sum_i s_ij - 2 sum_{i in S} s_ij (DeepCore, without self term).

    Args:
        similarity: [n, n], finite, symmetric.
        k: Number of picks, 0..n.
        lam: Weight of being similar to all samples, against being similar to those picked.
        rng: Order among equal gains; None: the lowest index.

    Returns:
        int64 [k] in pick order, nested in k.

    Raises:
        InputError: k, ``lam`` or the matrix is not accepted.
    """
    if not math.isfinite(lam):
        raise InputError(f"{lam!r} is not accepted", where="lam", accepted="a finite number")
    columns = _columns_on_a_grid(similarity)
    check_count(k, len(columns))
    keys = tie_order(len(columns), rng)
    gains = lam * columns.sum(1)
    picks = np.empty(k, dtype=np.int64)
    for step in counted(range(k)):
        pick = first_of_equals(gains, keys)
        picks[step] = pick
        gains -= 2 * columns[pick]
        gains[pick] = -np.inf
    return torch.from_numpy(picks).to(similarity.device)


def cluster_sizes(similarity: Tensor, selected: Tensor) -> Tensor:
    """For each selected sample, how many samples it serves best; the first of equals counts.

    Args:
        similarity: [n, n].
        selected: int64 [k >= 1], each once.

    Returns:
        int64 [k]; they sum to n. 0 for a pick that a twin before it replaces.

    Raises:
        InputError: Nothing is selected.
    """
    if not len(selected):
        raise InputError("nothing is selected", where="selected", accepted="at least one sample")
    values = similarity.detach().cpu().numpy()
    chosen = selected.cpu().numpy()
    sizes = np.zeros(len(chosen), dtype=np.int64)
    for start in range(0, len(values), 512):
        nearest = values[start : start + 512, chosen].argmax(1)
        sizes += np.bincount(nearest, minlength=len(chosen))
    return torch.from_numpy(sizes).to(selected.device)


def first_of_equals(values: Floats, keys: Ints) -> int:
    """Index of the largest value; of equal ones that of the smallest key."""
    best = int(values.argmax())
    equal = np.flatnonzero(values == values[best])
    return best if len(equal) < 2 else int(equal[keys[equal].argmin()])


def _columns_on_a_grid(similarity: Tensor) -> Floats:
    """Columns of the matrix as rows, float64, rounded so that sums of 4 n entries are exact.

    The grid is 2^-52 of a bound on those sums, finer than the rounding of the entries themselves.
    """
    total = len(similarity)
    if similarity.dim() != 2 or similarity.shape[1] != total:
        shape = " x ".join(str(size) for size in similarity.shape)
        raise InputError(f"shape {shape}", where="similarity", accepted="a square matrix")
    columns = np.array(similarity.detach().cpu().numpy().T, dtype=np.float64, order="C")
    peak = max(columns.max(initial=0.0), -columns.min(initial=0.0))
    if not math.isfinite(peak):
        raise InputError("a value is not finite", where="similarity", accepted="finite numbers")
    if peak > 0:
        step = 2.0 ** (math.frexp(4 * total * peak)[1] - 52)
        columns /= step
        np.rint(columns, out=columns)
        columns *= step
    return columns
