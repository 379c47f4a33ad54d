"""Exact injection of label noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.noise.rules import ALIASES, RULES, Ints, check_rule, default_asymmetric
from prunebench.errors import InputError

COUNTS = ("exact_per_class", "exact_global", "bernoulli")

L = TypeVar("L", Tensor, NDArray[np.int64])


@dataclass(frozen=True)
class Noise(Generic[L]):
    """Noisy labels.

    Attributes:
        labels: int64 [N].
        flipped: bool [N], where the label differs from the clean one.
        rate: Realised share of wrong labels.
        rule: Resolved rule id.
    """

    labels: L
    flipped: L
    rate: float
    rule: str


def inject(
    labels: L,
    kind: str,
    rate: float,
    num_classes: int,
    seed: int,
    count: str = "exact_per_class",
    groups: Sequence[int] | None = None,
) -> Noise[L]:
    """Injects synthetic label noise into the labels of a whole split.

    Samples are chosen first, then new labels are drawn in ascending index order. The choice does
    not depend on the rule, and under one seed the samples chosen at a lower rate are among those
    chosen at a higher one. Classes that a rule leaves untouched (outside the pairs, or alone in
    their super-class) keep their labels; ``exact_global`` and ``bernoulli`` then realise less than
    ``rate``, as in the published codes.

    Args:
        labels: Clean labels, integers [N] in 0..C-1, numpy or torch.
        kind: ``clean``, ``asymmetric`` (within the super-classes where given, else the next
            class), ``pairflip`` (the next class) or a rule id of ``datasets.rules``.
        rate: Share of each class (or of all samples) to flip, in [0, 1].
        num_classes: C.
        seed: Non-negative; already salted with data set and noise.
        count: ``exact_per_class`` flips floor(rate x n_c + 0.5) of each class, ``exact_global``
            int(rate x N) of all, ``bernoulli`` each sample with probability ``rate``.
        groups: Super-class id of each class.

    Returns:
        Noise of the kind of array that came in; torch labels stay on their device.

    Raises:
        InputError: A rate, label, count or super-class out of range, or a rule that does not fit.
    """
    clean = _checked(labels, num_classes)
    rule = ALIASES.get(kind, kind)
    if rule == "asymmetric":
        rule = default_asymmetric(groups)
    if not isinstance(rate, int | float | np.number) or not 0 <= rate <= 1:
        raise InputError(f"rate {rate!r}", where="noise.rate", accepted="a number from 0 to 1")
    check_count(count)
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed {seed!r}", where="noise.seed", accepted="an integer >= 0")
    if rule == "clean":
        if rate != 0:
            raise InputError(f"clean with rate {rate}", where="noise.rate", accepted="0")
        noisy = clean.copy()
    else:
        noisy = _noisy(clean, rule, float(rate), num_classes, int(seed), count, groups)
    flipped = noisy != clean
    realised = float(flipped.mean()) if len(clean) else 0.0
    if isinstance(labels, Tensor):
        out, mask = (torch.from_numpy(a).to(labels.device) for a in (noisy, flipped))
        return Noise(out, mask, realised, rule)
    return Noise(noisy, flipped, realised, rule)


def check_count(count: str) -> None:
    """Refuses an unknown way of counting.

    Raises:
        InputError: It is none of ``COUNTS``.
    """
    if count not in COUNTS:
        raise InputError(f"unknown count {count!r}", where="noise.count", accepted=str(COUNTS))


def _checked(labels: Tensor | NDArray[np.int64], num_classes: int) -> Ints:
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise InputError(
            f"{array.dtype} of shape {array.shape}", where="labels", accepted="integers, shape [N]"
        )
    if num_classes < 1:
        raise InputError(f"{num_classes}", where="num_classes", accepted="an integer >= 1")
    bad = np.flatnonzero((array < 0) | (array >= num_classes))
    if len(bad):
        raise InputError(
            f"label {array[bad[0]]} of sample {bad[0]} is out of range",
            where="labels",
            accepted=f"0 to {num_classes - 1}",
        )
    return array.astype(np.int64)


def _noisy(
    clean: Ints,
    rule: str,
    rate: float,
    num_classes: int,
    seed: int,
    count: str,
    groups: Sequence[int] | None,
) -> Ints:
    ids = check_rule(rule, num_classes, groups)
    rng = np.random.Generator(np.random.PCG64(seed))
    chosen = np.zeros(len(clean), dtype=bool)
    if count == "exact_per_class":
        ends = np.bincount(clean, minlength=num_classes).cumsum()
        for members in np.split(np.argsort(clean, kind="stable"), ends[:-1]):
            members = rng.permutation(members)
            chosen[members[: math.floor(rate * len(members) + 0.5)]] = True
    elif count == "exact_global":
        chosen[rng.permutation(len(clean))[: int(rate * len(clean))]] = True
    else:
        chosen = rng.random(len(clean)) < rate
    targets = RULES[rule].build(num_classes, ids, rng)
    picked = np.flatnonzero(chosen & (targets.width[clean] > 0))
    noisy = clean.copy()
    noisy[picked] = targets.draw(clean[picked], rng)
    return noisy


def transition_counts(clean: Tensor, noisy: Tensor, num_classes: int) -> Tensor:
    """Counts of label pairs.

    Args:
        clean: int64 [N] in 0..C-1, or -1 for a sample that has no clean label: it is left out.
        noisy: int64 [N] in 0..C-1.
        num_classes: C.

    Returns:
        int64 [C, C], row = clean class, column = noisy class.
    """
    known = clean >= 0
    pairs = torch.bincount(clean[known] * num_classes + noisy[known], minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)
