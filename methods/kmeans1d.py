"""One-dimensional k-means: scikit-learn's answer at sorting speed, and the optimal one.

In one dimension every cluster is a run of the sorted values, so an assignment is k - 1 cuts
and a centre is a difference of prefix sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MAX_ITER = 300
_TOL = 1e-4
_SMALL = 4096


def starting_centres(x: Array, ascending: Array, sums: Array, k: int, seed: int = 0) -> Array:
    """Greedy k-means++ (Arthur & Vassilvitskii 2007) with scikit-learn's draws.

    Args:
        x: float32 or float64 [n], centred, in the order given by the caller.
        ascending: The same values, sorted.
        sums: float64 [n + 1], prefix sums of ``ascending``.
        k: Number of centres.
        seed: Seed of the legacy generator; the draws are those of ``KMeans(random_state=seed)``.

    Returns:
        [k], values of ``x``.
    """
    draws = np.random.RandomState(seed)  # local; the library's legacy generator
    wide = x.astype(np.float64)
    squares = wide * wide
    exact, cumulative = np.empty(len(x)), np.empty_like(x)

    def distances(row: int) -> Array:
        # c^2 - 2 c x + x^2 in float64, rounded to the dtype of x, in the library's order.
        centre = wide[row]
        np.multiply(wide, -2 * centre, out=exact)
        np.add(exact, centre * centre, out=exact)
        np.add(exact, squares, out=exact)
        rounded = exact.astype(x.dtype)
        return np.asarray(np.maximum(rounded, 0, out=rounded))

    picks = [int(draws.random_sample() * len(x))]
    ones = np.ones((len(x), 1), x.dtype)
    closest = distances(picks[0])
    potential = float((closest[None] @ ones[:, 0])[0])
    for _ in range(1, k):
        values = draws.uniform(size=2 + int(np.log(k))) * x.dtype.type(potential)
        rows = np.searchsorted(np.cumsum(closest, out=cumulative), values)
        rows = np.minimum(rows, len(x) - 1)
        gains = np.array([_gain(ascending, sums, wide[picks], c) for c in wide[rows]])
        rivals = gains >= gains.max() - 1e-4 * potential
        if len(np.unique(wide[rows[rivals]])) > 1:
            # Too close to call from prefix sums: the library's own sums decide.
            shrunk = np.minimum(closest, np.stack([distances(row) for row in rows]))
            best = int(np.argmin(shrunk @ ones))
        else:
            best = int(rivals.argmax())
        picks.append(int(rows[best]))
        np.minimum(closest, distances(picks[-1]), out=closest)
        potential = float((closest[None] @ ones)[0, 0])
    return np.asarray(x[picks])


def _gain(ascending: Array, sums: Array, centres: Array, new: float) -> float:
    """By how much a new centre lowers the sum of squared distances, from prefix sums.

    The points between its midpoints with the two neighbours change hands, and
    (x - o)^2 - (x - c)^2 = (c - o) (2 x - o - c) for a point x that moves from o to c.
    """
    low = max((c for c in centres if c <= new), default=-np.inf)
    high = min((c for c in centres if c >= new), default=np.inf)
    if low == high:
        return 0.0
    inner = (low + high) / 2 if np.isfinite(low + high) else (np.inf if high == np.inf else -np.inf)
    edges = [(low + new) / 2, inner, (new + high) / 2]
    i, j, k = ascending.searchsorted(np.array(edges, ascending.dtype))
    gain = 0.0
    for old, start, stop in ((low, i, j), (high, j, k)):
        if start < stop:
            gain += (new - old) * (2 * (sums[stop] - sums[start]) - (stop - start) * (old + new))
    return gain


def lloyd_cuts(x: Array, k: int, seed: int = 0) -> Array:
    """Cuts of ``KMeans(k, random_state=seed, n_init=1)`` on one-dimensional data.

    Args:
        x: float32 or float64 [n], finite, n >= k.
        k: Number of clusters, at least 1.
        seed: Seed of the single k-means++ start.

    Returns:
        Ascending lowest values of the second and later non-empty clusters, at most k - 1.
    """
    column = x.reshape(-1, 1)
    tolerance = float(np.mean(np.var(column, axis=0)) * _TOL)
    mean = column.mean(axis=0)[0]
    centred = x - mean
    # Where ties are likely, sums are taken in the library's order, sample after sample.
    order = np.argsort(centred, kind="stable") if len(x) <= _SMALL else np.zeros(0, np.int64)
    ascending = np.sort(x)
    values = ascending - mean
    prefix = np.zeros(len(x) + 1)
    np.cumsum(values.astype(np.float64), out=prefix[1:])
    centres = starting_centres(centred, values, prefix, k, seed)
    first = centres.argsort(kind="stable")  # ties go to the centre that was drawn first
    points, cuts = centres[first], np.zeros(0, dtype=np.int64)
    sums: Array
    for _ in range(_MAX_ITER):
        old, cuts = cuts, _assign(values, points, first)
        counts = cuts[1:] - cuts[:-1]
        if len(order):
            labels = np.empty(len(x), dtype=np.int64)
            labels[order] = np.repeat(np.arange(k), counts)
            sums = np.bincount(labels, centred.astype(np.float64), k)
        else:
            cumulated = prefix[cuts]
            sums = cumulated[1:] - cumulated[:-1]
        if not counts.all():
            _relocate(values, points, counts, sums)
        moved = sums.astype(x.dtype) * (1.0 / np.maximum(counts, 1)).astype(x.dtype)
        if not counts.all():
            moved[counts == 0] = moved[counts.argmax()]
        shift = moved - points
        points = moved
        if np.array_equal(cuts, old):
            break
        if np.dot(shift, shift) <= tolerance:
            cuts = _assign(values, points, first)
            break
        if (points[1:] < points[:-1]).any():  # after a relocation
            turn = points.argsort(kind="stable")
            points, first, cuts = points[turn], first[turn], cuts[:0]
    else:
        cuts = _assign(values, points, first)
    starts = np.unique(cuts[:-1][cuts[1:] > cuts[:-1]])[1:]
    return np.asarray(ascending[starts])


def _assign(values: Array, points: Array, first: Array) -> Array:
    """Cuts [k + 1] of the sorted values between ascending centres; a tie goes to the lower
    ``first``. Of coinciding centres only one gets values."""
    gap = points[1:] - points[:-1]
    cuts = np.empty(len(points) + 1, dtype=np.int64)
    cuts[0], cuts[-1] = 0, len(values)
    if not gap.all():
        distinct = np.concatenate([[0], np.flatnonzero(gap) + 1])
        group = np.searchsorted(distinct, np.arange(len(points)), "right") - 1
        cuts[1:] = _assign(values, points[distinct], first[distinct])[1:][group]
        return cuts
    m = len(gap)
    middle = (points[1:] + points[:-1]) * points.dtype.type(0.5)
    # Within rounding of the midpoint, the library's own expression c^2 - 2 x c decides.
    zone = 8 * np.finfo(values.dtype).eps * max(abs(points[0]), abs(points[-1])) ** 2 / gap
    edges = values.searchsorted(np.concatenate([middle - zone, middle + zone]))
    cuts[1:-1] = edges[:m]
    for j in (edges[m:] > edges[:m]).nonzero()[0]:
        low, high = points[j], points[j + 1]
        near = values[edges[j] : edges[m + j]]
        a, b = low * low - 2 * (near * low), high * high - 2 * (near * high)
        cuts[j + 1] += np.count_nonzero((a < b) | ((a == b) & (first[j] < first[j + 1])))
    return np.asarray(np.maximum.accumulate(cuts, out=cuts))


def _relocate(values: Array, points: Array, counts: Array, sums: Array) -> None:
    """Gives each empty cluster a farthest point, as scikit-learn does; in place."""
    owner = np.repeat(np.arange(len(points)), counts)
    gap = (values - points[owner]) ** 2
    if gap.max() > 0:
        empty = np.flatnonzero(counts == 0)
        for cluster, point in zip(empty, np.argsort(-gap, kind="stable"), strict=False):
            sums[owner[point]] -= values[point]
            counts[owner[point]] -= 1
            sums[cluster], counts[cluster] = values[point], 1


def optimal_cuts(x: Array, k: int) -> Array:
    """Cuts of the optimal one-dimensional k-means (dynamic programming, Wang & Song 2011).

    The best last cut moves right with the end of the range, so that each layer is solved by
    divide and conquer in O(n log n), a whole level of it at a time.

    Args:
        x: [n], finite.
        k: Largest number of clusters.

    Returns:
        Ascending lowest values of the second and later clusters, fewer where values coincide.
    """
    values, counts = np.unique(x.astype(np.float64), return_counts=True)
    k = min(k, len(values))
    centred = values - np.average(values, weights=counts)
    sums = [np.concatenate([[0.0], np.cumsum(counts * centred**p)]) for p in (0, 1, 2)]

    def cost(start: Array, end: Array) -> Array:
        size, total, square = (s[end] - s[start] for s in sums)
        return np.asarray(np.maximum(square - total * total / np.maximum(size, 1), 0.0))

    n = len(values)
    ends = np.arange(1, n + 1)
    best = np.concatenate([[np.inf], cost(np.zeros(n, np.int64), ends)])
    layers: list[Array] = []
    for clusters in range(2, k + 1):
        best, cut = _layer(best, cost, n, clusters)
        layers.append(cut)
    starts, end = [], n
    for cut in reversed(layers):
        end = int(cut[end])
        starts.append(end)
    return np.asarray(np.unique(x)[starts[::-1]])


def _layer(previous: Array, cost: Any, n: int, clusters: int) -> tuple[Array, Array]:
    """One more cluster: best cost of the first i values [n + 1], and its last cut."""
    best = np.full(n + 1, np.inf)
    cut = np.zeros(n + 1, dtype=np.int64)
    first, last = np.array([clusters]), np.array([n])
    low, high = np.array([clusters - 1]), np.array([n - 1])
    while len(first):
        middle = (first + last) // 2
        top = np.minimum(high, middle - 1)
        width = top - low + 1
        begin = np.concatenate([[0], np.cumsum(width)[:-1]])
        node = np.repeat(np.arange(len(middle)), width)
        candidate = np.arange(width.sum()) - begin[node] + low[node]
        total = previous[candidate] + cost(candidate, middle[node])
        least = np.minimum.reduceat(total, begin)
        where = np.where(total == least[node], candidate, n)
        chosen = np.minimum.reduceat(where, begin)
        best[middle], cut[middle] = least, chosen
        sides = (
            np.concatenate([first, middle + 1]),
            np.concatenate([middle - 1, last]),
            np.concatenate([low, chosen]),
            np.concatenate([chosen, high]),
        )
        open_ = sides[0] <= sides[1]
        first, last, low, high = (side[open_] for side in sides)
    return best, cut
