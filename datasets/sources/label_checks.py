"""What the labels in a user's own files must be like: classes, human labels, super-classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import InputError


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of one split as a file holds them.

    Attributes:
        values: int64 [N], none negative.
        where: The file and the name of the labels in it.
        file: The file alone.
        sample: What a sample is called in messages.
        class_names: C names, or empty.
        groups: Super-class ids, or empty.
        human: Labels with real noise by variant, int64 [N].
    """

    values: NDArray[np.int64]
    where: str
    file: str
    sample: str = "image"
    class_names: Sequence[str] = ()
    groups: Sequence[int] = ()
    human: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def count_classes(train: Labels, test: Labels) -> int:
    """Number of classes C: the names' count, else one more than the largest training label.

    Raises:
        InputError: Gaps in the labels of a file without class names, a single class, a label
            beyond the classes, super-class ids or names that do not fit.
    """
    sample, names = train.sample, train.class_names
    classes = len(names) or int(train.values.max()) + 1
    if not names and classes > len(train.values):
        raise InputError(
            f"{classes - 1} at {sample} {int(train.values.argmax())} of {len(train.values)}",
            where=train.where,
            accepted="0 to C-1 without gaps, or class_names for all classes",
        )
    if classes < 2:
        raise InputError("a single class", where=train.where, accepted="two or more")
    wanted = f"0 to {classes - 1}"
    name = train.file.replace("\\", "/").rsplit("/", 1)[-1]
    for split in (train, test):
        bad = np.flatnonzero(split.values >= classes)
        if len(bad):
            raise InputError(
                f"{split.values[bad[0]]} at {sample} {bad[0]}",
                where=split.where,
                accepted=f"{wanted}, the classes of {name}",
            )
    for variant, human in train.human.items():
        bad = np.flatnonzero((human < 0) | (human >= classes))
        if len(bad):
            raise InputError(
                f"{human[bad[0]]} at {sample} {bad[0]} of {variant!r}",
                where=f"{train.file}: human",
                accepted=wanted,
            )
    seen = np.zeros(classes, dtype=bool)
    seen[train.values] = True
    if not names and not seen.all():
        raise InputError(
            f"class {int(seen.argmin())} has no training {sample}",
            where=train.where,
            accepted=f"{wanted} without gaps, or class_names for all classes",
        )
    if train.groups and len(train.groups) != classes:
        raise InputError(
            f"{len(train.groups)} super-class ids",
            where=f"{train.file}: groups",
            accepted=f"{classes}, one for each class",
        )
    if test.class_names and tuple(test.class_names) != tuple(names):
        raise InputError(
            "differ from those of the training file", where=f"{test.file}: class_names"
        )
    return classes
