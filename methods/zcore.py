"""ZCore: samples score where they cover the space of features and lose where others are near."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import Card, Evidence, EvidenceSpec, ScorePruner, register_method
from prunebench.methods.feature_space import Floats, Ints, float64_rows, float64_vector
from prunebench.options import Option
from prunebench.progress import counted
from prunebench.rng import Stream

__all__ = ["draw_points", "zcore_scores"]

#: One in so many samples tells where the K nearest end; see ``_within``.
_STRIDE = 16
_MANY = 4096


def zcore_scores(
    features: Tensor,
    dimensions: Tensor,
    points: Tensor,
    neighbours: int = 1000,
    exponent: float = 4.0,
    start: Tensor | None = None,
) -> Tensor:
    """Coverage minus redundancy over random draws (zcore: core/coreset/zcore.py).

    Each draw is a point in a few of the dimensions. The sample nearest to it (L1) gains 1. Its K
    nearest others in the same dimensions lose 1 together, each in proportion to d^-exponent; where
    one of them is at distance 0, that one loses all of it.

    Args:
        features: [N, D], finite.
        dimensions: int64 [R, m]: the dimensions of each draw.
        points: [R, m]: the point of each draw.
        neighbours: K; N - 1 where there are fewer.
        exponent: e >= 0.
        start: [N], scores before the first draw; None: 0.

    Returns:
        float64 [N], scaled to 0..1; 0 where all are equal. The largest are kept.

    Raises:
        InputError: Dimensions that do not exist, shapes that differ, or input that is not finite.
    """
    rows = float64_rows(features)
    total, width = rows.shape
    drawn, where = dimensions.cpu().numpy(), points.double().cpu().numpy()
    if drawn.ndim != 2 or drawn.shape != where.shape:
        raise InputError(
            f"dimensions {drawn.shape} and points {where.shape}", where="points", accepted="[R, m]"
        )
    if drawn.size and not (drawn.min() >= 0 and drawn.max() < width):
        raise InputError(
            f"dimensions from {drawn.min()} to {drawn.max()}", where="dimensions",
            accepted=f"0 to {width - 1}",
        )  # fmt: skip
    if neighbours < 1:
        raise InputError(f"{neighbours} neighbours", where="neighbours", accepted="1 or more")
    scores = np.zeros(total) if start is None else float64_vector(start, total, "start")
    columns = np.ascontiguousarray(rows.T)
    count = min(neighbours, total - 1)
    usable = len(drawn) if drawn.shape[1] else 0
    room = np.empty((2, total))
    for axes, point in counted(zip(drawn[:usable], where, strict=False), usable):
        view = [columns[axis] for axis in axes]
        best = int(_distances(view, point, room).argmin())
        scores[best] += 1
        if count:
            own = [column[best] for column in view]
            _penalise(scores, _distances(view, own, room), best, count, exponent)
    low, high = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    scaled = (scores - low) / (high - low) if high > low else np.zeros(total)
    return torch.from_numpy(scaled).to(features.device)


def _distances(view: Sequence[Floats], point: Sequence[float], room: Floats) -> Floats:
    """L1 distance [N] of samples, given by columns, to a point; written to ``room``."""
    total: Floats = room[0]
    term: Floats = room[1]
    np.abs(np.subtract(view[0], point[0], out=total), out=total)
    for column, value in zip(view[1:], point[1:], strict=True):
        total += np.abs(np.subtract(column, value, out=term), out=term)
    return total


def _penalise(scores: Floats, distances: Floats, best: int, count: int, exponent: float) -> None:
    """Takes 1 in all from the K nearest others of a sample; its own distance is 0."""
    who = _within(distances, count + 1)
    who = who[who != best][:count]
    apart = distances[who]
    nearest = int(apart.argmin())
    least = apart[nearest]
    if least == 0:
        scores[who[nearest]] -= 1
        return
    share: Floats = (least / apart) ** exponent
    scores[who] -= share / share.sum()


def _within(distances: Floats, count: int) -> Ints:
    """Indices of the smallest of [N], in any order.

    Of many samples, a part gives a radius that holds somewhat more than are wanted; only those
    are compared. Where it holds fewer, all are.
    """
    pool = None
    rank = int(1.5 * count / _STRIDE) + 8
    if len(distances) >= _MANY and rank < len(distances) // _STRIDE:
        radius = np.partition(distances[::_STRIDE], rank)[rank]
        inside = np.flatnonzero(distances <= radius)
        pool = inside if len(inside) > count else None
    if len(distances) == count:
        return np.arange(count)
    if pool is None:
        return np.argpartition(distances, count)[:count]
    return pool[np.argpartition(distances[pool], count)[:count]]


def draw_points(features: Tensor, draws: int, count: int, rng: Stream) -> tuple[Tensor, Tensor]:
    """Distinct dimensions at random, and in each a value between its least and its greatest.

    The values follow a triangular law whose mode is the median. Dimensions in which all samples are
    equal have no such law and are not drawn.

    Args:
        features: [N, D], finite, N >= 1.
        draws: R.
        count: m; fewer where fewer dimensions vary.
        rng: Source of the draws.

    Returns:
        Dimensions int64 [R, m] and points float64 [R, m]; m is 0 where no dimension varies.
    """
    rows = float64_rows(features)
    low, middle, high = (
        torch.from_numpy(edge(rows, axis=0)) for edge in (np.min, np.median, np.max)
    )
    varied = (high > low).nonzero().squeeze(1)
    count = min(count, len(varied))
    chosen = torch.empty(draws, 0, dtype=torch.int64)
    uniform = rng.child("dimensions").uniform((draws, count))
    for place in range(count):
        # The r-th of the dimensions not yet drawn: each one drawn below it moves it up by one.
        rank = (uniform[:, place] * (len(varied) - place)).long()
        for drawn in chosen.sort(1).values.unbind(1):
            rank += rank >= drawn
        chosen = torch.cat([chosen, rank[:, None]], 1)
    dimensions = varied[chosen]
    least, mode, most = low[dimensions], middle[dimensions], high[dimensions]
    u = rng.child("points").uniform((draws, count))
    rising = least + (u * (most - least) * (mode - least)).sqrt()
    falling = most - ((1 - u) * (most - least) * (most - mode)).sqrt()
    points = torch.where(u * (most - least) < mode - least, rising, falling)
    return dimensions.to(features.device), points.to(features.device)


@register_method("zcore")
class ZCore(ScorePruner):
    """Keeps samples that cover the space of self-supervised features and have few others near."""

    randomised = True
    draws: int | None
    dimensions: int
    neighbours: int
    exponent: float
    options = {
        "draws": Option(
            None, "random draws R; auto = 10 for each sample, at most a million", low=1,
            high=100_000_000, optional=True, kind=int,
        ),
        "dimensions": Option(2, "dimensions of a draw", low=1, high=1000, search=(1, 4)),
        "neighbours": Option(
            1000, "nearest samples that share a penalty", low=1, high=1_000_000,
            search=(50, 1000), log=True,
        ),
        "exponent": Option(4.0, "fall of the penalty with distance", low=0.0, high=100.0,
            search=(1.0, 8.0)),
    }  # fmt: skip
    card = Card(
        title="ZCore",
        paper="Griffin, Marks, Corso: Zero-Shot Coreset Selection via Iterative Subspace Sampling, "
        "WACV 2026",
        repository="https://github.com/voxel51/zcore",
        bibtex_key="griffin2026zero",
        cost="one self-supervised training per data set, shared by all noise types and seeds, one "
        "forward pass, and 10 comparisons of a point with all samples per sample",
        side="high",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Self-supervised features."""
        return EvidenceSpec(ssl=True)

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], by one fixed set of draws."""
        return self._scores(evidence, Stream(0))

    def scores_for(self, evidence: Evidence, k: int, rng: Stream) -> Tensor:
        """[N], by draws from the stream, the same for every k."""
        return self._scores(evidence, rng.child("draws"))

    def _scores(self, evidence: Evidence, rng: Stream) -> Tensor:
        """NaN where features are not finite."""
        features = evidence.ssl_features
        finite = features.isfinite().all(1)
        scores = torch.full((len(features),), torch.nan, dtype=torch.float64)
        known = features[finite]
        if len(known):
            draws = min(1_000_000, 10 * len(known)) if self.draws is None else self.draws
            dimensions, points = draw_points(known, draws, self.dimensions, rng)
            start = rng.child("start").uniform(len(known))
            scores[finite] = zcore_scores(
                known, dimensions, points, self.neighbours, self.exponent, start
            )
        return scores
