"""A finished run's artifacts and figures; nothing here holds a time or a path, so that two runs
of one spec leave the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prunebench.bench.train.metrics import (
    auroc,
    balanced_accuracy,
    class_accuracy,
    class_shares,
    end_loss,
    marks_of,
    whole_epochs,
)
from prunebench.bench.train.setup import Callback, RunView
from prunebench.bench.train.trainer import Trainer
from prunebench.datasets.groups import SampleGroups
from prunebench.datasets.task import Task
from prunebench.methods.base import Subset
from prunebench.untrusted import spreadsheet

#: Number of the set of metrics in ``info.metrics`` of a record. Records without one hold set 1,
#: whose averages over epochs count an epoch that the budget cut to a few samples as a whole one;
#: set 3 adds the loss weight of wrong labels, ``kept_noise_weight``; set 4 adds
#: ``balanced_accuracy``, ``worst_group_accuracy`` and what training had cost after each epoch.
METRICS = 4
#: Accuracy at or below chance + this share of the rest counts as diverged.
DIVERGED_MARGIN = 0.05


def diverged(accuracy: float, num_classes: int) -> bool:
    """Whether a final accuracy is no better than chance + 0.05 (1 - chance)."""
    chance = 1.0 / num_classes
    return accuracy <= chance + DIVERGED_MARGIN * (1.0 - chance)


def accuracy_name(trainer: Trainer) -> str:
    """``test_accuracy``, or ``validation_accuracy`` where a tuning run has no test split."""
    return "validation_accuracy" if trainer.setup.task.tuning else "test_accuracy"


def npz_bytes(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.17g").encode()


def epoch_csv(trainer: Trainer) -> bytes:
    """The per-epoch table with the reference loss beside it."""
    frame = pd.DataFrame(trainer.epoch_log).rename(
        columns={"test_accuracy": accuracy_name(trainer)}
    )
    if "lr_factor" in frame:
        frame["lr_factor"] = frame["lr_factor"].fillna(1.0)
    reference = trainer.sample_tables.reference_loss[: len(frame)].cpu().numpy()
    if np.isfinite(reference).any():
        frame["reference_loss"] = reference
    return _csv(frame)


def artifacts(
    trainer: Trainer, predicted: Tensor, subset: Subset | None
) -> tuple[dict[str, bytes], dict[str, float | None]]:
    """Files and metrics of a finished run.

    Args:
        trainer: The finished run.
        predicted: int64 [M], classes predicted on the test split (tuning: validation split).
        subset: A static method's verdict, or None.

    Returns:
        Artifact name -> bytes, metric name -> value.
    """
    task = trainer.setup.task
    for row in trainer.epoch_log:  # a checkpoint of an earlier version; only last epochs are cut
        row.setdefault("planned", row["trained"])
        row.setdefault("spent", None)
    whole = whole_epochs(trainer.epoch_log)
    classes = task.raw.num_classes
    labels = task.test.labels
    predicted = predicted.cpu()
    narrow = np.uint8 if classes <= 256 else np.int32
    ids = task.raw.train_ids(task.train.sample_ids).numpy()
    scores = subset.scores if subset is not None else trainer.setup.pruner.last_scores
    samples: dict[str, np.ndarray[Any, Any]] = {
        "id": ids,
        "visits": trainer.kept_visits.cpu().numpy().astype(np.int32),
    }
    if task.corrupted is not None:
        samples["corrupted"] = task.corrupted.numpy()
    if bool(task.outside.any()):
        samples["outside"] = task.outside.numpy().astype(np.uint8)
    if subset is not None:
        samples["kept"] = ids[subset.indices.cpu().numpy()]
        if subset.weights is not None:
            samples["kept_weight"] = subset.weights.cpu().numpy()
    if scores is not None:
        samples["score"] = scores.cpu().numpy()
    right = class_accuracy(predicted, labels, classes)
    visits = trainer.kept_visits.cpu()
    begun, share = (
        class_shares(visits, task.train.labels, classes, epochs)
        for epochs in (float(max(1, trainer.ledger.epochs)), float(whole) or 1.0)
    )
    frame = pd.DataFrame(
        {
            "class": range(classes),
            "name": [spreadsheet(name) for name in task.raw.class_names],
            "kept_share": begun.numpy(),
            "kept_per_epoch": share.numpy(),
            accuracy_name(trainer): right.numpy(),
        }
    )
    files = {
        "epochs.csv": epoch_csv(trainer),
        "classes.csv": _csv(frame),
        "predictions.npz": npz_bytes(
            {"predicted": predicted.numpy().astype(narrow), **_test_ids(task)}
        ),
        "samples.npz": npz_bytes(samples),
    }
    metrics = _metrics(trainer, predicted, right, begun, scores)
    if task.test_groups is not None:
        files["groups.csv"], worst = _groups(task.test_groups, predicted == labels, trainer)
        metrics["worst_group_accuracy"] = worst
    metrics |= {
        "whole_epochs": float(whole),
        "kept_per_epoch": float(trainer.ledger.trained / (len(visits) * (whole or 1))),
        "worst_class_kept_per_epoch": float(share[share.isfinite()].min()),
        "end_train_loss": end_loss(trainer.epoch_log),
    }
    return files, metrics


def _groups(groups: SampleGroups, right: Tensor, trainer: Trainer) -> tuple[bytes, float | None]:
    """Table of the groups, and the accuracy of the worst; None where fewer than two of them have
    samples in the split."""
    count = len(groups.names)
    shares = class_accuracy(torch.where(right, groups.ids, count), groups.ids, count)
    frame = pd.DataFrame(
        {
            "group": [spreadsheet(name) for name in groups.names],
            "samples": torch.bincount(groups.ids, minlength=count).numpy(),
            accuracy_name(trainer): shares.numpy(),
        }
    )
    known = shares[shares.isfinite()]
    return _csv(frame), float(known.min()) if len(known) > 1 else None


def _test_ids(task: Task) -> dict[str, np.ndarray[Any, Any]]:
    """Original rows of the test split where an option limits it; else place i is row i."""
    if task.tuning or task.raw.test_origin is None:
        return {}
    return {"id": task.raw.test_ids(task.test.sample_ids).numpy()}


def _metrics(
    trainer: Trainer, predicted: Tensor, right: Tensor, share: Tensor, scores: Tensor | None
) -> dict[str, float | None]:
    """The metrics of set 1."""
    task, ledger = trainer.setup.task, trainer.ledger
    visits = trainer.kept_visits.cpu().double()
    present = share[share.isfinite()]
    return {
        accuracy_name(trainer): float((predicted == task.test.labels).double().mean()),
        "balanced_accuracy": balanced_accuracy(
            predicted, task.test.labels.cpu(), task.raw.num_classes
        ),
        "worst_class_accuracy": float(right[right.isfinite()].min()),
        "realised_ratio": ledger.realised_ratio,
        "compute_ratio": ledger.compute_ratio,
        "final_train_loss": trainer.epoch_log[-1]["train_loss"],
        "kept_fraction": float(visits.sum() / (len(visits) * max(1, ledger.epochs))),
        "worst_class_kept_share": float(present.min()),
        **_marked(trainer, visits, scores),
    }


def _marked(trainer: Trainer, visits: Tensor, scores: Tensor | None) -> dict[str, float | None]:
    """What of training went to wrong labels, and to corrupted images where there are any."""
    found: dict[str, float | None] = {}
    whole, *parts = trainer.loss_weight.tolist()  # NaN where it is not known
    for mark, part in zip(marks_of(trainer.setup.task), parts, strict=True):
        found |= dict.fromkeys(mark.columns)
        if mark.of is None:
            continue
        found[mark.rate] = float(visits[mark.of].sum() / visits.sum())
        found[mark.weight] = part / whole if whole > 0 else None
        if scores is not None:
            found[mark.auroc] = auroc(scores.cpu(), mark.of)
    return found


class LossRecorder(Callback):
    """Callback that copies the loss table after chosen epochs (counted from 1)."""

    def __init__(self, epochs: frozenset[int]) -> None:
        self.epochs = epochs
        self.rows: dict[int, Tensor] = {}

    def epoch_end(self, run: RunView) -> None:
        """Copies the table where it is due; an empty set means every epoch."""
        if not self.epochs or run.epoch in self.epochs:
            self.rows[run.epoch] = run.sample_tables.loss.cpu().clone()

    def state_dict(self) -> dict[str, Tensor]:
        """Rows so far."""
        return {str(epoch): row for epoch, row in self.rows.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], epoch: int) -> None:
        """Restores them."""
        self.rows = {int(number): row for number, row in state.items()}
        if not all(0 < number <= epoch for number in self.rows):
            raise ValueError("losses of epochs that were not done")

    def dump(self, ids: Tensor, flipped: Tensor) -> bytes:
        """npz of ``id`` [N], ``epoch`` [n], ``loss`` float32 [n, N] (NaN before a first visit)
        and ``wrong`` bool [N], whether the label is known to be wrong (diagnostics only)."""
        epochs = sorted(self.rows)
        return npz_bytes(
            {
                "id": ids.cpu().numpy(),
                "epoch": np.array(epochs, dtype=np.int64),
                "loss": torch.stack([self.rows[e] for e in epochs]).numpy(),
                "wrong": flipped.cpu().numpy(),
            }
        )
