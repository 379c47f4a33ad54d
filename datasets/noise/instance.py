"""Instance-dependent label noise: an image decides which wrong label it gets, and how likely.

After Xia et al., "Part-dependent Label Noise", NeurIPS 2020, in the form of the code that is widely
used: images are projected as they are, by one random matrix for each class.
"""

from __future__ import annotations

import math
import weakref
from collections import OrderedDict

import torch
from torch import Tensor

from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.noise.inject import Noise, check_count
from prunebench.errors import InputError
from prunebench.rng import Stream

INSTANCE = "instance"
#: Standard deviation of the flip rates before they are truncated.
SPREAD = 0.1
#: Weights and standardised features are integers over these, so that every product and sum of a
#: projection is a whole number below 2^53: float64 gives it exactly, in any order of summation.
_WEIGHT, _FEATURE = 4096.0, 256.0
_CLIP = 32_767.0
_ROWS, _COLUMNS = 1024, 4096
_KEPT = 2
# By array, labels and stream; weak, so that no data set outlives its last reader.
_targets: OrderedDict[tuple[int, int, int], tuple[weakref.ref[Tensor], weakref.ref[Tensor], Tensor]]
_targets = OrderedDict()


def flip_rates(rate: float, sample_ids: Tensor, stream: Stream) -> Tensor:
    """Flip rates from a normal distribution around ``rate``, truncated to [0, 1].

    Under one stream a sample's flip rate grows with ``rate``.

    Args:
        rate: Mean before truncation.
        sample_ids: int64 [n]; draws are by sample id.
        stream: Of the noise.

    Returns:
        float64 [n].
    """
    from scipy.special import ndtr, ndtri

    low, high = ndtr(-rate / SPREAD), ndtr((1 - rate) / SPREAD)
    u = stream.child("instance-rates").uniform_at(sample_ids).numpy()
    rates = torch.from_numpy(rate + SPREAD * ndtri(low + u * (high - low)))
    return rates.clamp(0.0, 1.0)


def instance_targets(
    x: Tensor | ImageFiles, labels: Tensor, num_classes: int, stream: Stream
) -> Tensor:
    """The label that each sample gets if it is flipped; the last two results stay in the process.

    Of a sample x with label y it is drawn from the softmax of x W[y] over the other classes. W[y]
    is standard normal [D, C]; pixels are in [0, 1], vectors are standardised by column.

    Args:
        x: uint8 [N, channels, H, W] or float32 [N, D].
        labels: int64 [N], clean.
        num_classes: C, 2 or more.
        stream: Of the noise.

    Returns:
        int64 [N], other than ``labels`` everywhere.

    Raises:
        InputError: The images are streamed, or texts.
    """
    if x.dtype == torch.int32:
        raise InputError("texts: numbers of words have no projection", where=f"noise {INSTANCE}",
                         accepted="images or vectors, or noise that reads no samples")  # fmt: skip
    if isinstance(x, ImageFiles):
        raise InputError(
            "streamed images: it projects every image before anything trains",
            where=f"noise {INSTANCE}",
            accepted="images that fit into memory (stream=no), or noise that reads no images",
        )
    slot = id(x), id(labels), stream.key
    held = _targets.get(slot)
    if held is not None and held[0]() is x and held[1]() is labels:
        _targets.move_to_end(slot)
        return held[2]
    projected = projections(x, labels, num_classes, stream)
    targets = _draw(projected, labels, stream.child("instance-labels"))
    _targets[slot] = weakref.ref(x), weakref.ref(labels), targets
    while len(_targets) > _KEPT:
        _targets.popitem(last=False)
    return targets


