"""What a pruner is given (views, progress, tables, batches, evidence) and what it returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Plan:
    """The samples of one epoch with their weights; the trainer decides the order.

    Attributes:
        indices: int64 [n], positions in the training split (0..N-1, not sample ids), each at most
            once. Empty only if ``forward_only`` is not.
        weights: float32 [n] multiplying the per-sample loss, above 0 (0 too for static subsets);
            None means 1.
        forward_only: int64 [m], positions of samples re-scored in eval mode without gradient
            (IES).
        lr_factor: Finite factor above 0 on the scheduled learning rate of every step of the epoch;
            momentum and the coefficient of the weight decay stay (KAKURENBO).
        batch_weights: Whether the loss of a batch is mean(losses) * mean(weights) instead of
            mean(weights * losses) (BLS).
    """

    indices: Tensor
    weights: Tensor | None = None
    forward_only: Tensor | None = None
    lr_factor: float = 1.0
    batch_weights: bool = False


@dataclass(frozen=True)
class TrainView:
    """All a pruner may know before training.

    Attributes:
        num_samples: N, size of the training split.
        num_classes: C.
        labels: int64 [N], the noisy labels.
        epochs: Epochs E of the recipe.
        ratio: Share p of training to be saved.
        device: Where tables and plans live.
        irreducible: float32 [N], cross-entropy of every training sample (noisy label, eval mode,
            unaugmented view) under a model that never trained on it; None but for methods with
            ``holdout_model`` (RHO-LOSS).
    """

    num_samples: int
    num_classes: int
    labels: Tensor
    epochs: int
    ratio: float
    device: torch.device
    irreducible: Tensor | None = None


@dataclass(frozen=True)
class Progress:
    """How far a run is at the start of an epoch.

    Attributes:
        fraction: Share of the training that is done, 0..1.
        epoch: Epochs done.
        trained: Samples back-propagated so far.
        target: Samples to back-propagate in all.
        epochs_left: Full-data epochs that remain, (target - trained) / N; with a fixed number of
            epochs, the epochs that remain.
        total_epochs: The number of epochs where it is fixed in advance, else None.
    """

    fraction: float
    epoch: int
    trained: int
    target: int
    epochs_left: float
    total_epochs: int | None = None

    def annealing(self, delta: float) -> bool:
        """Whether an epoch-level pruner is in its last (1 - delta) share of epochs.

        With a fixed number of epochs T, the first floor(delta T) epochs prune (InfoBatch). With a
        budget of samples the number of epochs is open: annealing starts at the first epoch e with
        e >= delta (e + epochs_left), after which every epoch costs N samples.
        """
        if self.total_epochs is not None:
            return self.epoch >= pruning_epochs(self.total_epochs, delta)
        return self.epoch >= delta * (self.epoch + self.epochs_left) and delta < 1


def pruning_epochs(epochs: int, delta: float) -> int:
    """floor(delta * T) in exact arithmetic: the epochs before annealing (InfoBatch)."""
    return math.floor(Fraction(str(delta)) * epochs)


def kept_count(total: int, ratio: float) -> int:
    """round-half-even of (1 - ratio) * total, free of float error; one size for all methods."""
    return round((1 - Fraction(str(ratio))) * total)


class Tables(Protocol):
    """What the trainer knows per sample; device tensors that a pruner reads once per epoch."""

    @property
    def num_samples(self) -> int:
        """N."""

    @property
    def loss(self) -> Tensor:
        """float32 [N]: the criterion's last per-sample loss, unweighted; NaN until seen."""

    @property
    def ce(self) -> Tensor:
        """float32 [N]: last cross-entropy; the same tensor as ``loss`` under cross-entropy."""

    @property
    def last_seen(self) -> Tensor:
        """int64 [N]: epoch of the last visit, -1 before the first."""

    @property
    def seen(self) -> Tensor:
        """int64 [N]: number of visits."""

    @property
    def losses(self) -> Tensor:
        """float32 [W, N]: ring of the last W losses per sample (cross-entropy under other
        criteria); NaN where empty. Entry ``i mod W`` holds visit i; see ``loss_epochs``."""

    @property
    def loss_epochs(self) -> Tensor:
        """int64 [W, N]: epoch of each entry of ``losses``; -1 where empty."""

    @property
    def reference_loss(self) -> Tensor:
        """float64 [E]: mean reference loss at the end of each epoch; NaN where not measured.
        Rows beyond the present are NaN."""

    def signal(self, name: str) -> Tensor:
        """float32 [N]: a further declared signal, NaN until seen. ``p_target``, ``correct``,
        ``margin`` and ``confidence`` (the largest softmax probability) have the value of the last
        visit, ``forward_only`` included; ``batch_loss`` is the mean unweighted loss of the batch in
        which the sample was last trained."""


@dataclass(frozen=True)
class Batch:
    """What a batch-level method sees: scores of one batch from an eval-mode forward pass.

    Attributes:
        logits: float32 [B, C].
        features: float32 [B, D], input of the last linear layer.
        labels: int64 [B], noisy.
        positions: int64 [B], in the training split.
    """

    logits: Tensor
    features: Tensor
    labels: Tensor
    positions: Tensor

    @property
    def index(self) -> Tensor:
        """``positions``, under the former name."""
        return self.positions


