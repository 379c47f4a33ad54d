"""The task made of a data set: noisy training split, clean reference, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from prunebench.datasets.groups import SampleGroups, class_groups
from prunebench.datasets.source import DataSource as DataSource  # plug-ins of earlier versions
from prunebench.datasets.source import RawData as RawData
from prunebench.datasets.source import register_dataset as register_dataset


@dataclass(frozen=True)
class Split:
    """Samples of a data set with the labels that training or evaluation uses.

    Attributes:
        sample_ids: int64 [n], rows of ``RawData.train_x`` (``test_x`` for the test split).
            Random draws are by sample id; records, tables and files hold original ids
            (``RawData.train_ids``), which differ under an option ``limit``.
        labels: int64 [n].
    """

    sample_ids: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.sample_ids)


@dataclass(frozen=True)
class Task:
    """One (data set, noise, seed): what every method and ratio of that setting shares.

    Attributes:
        raw: The resident arrays.
        train: Training split with noisy labels, N samples.
        reference: Clean labels, held out of training unless ``overlap``; None when size 0.
        validation: Carved from training for tuning; None when size 0.
        test: Clean labels.
        clean_labels: int64 [N], for diagnostics and oracles only; -1 where the image is from
            outside the task (``openset``) and no label is right.
        rule: Resolved noise rule id.
        rate: Realised share of wrong labels in the original training split; of an imbalanced task
            in its own.
        label_digest: SHA-256 of the noisy label vector of the same split (little-endian
            int64); of a sample with an image from outside, -1 less the image's row stands for the
            label.
        tuning: Whether ``test`` is the validation split; a tuning run does not hold the test split.
        corrupted: bool [N], which training images are corrupted, for diagnostics only; None where
            the setting corrupts none. ``raw`` holds the corrupted pixels.
    """

    raw: RawData
    train: Split
    reference: Split | None
    validation: Split | None
    test: Split
    clean_labels: Tensor
    rule: str
    rate: float
    label_digest: str
    tuning: bool = False
    corrupted: Tensor | None = None

    @property
    def flipped(self) -> Tensor:
        """bool [N]: whether a training label is known to be wrong; for diagnostics only."""
        wrong = self.train.labels != self.clean_labels
        return wrong & self.raw.clean_known

    @property
    def test_groups(self) -> SampleGroups | None:
        """Groups of the test samples: the data set's own, else its super-classes."""
        raw = self.raw
        if raw.test_groups is not None:
            return raw.test_groups
        return None if raw.groups is None else class_groups(raw.groups, self.test.labels)

    @property
    def outside(self) -> Tensor:
        """bool [N]: whether the image is from outside the task; for diagnostics only."""
        return self.clean_labels < 0
