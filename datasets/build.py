"""From a data set to a task: noise, reference, validation and training split."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from prunebench.datasets.content import label_digest
from prunebench.datasets.noise import NoiseSpec, inject, resolve_rule
from prunebench.datasets.task import RawData, Split, Task
from prunebench.errors import InputError
from prunebench.rng import Streams

ReferenceMode = Literal["held_out", "overlap"]
ValidationLabels = Literal["noisy", "clean"]


def default_reference_size(n: int) -> int:
    """Reference samples held out of a training split of n: min(1000, 7 %)."""
    return min(1000, n * 7 // 100)


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
) -> Task:
    """Makes the task that every method and ratio of one (data set, noise, seed) shares.

    Noise goes over the whole original split first, so that a sample's label does not depend on
    the splits. Noise, reference and validation each have their own stream: changing the size of
    one never moves the draws of another, and a smaller draw lies within a larger one.

    Args:
        raw: The data set, N training samples.
        noise: The noise setting.
        streams: The run's streams.
        noise_seed: Draws the noise under this seed instead of the run's, to vary training alone.
        count: As in ``inject``.
        reference_size: Clean reference samples; None for ``default_reference_size``, 0 for none.
        reference_mode: ``held_out`` of training, or ``overlap``: also in it, with noisy labels.
        validation_size: Samples carved from training for tuning; never reference samples.
        validation_labels: Which labels they carry.

    Returns:
        The task; rows of every split ascending.

    Raises:
        InputError: Noise that does not fit, an unknown mode, or splits that leave no training.
    """
    if reference_mode not in get_args(ReferenceMode):
        raise InputError(
            f"{reference_mode!r}", where="reference_mode", accepted="held_out, overlap"
        )
    if validation_labels not in get_args(ValidationLabels):
        raise InputError(
            f"{validation_labels!r}", where="validation_labels", accepted="noisy, clean"
        )
    n = len(raw.train_y)
    wanted = default_reference_size(n) if reference_size is None else reference_size
    if wanted < 0 or validation_size < 0 or wanted + validation_size >= n:
        raise InputError(
            f"{wanted} reference and {validation_size} validation samples out of {n}",
            where="reference_size, validation_size",
            accepted=f"0 or more each, together below {n}",
        )
    rule = resolve_rule(noise, raw)
    source = streams if noise_seed is None else Streams(noise_seed, streams.dataset, streams.noise)
    noisy = _noisy_labels(raw, noise, rule, source.get("noise").key, count)
    reference = streams.get("reference").sample(n, wanted)
    taken = torch.zeros(n, dtype=torch.bool)
    taken[reference] = True
    order = streams.get("validation").permutation(n)
    validation = order[~taken[order]][:validation_size].sort().values
    if reference_mode == "overlap":
        taken[:] = False
    taken[validation] = True
    train = (~taken).nonzero().flatten()
    carved = noisy if validation_labels == "noisy" else raw.train_y
    return Task(
        raw=raw,
        train=Split(train, noisy[train]),
        reference=Split(reference, raw.train_y[reference]) if wanted else None,
        validation=Split(validation, carved[validation]) if validation_size else None,
        test=Split(torch.arange(len(raw.test_y)), raw.test_y),
        clean_labels=raw.train_y[train],
        rule=rule,
        rate=(noisy != raw.train_y).double().mean().item(),
        label_digest=label_digest(noisy),
    )


def _noisy_labels(raw: RawData, noise: NoiseSpec, rule: str, seed: int, count: str) -> Tensor:
    if noise.kind != "real":
        found = inject(raw.train_y, rule, noise.rate, raw.num_classes, seed, count, raw.groups)
        return found.labels
    labels = raw.human[rule.removeprefix("real:")]
    if labels.shape != raw.train_y.shape:
        raise InputError(
            f"{len(labels)} human labels for {len(raw.train_y)} samples", where=f"noise {noise}"
        )
    return inject(labels, "clean", 0.0, raw.num_classes, seed).labels
