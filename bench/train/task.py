"""Tasks of a worker process: arrays are loaded once, noise and splits follow the spec."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunebench.bench.spec.run_spec import Named, RunSpec
from prunebench.bench.train.budget import Clock, budget_in_force
from prunebench.datasets.build import make_task
from prunebench.datasets.corrupt.names import Corruption, parse_corruption
from prunebench.datasets.corrupt.rows import corrupted_samples
from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.imbalance import parse_imbalance
from prunebench.datasets.noise.names import parse_noise
from prunebench.datasets.noise.openset import OpenSet, last_classes, other_set, parse_last
from prunebench.datasets.source import RawData
from prunebench.datasets.splits import split_rows
from prunebench.datasets.task import Split, Task
from prunebench.errors import InputError, SkipCell
from prunebench.methods.base import Criterion, Pruner, StaticPruner
from prunebench.record import OPENSET, canonical
from prunebench.registry import CRITERIA, DATASETS
from prunebench.rng import Streams

#: Entry of ``Cell.data`` that opens the data set from which open-set noise takes its images: its
#: options, paths included.
OUTSIDE = "outside"
_KEPT = 2
_raw: OrderedDict[str, RawData] = OrderedDict()


def load_raw(name: str, params: Mapping[str, Any]) -> RawData:
    """The arrays of a data set; the last two are kept in the process."""
    params = own_options(params)
    slot = canonical([name, params])
    if slot not in _raw:
        while len(_raw) >= _KEPT:
            _raw.popitem(last=False)
        _raw[slot] = DATASETS.get(name).target(**params).load()
    _raw.move_to_end(slot)
    return _raw[slot]


def own_options(data: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a cell's data set alone."""
    return {name: value for name, value in data.items() if name.partition(".")[0] != OUTSIDE}