@dataclass(frozen=True)
class EvidenceSpec:
    """What a method needs recorded from a scoring run, the shared full-data run as a rule.

    Attributes:
        signals: Of ``p_target``, ``correct``, ``runner_up``, ``logit_margin`` and ``divergence``:
            one row per epoch, train mode, augmented view, before the update; and of ``loss`` and
            ``reference_loss``: one row after each epoch, eval mode, unaugmented view, for which
            the training samples and the clean reference set are passed through the network.
        snapshots: Epochs e after which logits and features are taken (eval mode, unaugmented view).
        strong: Epochs after which confidence and features of one strongly augmented view are
            taken.
        repeats: Independent full-data runs (different initial weights); 1 is the shared run.
        ssl: Whether self-supervised features of the data set are needed.
        until: Epochs of signals that are enough: ``Evidence`` gives so many rows, and so many
            epochs are charged. None needs the whole run.
        reference: Epochs after which logits and features of the clean reference set are taken
            (eval mode, unaugmented view). A method that reads them uses clean labels.
    """

    signals: frozenset[str] = frozenset()
    snapshots: tuple[int, ...] = ()
    strong: tuple[int, ...] = ()
    repeats: int = 1
    ssl: bool = False
    until: int | None = None
    reference: tuple[int, ...] = ()

    @property
    def reads_reference(self) -> bool:
        """Whether anything of the clean reference set is taken."""
        return bool(self.reference) or "reference_loss" in self.signals

    @property
    def trains(self) -> bool:
        """Whether a scoring run is needed, self-supervised features aside."""
        return bool(self.signals or self.snapshots or self.strong or self.reference)

    @property
    def empty(self) -> bool:
        """Whether nothing at all must be trained for it."""
        return not (self.trains or self.ssl)


@dataclass(frozen=True)
class Snapshot:
    """Outputs of one scoring pass: ``logits`` float32 [N, C], ``features`` float32 [N, D]."""

    logits: Tensor
    features: Tensor


@dataclass(frozen=True)
class ReferenceView:
    """Outputs on the clean reference set: ``logits`` float32 [M, C], ``features`` float32 [M, D],
    ``labels`` int64 [M], clean."""

    logits: Tensor
    features: Tensor
    labels: Tensor


@dataclass(frozen=True)
class StrongView:
    """Outputs on a strong view: ``confidence`` float32 [N] (max softmax), ``features`` [N, D]."""

    confidence: Tensor
    features: Tensor


class Evidence(Protocol):
    """Recorded by the shared run; holds only what was declared. CPU tensors, positions 0..N-1."""

    @property
    def ids(self) -> Tensor:
        """int64 [N]: original id of each position, its row in the data set's whole training split
        even where an option ``limit`` leaves a part of it."""

    @property
    def original_size(self) -> int:
        """Samples of the original training split; ids are below it."""

    @property
    def clean_labels(self) -> Tensor:
        """int64 [N], for oracles only; raises PermissionError for every other method. -1 for a
        sample whose image belongs to no class (noise ``openset``): no label of it is right."""

    @property
    def labels(self) -> Tensor:
        """int64 [N], noisy."""

    @property
    def num_classes(self) -> int:
        """C."""

    @property
    def epochs(self) -> int:
        """Epochs E of the run."""

    @property
    def warmup(self) -> int:
        """The snapshot epoch Tw of the recipe."""

    @property
    def p_target(self) -> Tensor:
        """float32 [E, N]: softmax probability of the (noisy) label."""

    @property
    def correct(self) -> Tensor:
        """bool [E, N]."""

    @property
    def runner_up(self) -> Tensor:
        """float32 [E, N]: largest softmax probability among classes other than the (noisy)
        label."""

    @property
    def logit_margin(self) -> Tensor:
        """float32 [E, N]: logit of the (noisy) label minus the largest other logit."""

    @property
    def divergence(self) -> Tensor:
        """float32 [E, N]: sum over classes of |p ln((p + 1e-8) / (q + 1e-8))|, with p the softmax
        of an epoch's visit and q that of the visit before (TDDS). The first row is NaN."""

    @property
    def loss(self) -> Tensor:
        """float32 [E, N]: plain cross-entropy of the (noisy) label after each epoch, eval mode,
        unaugmented view."""

    @property
    def reference_loss(self) -> Tensor:
        """float32 [E, R]: the same of the clean reference set."""

    @property
    def reference_labels(self) -> Tensor:
        """int64 [R], clean: labels of the samples of ``reference_loss``."""

    @property
    def learning_rates(self) -> Tensor:
        """float64 [E]: the learning rate of the last step of each epoch."""

    def batches(self, epoch: int) -> Tensor:
        """int64 [N]: number of the batch in which the run trained each sample in row ``epoch`` of
        the signals (0..E-1); -1 for what a recipe with ``drop_last`` left out."""

    @property
    def ssl_features(self) -> Tensor:
        """float32 [N, D]."""

    def reference(self, epoch: int) -> ReferenceView:
        """Eval-mode outputs on the clean reference set, unaugmented, after ``epoch`` epochs."""

    def snapshot(self, epoch: int, repeat: int = 0) -> Snapshot:
        """Eval-mode outputs on the unaugmented view after ``epoch`` epochs."""

    def strong(self, epoch: int) -> StrongView:
        """Eval-mode outputs on one strong view after ``epoch`` epochs."""


@dataclass(frozen=True)
class Subset:
    """What a static method keeps.

    Attributes:
        indices: int64 [k], positions in the training split (not sample ids), each once.
        scores: float64 or float32 [N] as published, or None where the method has none. NaN where
            one is undefined, if ``info["undefined"]`` says of how many samples.
        info: Small facts for the record, such as samples tied at the cut.
        weights: float32 [k], a factor >= 0 on the loss of each of ``indices``, or None for 1. The
            harness scales them to mean 1. A sample of weight 0 is trained, and charged, without
            effect. A method that gives weights has the option ``weighted`` (``keep_k.WEIGHTED``).
    """

    indices: Tensor
    scores: Tensor | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    weights: Tensor | None = None
