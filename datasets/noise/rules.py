"""Noise rules: where the wrong label of a sample of each class may go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import InputError, nearest

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Targets:
    """Possible new labels of each class: uniform over a run of ``order``.

    A draw j in 0..width[c]-1 means ``order[start[c] + j + (j >= skip[c])]``, so that one draw a
    sample serves every rule and nothing of size C x C is built.

    Attributes:
        order: int64 [K], class ids; ascending within a run.
        start: int64 [C], where the run of class c begins.
        width: int64 [C], number of possible labels; 0 leaves the class untouched.
        skip: int64 [C], place of the own label in the run when it is left out, else the width.
    """

    order: Ints
    start: Ints
    width: Ints
    skip: Ints

    def draw(self, labels: Ints, rng: np.random.Generator) -> Ints:
        """New labels for samples of touched classes, drawn in one call in the given order."""
        widths = np.unique(self.width[self.width > 0])
        high = int(widths[0]) if len(widths) == 1 else self.width[labels]
        j = rng.integers(0, high, size=len(labels))
        drawn: Ints = self.order[self.start[labels] + j + (j >= self.skip[labels])]
        return drawn


Build = Callable[[int, Ints, np.random.Generator], Targets]


@dataclass(frozen=True)
class Rule:
    """A noise rule.

    Attributes:
        summary: One line for lists and error messages.
        build: (number of classes, groups or an empty array, generator) -> targets.
        classes: The number of classes it is defined for; 0 means any number from 2.
        grouped: Whether it needs super-classes.
    """

    summary: str
    build: Build
    classes: int = 0
    grouped: bool = False


def _uniform(num_classes: int, own: bool) -> Targets:
    classes = np.arange(num_classes)
    width = np.full(num_classes, num_classes - (not own))
    return Targets(classes, np.zeros_like(classes), width, width if own else classes)


def _mapped(target: Ints) -> Targets:
    """Deterministic map c -> target[c]; a fixed point is an untouched class."""
    classes = np.arange(len(target))
    width = (target != classes).astype(np.int64)
    return Targets(target, classes, width, np.ones_like(classes))


def _pairs(pairs: Mapping[int, int]) -> Build:
    def build(num_classes: int, groups: Ints, rng: np.random.Generator) -> Targets:
        return _mapped(np.array([pairs.get(c, c) for c in range(num_classes)], dtype=np.int64))

    return build


def _derangement(num_classes: int, groups: Ints, rng: np.random.Generator) -> Targets:
    classes = np.arange(num_classes)
    while True:
        target = rng.permutation(num_classes)
        if not (target == classes).any():
            return _mapped(target)


def _runs(groups: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Classes sorted by super-class, and each class's run start, run size and place in it."""
    order = np.argsort(groups, kind="stable")
    _, first, inverse, counts = np.unique(
        groups[order], return_index=True, return_inverse=True, return_counts=True
    )
    start, size = np.empty_like(order), np.empty_like(order)
    start[order], size[order] = first[inverse], counts[inverse]
    place = np.empty_like(order)
    place[order] = np.arange(len(order)) - first[inverse]
    return order, start, size, place


def _super_uniform(num_classes: int, groups: Ints, rng: np.random.Generator) -> Targets:
    order, start, size, place = _runs(groups)
    return Targets(order, start, size - 1, place)


def _super_next(num_classes: int, groups: Ints, rng: np.random.Generator) -> Targets:
    order, start, size, place = _runs(groups)
    return _mapped(order[start + (place + 1) % size])


RULES: dict[str, Rule] = {
    "symmetric": Rule("uniform over the other classes", lambda c, g, r: _uniform(c, own=False)),
    "symmetric_incl": Rule(
        "uniform over all classes, the true one included (DivideMix, SOP)",
        lambda c, g, r: _uniform(c, own=True),
    ),
    "next_class": Rule(
        "class c to (c + 1) mod C (co-teaching's pairflip)",
        lambda c, g, r: _mapped((np.arange(c) + 1) % c),
    ),
    "asym_pairs": Rule(
        "CIFAR-10: 9->1, 2->0, 4->7, 3<->5",
        _pairs({9: 1, 2: 0, 4: 7, 3: 5, 5: 3}),
        classes=10,
    ),
    "asym_pairs_both": Rule(
        "CIFAR-10: 0<->2, 4<->7, 1<->9, 3<->5, 6<->8 (Prune4ReL)",
        _pairs({0: 2, 2: 0, 4: 7, 7: 4, 1: 9, 9: 1, 3: 5, 5: 3, 6: 8, 8: 6}),
        classes=10,
    ),
    "asym_digits": Rule(
        "handwritten digits: 7->1, 2->7, 5<->6, 3->8",
        _pairs({7: 1, 2: 7, 5: 6, 6: 5, 3: 8}),
        classes=10,
    ),
    "asym_super_uniform": Rule(
        "uniform over the other classes of the super-class", _super_uniform, grouped=True
    ),
    "asym_super_next": Rule(
        "the next class of the super-class, the last to the first", _super_next, grouped=True
    ),
    "derangement": Rule("one random class map without fixed points (CRUST)", _derangement),
}

ALIASES = {"pairflip": "next_class"}


def default_asymmetric(groups: Sequence[int] | None) -> str:
    """What ``asymmetric`` means for a data set that declares no rule of its own."""
    return "next_class" if groups is None else "asym_super_uniform"


def check_rule(rule: str, num_classes: int, groups: Sequence[int] | None) -> Ints:
    """Checks that a rule fits a data set.

    Args:
        rule: Id in ``RULES``.
        num_classes: C.
        groups: Super-class id of each class, or None.

    Returns:
        The super-classes as int64 [C]; empty where there are none.

    Raises:
        InputError: Unknown rule, wrong number of classes, super-classes that are missing, of the
            wrong length, or all of one member (a single such super-class is left untouched).
    """
    if rule not in RULES:
        raise InputError(f"unknown rule {rule!r}", where="noise", accepted=nearest(rule, RULES))
    needed = RULES[rule].classes
    if needed and num_classes != needed:
        raise InputError(
            f"{rule} is defined for {needed} classes, this data set has {num_classes}",
            where="noise",
            accepted="symmetric, next_class, derangement, or asym_super_* with super-classes",
        )
    if num_classes < 2:
        raise InputError(f"{rule} needs at least 2 classes, got {num_classes}", where="noise")
    if groups is None:
        if RULES[rule].grouped:
            raise InputError(
                f"{rule} needs super-classes and this data set declares none",
                where="noise",
                accepted="symmetric, next_class, derangement",
            )
        return np.empty(0, dtype=np.int64)
    ids = np.asarray(groups)
    if ids.shape != (num_classes,) or not np.issubdtype(ids.dtype, np.integer):
        raise InputError(
            f"{ids.dtype} values of shape {ids.shape} for {num_classes} classes",
            where="groups",
            accepted="one integer super-class id for each class",
        )
    if RULES[rule].grouped and len(np.unique(ids)) == num_classes:
        raise InputError(f"{rule}: every super-class has one member only", where="groups")
    return ids.astype(np.int64)
