"""Open-set noise: training samples keep their label and get an image from outside the task."""

from __future__ import annotations

import math
import weakref
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.noise.inject import check_count
from prunebench.datasets.source import Origin, RawData
from prunebench.errors import InputError
from prunebench.record import OPENSET
from prunebench.rng import Stream

#: Clean label of a sample whose image is from outside: it has none.
NO_CLASS = -1
_LAST = "last:"
_WHERE = f"noise {OPENSET}: outside"
_KEPT = 4
# Arrays with images from outside, by the arrays and rows that they are made of; one copy serves all
# runs of a task.
_made: OrderedDict[tuple[int, int, bytes], tuple[weakref.ref[Tensor], weakref.ref[Tensor], Tensor]]
_made = OrderedDict()


@dataclass(frozen=True)
class OpenSet:
    """A task and what lies outside it.

    Attributes:
        raw: The task's classes. ``train_x`` and ``test_x`` are still those of the data set.
        train: int64 [N], row of the data set of each training row.
        test: int64 [M], likewise.
        pool_x: Samples that hold the pool, of the shape and kind of ``train_x``.
        pool: int64 [P], their rows that may be put in.
        name: Of the pool, for messages.
    """

    raw: RawData
    train: Tensor
    test: Tensor
    pool_x: Tensor | ImageFiles
    pool: Tensor
    name: str


def parse_last(text: str) -> int | None:
    """K of ``last:K``; None for any other text.

    Raises:
        InputError: K is no whole number from 1.
    """
    if not text.startswith(_LAST):
        return None
    number = text.removeprefix(_LAST)
    if not (number.isascii() and number.isdigit() and 0 < len(number) < 7 and int(number)):
        raise InputError(f"{text!r}", where=_WHERE, accepted="last:K, K from 1")
    return int(number)


