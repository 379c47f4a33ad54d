"""From a data set to a task: noise, reference, validation and training split."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from prunebench.datasets.corrupt.names import Corruption
from prunebench.datasets.corrupt.rows import corrupt_training
from prunebench.datasets.digests import label_digest
from prunebench.datasets.imbalance import Imbalance
from prunebench.datasets.noise.inject import inject
from prunebench.datasets.noise.instance import INSTANCE, inject_instance, instance_targets
from prunebench.datasets.noise.names import BY_INPUT, NoiseSpec, real_rule
from prunebench.datasets.noise.openset import (
    OpenSet,
    Placed,
    last_classes,
    place,
    with_images,
)
from prunebench.datasets.noise.rules import ALIASES, check_rule
from prunebench.datasets.source import RawData
from prunebench.datasets.splits import ReferenceMode, split_rows
from prunebench.datasets.task import Split, Task
from prunebench.errors import InputError
from prunebench.record import OPENSET
from prunebench.rng import Stream, Streams

ValidationLabels = Literal["noisy", "clean"]


def make_task(
    raw: RawData,
    noise: NoiseSpec,
    streams: Streams,
    *,
    noise_seed: int | None = None,
    count: str = "exact_per_class",
    reference_size: int | None = None,
    reference_mode: ReferenceMode = "held_out",
    validation_size: int = 0,
    validation_labels: ValidationLabels = "noisy",
    imbalance: Imbalance | None = None,
    corruption: Corruption | None = None,
    outside: OpenSet | None = None,
) -> Task:
    """Makes the task that every method and ratio of one (data set, noise, seed) shares.

    Noise goes over the whole original split first, so that a sample's label does not depend on
    the splits. Noise, reference and validation each have their own stream: changing the size of
    one never moves the draws of another, and a smaller draw lies within a larger one. Of an
    imbalanced training split the noise is drawn anew, over what is kept, so that its counts are
    exact there; validation samples keep the labels of the whole split's draw. The same holds for
    images from outside (``openset``), which the reference and a validation split with clean labels
    never hold.

    Args:
        raw: The data set, N training samples; reference rows of its own are no such samples.
        noise: The noise setting.
        streams: The run's streams.
        noise_seed: Draws the noise under this seed instead of the run's, to vary training alone.
        count: As in ``inject``.
        reference_size: Clean reference samples; None for all of the data set's own reference
            rows, else for ``default_reference_size``; 0 for none.
        reference_mode: ``held_out`` of training, or ``overlap``: also in it, with noisy labels;
            a data set with reference rows of its own has no overlap.
        validation_size: Samples carved from training for tuning; never reference samples.
        validation_labels: Which labels they carry.
        imbalance: Class sizes of the training split; reference, validation and test stay as they
            are without. None for all samples.
        corruption: Of a part of the training images, after everything else; None for no image.
        outside: Where ``openset`` takes images from; None for the last classes of the data set.

    Returns:
        The task; rows of every split ascending.

    Raises:
        InputError: Noise that does not fit, an unknown mode, splits that leave no training,
            an imbalance that leaves a class empty, or a corruption of data that are no images or
            of a reference set that overlaps.
    """
    if validation_labels not in get_args(ValidationLabels):
        raise InputError(
            f"{validation_labels!r}", where="validation_labels", accepted="noisy, clean"
        )
    if corruption is not None and reference_mode == "overlap":
        raise InputError(
            f"'overlap' is not accepted with corrupt {corruption.name}: reference images stay as "
            "they are",
            where="reference_mode",
            accepted="held_out",
        )
    world = (outside or last_classes(raw)) if noise.kind == OPENSET else None
    if world is not None:
        raw = world.raw
        if reference_mode == "overlap":
            raise InputError(
                "'overlap' is not accepted: a sample has one image, in training and as reference",
                where="reference_mode",
                accepted=f"held_out with {OPENSET}",
            )
    rows = split_rows(
        raw, streams, reference_size=reference_size, reference_mode=reference_mode,
        validation_size=validation_size, imbalance=imbalance,
    )  # fmt: skip
    train, training = rows.train, raw.training_rows
    rule = resolve_rule(noise, raw)
    source = streams if noise_seed is None else Streams(noise_seed, streams.dataset, streams.noise)
    key = source.get("noise").key
    noisy = _noisy_labels(raw, training, noise, rule, key, count)
    if imbalance is not None:
        noisy[train] = _noisy_labels(raw, train, noise, rule, key, count)[train]
        training = train
    clean, marks = raw.train_y, noisy
    if world is not None:
        placed = _placed(
            world, noise, Stream(key), count, rows.validation, None if imbalance is None else train
        )
        shown = train if validation_labels == "clean" else torch.cat([train, rows.validation])
        raw, marks = with_images(world, placed.within(shown)), placed.marked(noisy)
    carved = noisy if validation_labels == "noisy" else raw.train_y
    changed, corrupted = raw, None
    if corruption is not None:
        changed, corrupted = corrupt_training(raw, train, corruption, streams.get("corrupt"))
    return Task(
        raw=changed,
        train=Split(train, noisy[train]),
        reference=_split(rows.reference, raw.train_y),
        validation=_split(rows.validation, carved),
        test=Split(torch.arange(len(raw.test_y)), raw.test_y),
        clean_labels=raw.train_y[train],
        rule=rule,
        rate=(marks != clean)[training].double().mean().item(),
        label_digest=label_digest(marks[training]),
        corrupted=corrupted,
    )


def _split(rows: Tensor, labels: Tensor) -> Split | None:
    return Split(rows, labels[rows]) if len(rows) else None


def _noisy_labels(
    raw: RawData, training: Tensor, noise: NoiseSpec, rule: str, seed: int, count: str
) -> Tensor:
    """Labels of all rows of ``train_x``; only those of training rows are noisy."""
    clean = raw.train_y[training]
    if rule == OPENSET:
        return raw.train_y.clone()
    if rule == INSTANCE:
        stream = Stream(seed)
        targets = instance_targets(raw.train_x, raw.train_y, raw.num_classes, stream)[training]
        found = inject_instance(clean, targets, noise.rate, training, stream, count).labels
    elif noise.kind != "real":
        found = inject(clean, rule, noise.rate, raw.num_classes, seed, count, raw.groups).labels
    else:
        labels = raw.human[rule.partition(":")[2]]
        if labels.shape != raw.train_y.shape:
            raise InputError(
                f"{len(labels)} human labels for {len(raw.train_y)} samples",
                where=f"noise {noise}",
            )
        found = inject(labels[training], "clean", 0.0, raw.num_classes, seed).labels
    noisy = raw.train_y.clone()
    noisy[training] = found
    return noisy


def _placed(
    world: OpenSet,
    noise: NoiseSpec,
    stream: Stream,
    count: str,
    validation: Tensor,
    imbalanced: Tensor | None,
) -> Placed:
    """Images from outside for the whole split; where the training split is imbalanced, for it and
    the validation samples of the whole split's draw, which keep their images."""
    whole = place(world, world.raw.training_rows, noise.rate, stream, count)
    if imbalanced is None:
        return whole
    held = whole.within(validation)
    return held + place(world, imbalanced, noise.rate, stream, count, held.images)


def resolve_rule(spec: NoiseSpec, raw: RawData) -> str:
    """The rule id that a noise setting means on a data set; part of keys and boards.

    Returns:
        ``clean``, ``real``, ``real:VARIANT``, ``instance``, ``openset`` or an id of
        ``datasets.rules``.

    Raises:
        InputError: The rule does not fit the data set, or it has no such human labels.
    """
    if spec.kind == "clean":
        return "clean"
    if spec.kind == "real":
        return real_rule(spec, raw.human)
    rule = raw.asymmetric if spec.kind == "asymmetric" else ALIASES.get(spec.kind, spec.kind)
    if rule not in BY_INPUT:
        check_rule(rule, raw.num_classes, raw.groups)
    elif raw.num_classes < 2:
        raise InputError(f"{rule} needs at least 2 classes, got {raw.num_classes}", where="noise")
    return rule
