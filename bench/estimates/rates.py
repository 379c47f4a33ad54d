"""Seconds per sample of one kind of cell, and how records of earlier runs give them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from prunebench.bench.results.environment import device_class
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.methods.base import BatchPruner
from prunebench.methods.compose import resolve_method
from prunebench.record import Record, canonical

#: A pass in eval mode costs this share of a trained sample, as in ``Ledger.compute_ratio``.
FORWARD = 1 / 3


@dataclass(frozen=True)
class Rates:
    """Seconds, as recorded or measured.

    Attributes:
        train_s: Per trained sample; under batch-level selection the selection is part of it.
        epoch_s: Per epoch beyond its samples; records do not list it apart.
        eval_s: Per sample forwarded in eval mode.
        ssl_s: Per view on which a self-supervised encoder is trained; 0 where none is needed.
        cell_s: Per cell beyond its epochs: building the network, writing what a run leaves.
        load_s: Reading the data set, once per worker.
        rough: Whether a step was too slow to be measured at the recipe's batch size.
        records: Records these rates come from; 0 where an epoch was timed.
    """

    train_s: float
    epoch_s: float
    eval_s: float
    ssl_s: float
    cell_s: float
    load_s: float = 0.0
    rough: bool = False
    records: int = 0


def kind_of(spec: RunSpec) -> str:
    """Cells of one kind have the same rates: data set, recipe, criterion and, where the method
    selects in every batch, the method and its ratio."""
    return _kind(spec.content, selects_in_batches(spec))


def selects_in_batches(spec: RunSpec) -> bool:
    """Whether the run scores every batch and trains a part of it."""
    return spec.ratio > 0 and issubclass(resolve_method(spec.method.name).target, BatchPruner)


def _kind(content: Mapping[str, Any], by_batch: bool) -> str:
    names = ["dataset", "recipe", "criterion", *(["method", "ratio"] if by_batch else [])]
    return canonical([content[name] for name in names])


def rates_from_records(
    records: Iterable[Record], kinds: Iterable[str], device: torch.device, threads: int
) -> dict[str, Rates]:
    """Rates of the kinds of which there are finished runs on the same class of device.

    Args:
        records: Of a results folder.
        kinds: Wanted, by ``kind_of``.
        device: Where the grid will run.
        threads: Its threads per cell; records of a CPU count only if they had as many.
    """
    wanted, found = set(kinds), defaultdict[str, list[Record]](list)
    place: dict[str, Any] = {"device_class": device_class(device)}
    if device.type == "cpu":
        place["threads"] = threads
    for record in records:
        if record.status == "done" and place.items() <= record.environment.items():
            kind = _kind(record.spec, record.ledger["scoring_forward"] > 0)
            if kind in wanted:
                found[kind].append(record)
    return {kind: _rates(records) for kind, records in found.items()}


def _rates(records: list[Record]) -> Rates:
    def total(*names: str) -> int:
        return sum(record.ledger[name] for record in records for name in names)

    seconds = sum(record.timing["train_s"] for record in records)
    trained, scored = total("trained"), total("scoring_forward")
    passes = total("forward_only", "reference_forward", "eval_forward") + scored
    each = seconds / (trained + FORWARD * passes)
    own = ("train_s", "choice_s")  # what is counted apart
    beside = [
        max(0.0, r.timing["total_s"] - sum(r.timing.get(name, 0.0) for name in own))
        for r in records
    ]
    return Rates(
        train_s=each * (1 + FORWARD * scored / trained),
        epoch_s=0.0,
        eval_s=each * FORWARD,
        ssl_s=0.0,
        cell_s=statistics.median(beside),
        records=len(records),
    )
