"""Label noise: exact injection, and its name on the command line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.noise.rules import ALIASES, RULES, Ints, check_rule, default_asymmetric
from prunebench.errors import InputError, nearest

COUNTS = ("exact_per_class", "exact_global", "bernoulli")
KINDS = ("clean", "real", "asymmetric", *ALIASES, *RULES)

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
    if count not in COUNTS:
        raise InputError(f"unknown count {count!r}", where="noise.count", accepted=str(COUNTS))
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
        clean: int64 [N] in 0..C-1.
        noisy: int64 [N] in 0..C-1.
        num_classes: C.

    Returns:
        int64 [C, C], row = clean class, column = noisy class.
    """
    pairs = torch.bincount(clean * num_classes + noisy, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


@dataclass(frozen=True)
class NoiseSpec:
    """A noise setting as the user names it.

    Attributes:
        kind: ``clean``, ``real``, ``asymmetric``, ``pairflip`` or a rule id; the user's word.
        rate: In [0, 1); 0 for ``clean`` and ``real``.
        variant: Which human labels, for ``real`` only; empty means the only one there is.

    Raises:
        InputError: An unknown kind, a rate out of range, or a part that the kind does not take.
    """

    kind: str
    rate: float = 0.0
    variant: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"unknown noise {self.kind!r}", where="noise", accepted=nearest(self.kind, KINDS)
            )
        if not 0 <= self.rate < 1:
            raise InputError(
                f"rate {self.rate!r} is out of range",
                where=f"noise {self.kind}",
                accepted=f"a number from 0 to below 1, as in {self.kind}:0.4",
            )
        if self.kind in ("clean", "real") and self.rate:
            raise InputError(f"{self.kind} takes no rate", where="noise", accepted=self.kind)
        if self.kind != "real" and self.variant:
            raise InputError(f"{self.kind} has no variant {self.variant!r}", where="noise")
        object.__setattr__(self, "rate", abs(float(self.rate)))

    @property
    def name(self) -> str:
        """Canonical text, which ``parse_noise`` reads back: ``symmetric:0.4``."""
        if self.kind == "clean":
            return "clean"
        if self.kind == "real":
            return f"real:{self.variant}" if self.variant else "real"
        return f"{self.kind}:{repr(self.rate).removesuffix('.0')}"

    def __str__(self) -> str:
        return self.name


def parse_noise(text: str) -> NoiseSpec:
    """Reads a noise setting: ``clean``, ``KIND:RATE``, ``real`` or ``real:VARIANT``.

    Raises:
        InputError: An unknown kind, a missing rate, a rate that is no number in [0, 1), or a
            suffix that the kind does not take.
    """
    kind, colon, rest = text.strip().partition(":")
    if kind not in KINDS or kind == "clean":
        if colon and kind == "clean":
            raise InputError(f"clean takes no rate ({text!r})", where="noise", accepted="clean")
        return NoiseSpec(kind)
    if kind == "real":
        if colon and not rest:
            raise InputError(
                f"no variant after the colon in {text!r}", where="noise", accepted="real:VARIANT"
            )
        return NoiseSpec(kind, variant=rest)
    try:
        rate = float(rest)
    except ValueError:
        raise InputError(
            f"{rest!r} is no rate" if rest else f"{text!r} lacks its rate",
            where="noise",
            accepted=f"a number from 0 to below 1, as in {kind}:0.4",
        ) from None
    return NoiseSpec(kind, rate)


def real_rule(spec: NoiseSpec, known: Iterable[str]) -> str:
    """The rule id of a ``real`` noise setting.

    Args:
        spec: The setting.
        known: Names of the human labels there are; the empty name is plain ``real``.

    Raises:
        InputError: No such labels, or several and none named.
    """
    names = sorted(known)
    if not names:
        raise InputError(
            "this data set has no labels with real noise",
            where=f"noise {spec}",
            accepted="clean, symmetric:RATE, asymmetric:RATE, pairflip:RATE",
        )
    variant = spec.variant or (names[0] if len(names) == 1 else "")
    if variant not in names:
        said = f"unknown variant {variant!r}" if variant else "real needs a variant here"
        accepted = ", ".join(f"real:{v}" if v else "real" for v in names)
        raise InputError(said, where=f"noise {spec}", accepted=accepted)
    return f"real:{variant}" if variant else "real"