def last_classes(raw: RawData, k: int | None = None) -> OpenSet:
    """The last classes leave the task; their training samples are the pool.

    Samples keep their original ids. Human labels are left out: some name a class that is gone.

    Args:
        raw: The data set, C classes.
        k: How many leave; None for a quarter, at least one.

    Raises:
        InputError: Fewer than two classes would stay.
    """
    k = max(1, raw.num_classes // 4) if k is None else k
    classes = raw.num_classes - k
    if classes < 2:
        raise InputError(
            f"{_LAST}{k} of {raw.num_classes} classes leaves {max(0, classes)}",
            where=_WHERE,
            accepted=f"{_LAST}K, K up to {raw.num_classes - 2}"
            if raw.num_classes > 2
            else "another data set: a task has two classes or more",
        )
    train, test = ((y < classes).nonzero().flatten() for y in (raw.train_y, raw.test_y))
    own, training = raw.reference_rows, raw.training_rows
    if own is not None:
        own = torch.isin(train, own).nonzero().flatten()
    test_total = len(raw.test_y) if raw.test_origin is None else raw.test_origin.total
    task = replace(
        raw,
        train_y=raw.train_y[train],
        test_y=raw.test_y[test],
        num_classes=classes,
        class_names=raw.class_names[:classes],
        groups=None if raw.groups is None else raw.groups[:classes],
        human={},
        reference_rows=own,
        test_groups=None if raw.test_groups is None else raw.test_groups.rows(test),
        train_origin=Origin(raw.train_ids(train), raw.original_size),
        test_origin=Origin(raw.test_ids(test), test_total),
    )
    pool = training[raw.train_y[training] >= classes]
    return OpenSet(task, train, test, raw.train_x, pool, f"{_LAST}{k}")


def other_set(raw: RawData, outside: RawData, name: str) -> OpenSet:
    """All classes stay; the training samples of another data set are the pool.

    Args:
        raw: The data set.
        outside: The other one.
        name: Its name, for messages.

    Raises:
        InputError: Samples of another shape or kind, streamed ones, or texts.
    """
    if raw.vocabulary or outside.vocabulary:
        raise InputError(f"texts of {name} are numbers of other words", where=_WHERE,
                         accepted=f"{_LAST}K, or another noise")  # fmt: skip
    if isinstance(raw.train_x, ImageFiles) or isinstance(outside.train_x, ImageFiles):
        raise InputError(
            f"streamed images cannot be mixed with those of {name}",
            where=_WHERE,
            accepted=f"{_LAST}K, or sets that fit into memory (stream=no)",
        )
    kinds = [(tuple(x.shape[1:]), x.dtype) for x in (raw.train_x, outside.train_x)]
    if kinds[0] != kinds[1]:
        own, found = (f"{kind} {'x'.join(map(str, shape))}" for shape, kind in kinds)
        raise InputError(f"{name} holds {found}".replace("torch.", ""), where=_WHERE,
                         accepted=own.replace("torch.", ""))  # fmt: skip
    rows, test = torch.arange(len(raw.train_y)), torch.arange(len(raw.test_y))
    return OpenSet(raw, rows, test, outside.train_x, outside.training_rows, name)


@dataclass(frozen=True)
class Placed:
    """Samples that get an image from outside.

    Attributes:
        sample_ids: int64 [m].
        images: int64 [m], row of ``OpenSet.pool_x`` of each.
    """

    sample_ids: Tensor
    images: Tensor

    def within(self, sample_ids: Tensor) -> Placed:
        """Those of some samples."""
        inside = torch.isin(self.sample_ids, sample_ids)
        return Placed(self.sample_ids[inside], self.images[inside])

    def marked(self, labels: Tensor) -> Tensor:
        """Labels with -1 less the image's row in place of those of these samples."""
        found = labels.clone()
        found[self.sample_ids] = -1 - self.images
        return found

    def __add__(self, other: Placed) -> Placed:
        return Placed(
            torch.cat([self.sample_ids, other.sample_ids]), torch.cat([self.images, other.images])
        )


def place(
    world: OpenSet,
    sample_ids: Tensor,
    rate: float,
    stream: Stream,
    count: str = "exact_per_class",
    taken: Tensor | None = None,
) -> Placed:
    """Chooses samples and gives each an image of the pool, without replacement.

    Under one stream a higher rate adds samples: those of a lower one are among its own, with the
    same images.

    Args:
        world: The task and the pool.
        sample_ids: int64 [n], training samples.
        rate: Share of each class (or of all samples), in [0, 1].
        stream: Of the noise.
        count: As in ``inject``.
        taken: int64 [t], images of the pool that are given away already.

    Raises:
        InputError: An unknown count, or the pool is too small.
    """
    check_count(count)
    stream = stream.child(OPENSET)
    labels = world.raw.train_y[sample_ids]
    rows = stream.child("rows")
    order = rows.bits(sample_ids).argsort(stable=True)
    # The rate at which each sample joins; those that joined first take the first images.
    joins = torch.full((len(sample_ids),), math.inf, dtype=torch.float64)
    if count == "bernoulli":
        joins = rows.uniform_at(sample_ids)
        joins[joins >= rate] = math.inf
    elif count == "exact_global":
        first = order[: int(rate * len(order))]
        joins[first] = torch.arange(len(first)).double() / len(order)
    else:
        for cls in range(world.raw.num_classes):
            own = order[labels[order] == cls]
            first = own[: math.floor(rate * len(own) + 0.5)]
            joins[first] = (torch.arange(len(first)).double() + 0.5) / max(1, len(own))
    chosen = joins.argsort(stable=True)[: int(joins.isfinite().sum())]
    pool = world.pool if taken is None else world.pool[~torch.isin(world.pool, taken)]
    if len(chosen) > len(pool):
        raise InputError(
            f"{world.name} has {len(pool):,} samples for {len(chosen):,}",
            where=f"noise {OPENSET}:{rate:g}: outside",
            accepted="a lower rate, more classes (last:K), or a larger data set",
        )
    images = pool[stream.child("images").bits(pool).argsort(stable=True)[: len(chosen)]]
    return Placed(sample_ids[chosen], images)


def with_images(world: OpenSet, placed: Placed) -> RawData:
    """The task's data with images from outside, whose clean label is ``NO_CLASS``."""
    labels = world.raw.train_y.clone()
    labels[placed.sample_ids] = NO_CLASS
    nothing = Placed(*torch.empty(2, 0, dtype=torch.int64))
    return replace(
        world.raw,
        train_x=_mixed(world.raw.train_x, world.train, world.pool_x, placed),
        test_x=_mixed(world.raw.test_x, world.test, world.raw.test_x, nothing),
        train_y=labels,
    )


def _mixed(
    x: Tensor | ImageFiles, rows: Tensor, pool_x: Tensor | ImageFiles, placed: Placed
) -> Tensor | ImageFiles:
    """Some rows of an array, those that are placed from another one."""
    if isinstance(x, ImageFiles):
        source = rows.clone()
        source[placed.sample_ids] = placed.images
        held = source.numpy() if x.rows is None else np.asarray(x.rows)[source.numpy()]
        return replace(x, rows=held)
    assert isinstance(pool_x, Tensor)
    parts = (rows, placed.sample_ids, placed.images)
    slot = id(x), id(pool_x), b"|".join(part.numpy().tobytes() for part in parts)
    held_here = _made.get(slot)
    if held_here is not None and held_here[0]() is x and held_here[1]() is pool_x:
        _made.move_to_end(slot)
        return held_here[2]
    whole = len(rows) == len(x)
    if whole and not len(placed.sample_ids):
        return x
    mixed = x.clone() if whole else x[rows]
    mixed[placed.sample_ids] = pool_x[placed.images]
    _made[slot] = weakref.ref(x), weakref.ref(pool_x), mixed
    while len(_made) > _KEPT:
        _made.popitem(last=False)
    return mixed
