"""Who is near whom: cosine neighbourhoods for Prune4ReL, as a sparse graph or row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import scipy.sparse as sp

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Who = NDArray[np.integer] | slice
Likely = Callable[[int, Bools], Ints]

#: Edges (both directions) that the sparse graph may hold: 12 bytes each, thrice that at the peak.
MAX_EDGES = 40_000_000
_TILE = 256  # rows per matrix product
_CACHE_BYTES = 1 << 29
_GRID = 2.0**32


class Neighbours(Protocol):
    """The neighbours of one sample at a time."""

    def of(self, sample: int, likely: Likely) -> tuple[Who, Floats]:
        """Neighbours of ``sample`` and their similarities; with or without the sample itself.

        Args:
            sample: 0..N-1.
            likely: Called with a number and a mask [N], gives about so many samples of the mask
                that may be asked for soon.

        Returns:
            Indices, or a slice for all N, and the similarities [n]; 0 marks a sample that is none.
        """


def unit_rows(features: NDArray[np.floating]) -> Floats:
    """Rows scaled to unit length, float64 [N, D]; zero and non-finite rows become zero."""
    x = features.astype(np.float64)
    x[~np.isfinite(x).all(1)] = 0.0
    peak = np.abs(x).max(1, initial=0.0)
    x /= np.where(peak > 0, peak, 1.0)[:, None]  # squares of tiny or huge values stay in range
    length = np.sqrt(np.einsum("nd,nd->n", x, x))
    x /= np.where(length > 0, length, 1.0)[:, None]
    return x


def similarity(cosine: Floats) -> Floats:
    """0.5 + 0.5 cos on a grid of 2^-32, in place.

    Matrix products differ in the last bits with the shape of their operands. The grid hides that,
    so that duplicates tie exactly and every route and thread count gives the same picks.
    """
    s = np.multiply(cosine, 0.5, out=cosine)
    s += 0.5
    s *= _GRID
    np.rint(s, out=s)
    s /= _GRID
    return np.clip(s, 0.0, 1.0, out=s)


class Graph:
    """All neighbour lists, built once from the upper triangle, tile by tile."""

    def __init__(self, upper: sp.coo_matrix) -> None:
        half = upper.tocsr()
        both = half + half.T
        self._start, self._who, self._value = both.indptr, both.indices, both.data

    @classmethod
    def build(cls, unit: Floats, tau: float, max_edges: int) -> Graph | None:
        """The graph, or None as soon as it is known to exceed ``max_edges``."""
        import scipy.sparse as sp  # every process imports this module, few need a graph

        total = len(unit)
        sample = unit[:: max(1, total // 512)][:512]
        pairs = np.count_nonzero(_above(sample @ sample.T, tau)) - len(sample)
        if pairs / len(sample) ** 2 * total**2 > 2 * max_edges:
            return None
        directed = _directed(unit)
        rows, columns, values, edges = [], [], [], 0
        for start in range(0, total, _TILE):
            cosine = unit[start : start + _TILE] @ unit[start:].T
            flat = np.flatnonzero(_above(cosine, tau))
            row, column = np.divmod(flat, cosine.shape[1])
            later = (column > row) & directed[start + row] & directed[start + column]
            value = similarity(cosine.ravel()[flat[later]])
            strict = value > tau
            rows.append((row[later][strict] + start).astype(np.int32))
            columns.append((column[later][strict] + start).astype(np.int32))
            values.append(value[strict])
            edges += 2 * len(values[-1])
            if edges > max_edges:
                return None
        parts = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return cls(sp.coo_matrix(parts, shape=(total, total)))

    def of(self, sample: int, likely: Likely) -> tuple[Who, Floats]:
        """A slice of the stored lists, without the sample itself."""
        row = slice(self._start[sample], self._start[sample + 1])
        return self._who[row], self._value[row]


class Rows:
    """Neighbours computed when asked for, together with those of samples likely to be next.

    One product of many rows costs far less than as many products of one row, which only move
    memory. Rows that are asked for too late have left the cache and are computed again.
    """

    def __init__(self, unit: Floats, tau: float, batch: int = 16) -> None:
        total = max(len(unit), 1)
        self._unit, self._tau, self._directed = unit, tau, _directed(unit)
        self._batch = max(1, min(batch, total, _CACHE_BYTES // (8 * total)))
        size = max(self._batch, min(total, _CACHE_BYTES // (8 * total)))
        self._rows = np.zeros((size, total))
        self._holds = np.full(size, -1)
        self._place = np.full(total, -1)
        self._next = 0

    def of(self, sample: int, likely: Likely) -> tuple[Who, Floats]:
        """A row of the similarity matrix, from the cache or computed with a batch of others."""
        if self._place[sample] < 0:
            others = likely(self._batch, self._place < 0)
            self._compute(np.append(others[others != sample][: self._batch - 1], sample))
        return slice(None), self._rows[self._place[sample]]

    def _compute(self, samples: Ints) -> None:
        if self._next + len(samples) > len(self._rows):
            self._next = 0
        places = np.arange(self._next, self._next + len(samples))
        self._next += len(samples)
        evicted = self._holds[places]
        self._place[evicted[evicted >= 0]] = -1
        block = self._rows[places[0] : self._next]
        np.matmul(self._unit[samples], self._unit.T, out=block)
        similarity(block)
        block *= block > self._tau
        if not self._directed.all():
            block[:, ~self._directed] = 0.0
            block[~self._directed[samples]] = 0.0
        self._holds[places], self._place[samples] = samples, places


def _directed(unit: Floats) -> Bools:
    """Rows that are not zero; the others have no direction and so no neighbours."""
    directed: Bools = np.einsum("nd,nd->n", unit, unit) > 0
    return directed


def _above(cosine: Floats, tau: float) -> Bools:
    """Entries whose similarity may exceed tau, a grid step of doubt included."""
    above: Bools = cosine > 2 * (tau - 1 / _GRID) - 1
    return above


def neighbourhoods(unit: Floats, tau: float, k: int, max_edges: int = MAX_EDGES) -> Neighbours:
    """The sparse graph where it fits and pays, else rows on demand; both give equal lists.

    Args:
        unit: float64 [N, D] of ``unit_rows``.
        tau: Neighbours have a similarity above it.
        k: Number of picks to come. The graph costs N/2 rows, so few picks need none.
        max_edges: Limit of the graph.
    """
    graph = Graph.build(unit, tau, max_edges) if 8 * k > len(unit) else None
    return Rows(unit, tau) if graph is None else graph