def outside_of(spec: RunSpec, data: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Name and options of the data set from which a run takes images; None where there is none."""
    named = spec.noise.outside
    if not isinstance(named, Named):
        return None
    return named.name, {**named.params, **data.get(OUTSIDE, {})}


def _open_set(spec: RunSpec, raw: RawData, data: Mapping[str, Any]) -> OpenSet | None:
    """What open-set noise makes of the data set; None for other noise."""
    if spec.noise.rule != OPENSET:
        return None
    setting, other = spec.noise.outside, outside_of(spec, data)
    if other is not None:
        return other_set(raw, load_raw(*other), other[0])
    return last_classes(raw, parse_last(setting) if isinstance(setting, str) else None)


def streams_of(spec: RunSpec) -> Streams:
    """The streams of a run: salted with data set and noise, equal for all methods and ratios."""
    dataset, noise = spec.setting
    return Streams(spec.seed, dataset, noise)


def load_task(spec: RunSpec, data: Mapping[str, Any]) -> Task:
    """The task of a spec.

    Args:
        spec: The run.
        data: Options to open the data set on this machine, paths included.

    Raises:
        InputError: Missing data, or data that differ from what the spec names.
    """
    raw = load_raw(spec.dataset.name, data)
    task = make_task(
        raw,
        parse_noise(spec.noise.name),
        streams_of(spec),
        noise_seed=spec.noise.seed,
        count=spec.noise.count,
        validation_labels=spec.validation.labels,
        corruption=_corruption(spec),
        **_splits(spec),
        outside=_open_set(spec, raw, data),
    )
    if task.rule != spec.noise.rule:
        raise InputError(
            f"noise {spec.noise.name} means {task.rule} here, the spec says {spec.noise.rule}",
            where=f"dataset {spec.dataset.name}",
        )
    return validation_for_test(task) if spec.role == "tune" else task


def _splits(spec: RunSpec) -> dict[str, Any]:
    return {
        "reference_size": spec.reference.size,
        "reference_mode": spec.reference.mode,
        "validation_size": spec.validation.size,
        "imbalance": None if spec.imbalance is None else parse_imbalance(spec.imbalance.name),
    }


def _corruption(spec: RunSpec) -> Corruption | None:
    damaged = spec.corrupt
    return None if damaged is None else parse_corruption(damaged.name, damaged.severity)


def train_size(spec: RunSpec, data: Mapping[str, Any]) -> int:
    """N of a spec's task, without its labels and pixels; arguments and errors as of ``load_task``,
    those of its noise left out."""
    raw, streams = load_raw(spec.dataset.name, data), streams_of(spec)
    world = _open_set(spec, raw, data)
    raw = raw if world is None else world.raw
    train, corruption = split_rows(raw, streams, **_splits(spec)).train, _corruption(spec)
    if corruption is not None:
        corrupted_samples(raw, train, corruption, streams.get("corrupt"))
    return len(train)


def clock_of(spec: RunSpec, pruner: Pruner, num_samples: int) -> Clock:
    """The clock of a run over the common training split.

    Raises:
        SkipCell: Its ratio and epochs leave nothing to train.
    """
    share = pruner.pruned_share(spec.ratio) if spec.budget_share is None else spec.budget_share
    budget = budget_in_force(spec.budget, pruner.params)
    clock = Clock(num_samples, spec.recipe.epochs, spec.ratio, budget, float(share))
    if reason := clock.nothing_left(isinstance(pruner, StaticPruner)):
        raise SkipCell(reason)
    return clock


def validation_for_test(task: Task) -> Task:
    """The task of a tuning run: its validation split takes the place of the test split, which no
    code of the run can then reach.

    Raises:
        InputError: There is no validation split, or the reference samples are test samples.
    """
    raw, validation = task.raw, task.validation
    if validation is None:
        raise InputError("0", where="validation.size of a tuning run", accepted="1 or more")
    if raw.leaks and task.reference is not None:
        raise InputError(
            "the reference samples of this data set are its test split",
            where="tuning",
            accepted="reference size 0",
        )
    sample_ids, x = validation.sample_ids, raw.train_x
    if isinstance(x, ImageFiles):
        source = np.arange(len(x)) if x.rows is None else x.rows
        # Rows are counted anew; validation images are never changed.
        held: Tensor | ImageFiles = replace(x, rows=source[sample_ids.numpy()], change=None)
    else:
        held = x[sample_ids]
    test = Split(torch.arange(len(sample_ids)), validation.labels)
    raw = replace(raw, test_x=held, test_y=validation.labels, test_groups=None)
    return replace(task, raw=raw, test=test, tuning=True)


def with_reference_in_training(task: Task) -> Task:
    """The task of controls such as ``full+reference``: the clean reference samples join the
    training split, in place of their noisy copies where the two overlap.

    Raises:
        SkipCell: There is no reference set.
    """
    if task.reference is None or len(task.reference) == 0:
        raise SkipCell("no clean reference set: reference size is 0")
    others = ~torch.isin(task.train.sample_ids, task.reference.sample_ids)
    sample_ids = torch.cat([task.train.sample_ids[others], task.reference.sample_ids])
    labels = torch.cat([task.train.labels[others], task.reference.labels])
    clean = torch.cat([task.clean_labels[others], task.reference.labels])
    order = sample_ids.argsort()
    train = Split(sample_ids[order], labels[order])
    corrupted = task.corrupted
    if corrupted is not None:
        joined = torch.zeros(len(task.reference), dtype=torch.bool)
        corrupted = torch.cat([corrupted[others], joined])[order]
    return replace(task, train=train, clean_labels=clean[order], corrupted=corrupted)


@dataclass(frozen=True)
class HoldoutTask:
    """What a holdout model trains on and what it is asked about.

    Attributes:
        task: The task with a part of its samples in place of the training split.
        check: Samples by whose mean loss the model's epoch is chosen; it trains on none of them.
        asked: Positions int64 [n] in the training split of the samples that it judges.
    """

    task: Task
    check: Split
    asked: Tensor


def holdout_task(task: Task, part: str, streams: Streams) -> HoldoutTask:
    """The task of a holdout model. Of the reference set it leaves a tenth out to choose its epoch
    by; of the training split it takes one half, and chooses by a tenth of the other.

    Args:
        task: Of the cells that it serves.
        part: ``reference``, ``first`` or ``second``.
        streams: Of the run; the draws are by sample id.

    Raises:
        SkipCell: There is no reference set, or one of its samples is trained as well; or fewer than
            two samples.
    """
    train, reference = task.train, task.reference
    source = reference if part == "reference" else train
    if source is None:
        raise SkipCell("no clean reference set: reference size is 0")
    if part == "reference" and bool(torch.isin(source.sample_ids, train.sample_ids).any()):
        raise SkipCell("the holdout model would train on training samples: the reference overlaps")
    if len(source) < 2:
        raise SkipCell("a holdout model needs two samples or more")
    order = streams.get("holdout").bits(source.sample_ids).argsort(stable=True)
    if part == "reference":
        cut = max(1, len(source) // 10)
        check, own, clean, corrupted = order[:cut], order[cut:], source.labels, None
        asked = torch.arange(len(train))
    else:
        half, clean, corrupted = len(source) // 2, task.clean_labels, task.corrupted
        first, second = order[:half], order[half:]
        own, asked = (first, second) if part == "first" else (second, first)
        check, asked = asked[: max(1, len(asked) // 10)], asked.sort().values
    own, check = own.sort().values, check.sort().values
    split = Split(source.sample_ids[own], source.labels[own])
    return HoldoutTask(
        replace(
            task,
            train=split,
            clean_labels=clean[own],
            corrupted=None if corrupted is None else corrupted[own],
        ),
        Split(source.sample_ids[check], source.labels[check]),
        asked,
    )


def criterion_of(spec: RunSpec) -> Criterion:
    """The criterion of a specification; label smoothing comes from the recipe unless it is set."""
    params = dict(spec.criterion.params)
    if params.get("smoothing", 0.0) is None:
        params["smoothing"] = spec.recipe.label_smoothing
    criterion: Criterion = CRITERIA.get(spec.criterion.name).target(**params)
    return criterion