def projections(x: Tensor, labels: Tensor, num_classes: int, stream: Stream) -> Tensor:
    """x W[y] of every sample.

    Returns:
        float64 [N, C].
    """
    flat = x.flatten(1)
    mean, std, unit = None, None, 255.0
    if x.dtype != torch.uint8:
        (mean, std), unit = _moments(flat), _FEATURE
    found = torch.zeros(len(flat), num_classes, dtype=torch.float64)
    for cls in range(num_classes):
        members = (labels == cls).nonzero().flatten()
        if not len(members):
            continue
        normal = stream.child("instance-weights", cls).numpy
        for begin in range(0, flat.shape[1], _COLUMNS):
            columns = slice(begin, min(begin + _COLUMNS, flat.shape[1]))
            weights = normal.standard_normal((columns.stop - begin, num_classes))
            whole = torch.from_numpy(weights).mul_(_WEIGHT).round_()
            for start in range(0, len(members), _ROWS):
                rows = members[start : start + _ROWS]
                part = flat[rows, columns].double()
                if mean is not None and std is not None:
                    part = (part - mean[columns]).div_(std[columns]).mul_(_FEATURE).round_()
                    part.clamp_(-_CLIP, _CLIP)
                found[rows] += part @ whole
    return found.div_(unit * _WEIGHT)


def _moments(flat: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every column; 1 where a column is constant."""
    n, width = flat.shape
    mean, variance = torch.zeros(2, width, dtype=torch.float64)
    for begin in range(0, n, _ROWS):
        mean += flat[begin : begin + _ROWS].double().sum(0) / n
    for begin in range(0, n, _ROWS):
        variance += (flat[begin : begin + _ROWS].double() - mean).square_().sum(0) / n
    return mean, torch.where(flat.amax(0) == flat.amin(0), 1.0, variance.sqrt())


def _draw(projected: Tensor, labels: Tensor, stream: Stream) -> Tensor:
    """One class for each row from its softmax without the own class."""
    logits = projected.clone()
    logits[torch.arange(len(labels)), labels] = -math.inf
    shares = (logits - logits.amax(1, keepdim=True)).exp_()
    ends = shares.cumsum(1)
    at = stream.uniform_at(torch.arange(len(labels)))[:, None] * ends[:, -1:]
    found = (ends <= at).sum(1)
    return torch.where(found < logits.shape[1], found, logits.argmax(1))


def inject_instance(
    clean: Tensor,
    targets: Tensor,
    rate: float,
    sample_ids: Tensor,
    stream: Stream,
    count: str = "exact_per_class",
) -> Noise[Tensor]:
    """Flips samples to their targets, those with a high flip rate q more often.

    The exact counts draw without replacement by exponential keys (Efraimidis and Spirakis 2006):
    flipped are the smallest of e / q, where e is a standard exponential draw. All draws are by
    sample id. Since q depends on ``rate``, the flips at a lower rate need not be among those at a
    higher one; those of ``bernoulli`` are.

    Args:
        clean: int64 [n].
        targets: int64 [n], see ``instance_targets``.
        rate: Mean of q before truncation, in [0, 1]; 0 flips nothing.
        sample_ids: int64 [n].
        stream: Of the noise.
        count: As in ``inject``: ``exact_per_class`` flips floor(rate x n_c + 0.5) of each class,
            ``exact_global`` int(rate x n) of all, ``bernoulli`` each sample with probability q (as
            the published code does; the mean of q is ``rate`` only away from 0 and 1).
    """
    check_count(count)
    q = flip_rates(rate, sample_ids, stream)
    u = stream.child("instance-flips").uniform_at(sample_ids)
    flipped = torch.zeros(len(clean), dtype=torch.bool)
    if count == "bernoulli":
        flipped = (u < q) & (rate > 0)
    else:
        order = (-torch.log1p(-u) / q).argsort(stable=True)
        if count == "exact_global":
            flipped[order[: int(rate * len(clean))]] = True
        else:
            for cls in range(int(clean.max()) + 1 if len(clean) else 0):
                own = order[clean[order] == cls]
                flipped[own[: math.floor(rate * len(own) + 0.5)]] = True
    noisy = torch.where(flipped, targets, clean)
    realised = flipped.double().mean().item() if len(clean) else 0.0
    return Noise(noisy, flipped, realised, INSTANCE)
