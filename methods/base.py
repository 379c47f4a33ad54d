"""The interfaces of pruning: what a method sees, and what it says.

A pruner says which samples, with which weights. It never trains, never sees clean labels or the
test set, and draws randomness only from the stream it is handed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from prunebench.options import Option, Value, resolve
from prunebench.registry import CRITERIA, METHODS
from prunebench.rng import Stream

P = TypeVar("P", bound="type[Pruner]")


def register_method(name: str, *, version: int = 1) -> Callable[[P], P]:
    """Class decorator: registers a pruner under a name and tells it that name."""

    def add(cls: P) -> P:
        METHODS.register(name, version=version)(cls)
        cls.name, cls.version = name, version
        return cls

    return add


def register_criterion(name: str, *, version: int = 1) -> Callable[[type], type]:
    """Class decorator: registers a per-sample loss."""
    return CRITERIA.register(name, version=version)


@dataclass(frozen=True)
class Plan:
    """One epoch. The trainer orders it; a plan is a set with weights.

    Attributes:
        indices: int64 [n], positions 0..N-1 of the training split, each at most once. Empty only
            if ``forward_only`` is not.
        weights: float32 [n] multiplying the per-sample loss; None means 1.
        forward_only: int64 [m], samples re-scored in eval mode without gradient (IES).
    """

    indices: Tensor
    weights: Tensor | None = None
    forward_only: Tensor | None = None


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
    """

    num_samples: int
    num_classes: int
    labels: Tensor
    epochs: int
    ratio: float
    device: torch.device


@dataclass(frozen=True)
class Progress:
    """Where a run stands at the start of an epoch.

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


def round_half_even(value: Fraction | float) -> int:
    """Rounds to the nearest integer, halves to even."""
    return round(value)


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
        """float32 [N]: plain cross-entropy; the same tensor as ``loss`` under cross-entropy."""

    @property
    def last_seen(self) -> Tensor:
        """int64 [N]: epoch of the last visit, -1 before the first."""

    @property
    def seen(self) -> Tensor:
        """int64 [N]: number of visits."""

    @property
    def losses(self) -> Tensor:
        """float32 [W, N]: ring of the last W losses per sample (plain cross-entropy under other
        criteria); NaN where empty. Entry ``i mod W`` holds visit i; see ``loss_epochs``."""

    @property
    def loss_epochs(self) -> Tensor:
        """int64 [W, N]: epoch of each entry of ``losses``; -1 where empty."""

    @property
    def reference_loss(self) -> Tensor:
        """float64 [E]: mean reference loss at the end of each epoch; NaN where not measured.
        Rows beyond the present are NaN."""

    def signal(self, name: str) -> Tensor:
        """float32 [N]: a further declared signal (``p_target``, ``correct``, ``margin``), value
        at the last visit; NaN until seen."""


@dataclass(frozen=True)
class Batch:
    """What a batch-level method sees: scores of one batch from an eval-mode forward pass.

    Attributes:
        logits: float32 [B, C].
        features: float32 [B, D], input of the last linear layer.
        labels: int64 [B], noisy.
        index: int64 [B], positions in the training split.
    """

    logits: Tensor
    features: Tensor
    labels: Tensor
    index: Tensor


@dataclass(frozen=True)
class EvidenceSpec:
    """What a static method needs recorded from the shared full-data run.

    Attributes:
        signals: Of ``p_target`` and ``correct``: one row per epoch, train mode, before the update.
        snapshots: Epochs e after which logits and features are taken (eval mode, clean view).
        strong: Epochs after which confidence and features of one strongly augmented view are
            taken.
        repeats: Independent full-data runs (different initial weights); 1 is the shared run.
        ssl: Whether self-supervised features of the data set are needed.
        until: Epochs that are enough; None needs the whole run.
    """

    signals: frozenset[str] = frozenset()
    snapshots: tuple[int, ...] = ()
    strong: tuple[int, ...] = ()
    repeats: int = 1
    ssl: bool = False
    until: int | None = None

    @property
    def empty(self) -> bool:
        """Whether no scoring run is needed at all."""
        return not (self.signals or self.snapshots or self.strong or self.ssl)


@dataclass(frozen=True)
class Snapshot:
    """Outputs of one scoring pass: ``logits`` float32 [N, C], ``features`` float32 [N, D]."""

    logits: Tensor
    features: Tensor


@dataclass(frozen=True)
class StrongView:
    """Outputs on a strong view: ``confidence`` float32 [N] (max softmax), ``features`` [N, D]."""

    confidence: Tensor
    features: Tensor


class Evidence(Protocol):
    """Recorded by the shared run; holds only what was declared. CPU tensors, positions 0..N-1."""

    @property
    def ids(self) -> Tensor:
        """int64 [N]: original sample id of each position."""

    @property
    def clean_labels(self) -> Tensor:
        """int64 [N], for oracles only; raises PermissionError for every other method."""

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
    def ssl_features(self) -> Tensor:
        """float32 [N, D]."""

    def snapshot(self, epoch: int, repeat: int = 0) -> Snapshot:
        """Eval-mode outputs on the clean view after ``epoch`` epochs."""

    def strong(self, epoch: int) -> StrongView:
        """Eval-mode outputs on one strong view after ``epoch`` epochs."""


@dataclass(frozen=True)
class Subset:
    """A static method's verdict.

    Attributes:
        indices: int64 [k], positions kept, each once.
        scores: float64 or float32 [N] as published, or None where the method has none.
        info: Small facts for the record, such as samples tied at the cut.
    """

    indices: Tensor
    scores: Tensor | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """Who a method is, for listings, docs and leaderboards.

    Attributes:
        title: Name as printed in tables.
        paper: Authors, title, venue and year; empty for controls.
        repository: Official code, empty where there is none.
        bibtex_key: Citation key.
        cost: What the method costs beyond the trained samples.
        side: Which samples are kept: ``low``, ``high``, ``window``, or a few words.
    """

    title: str
    paper: str = ""
    repository: str = ""
    bibtex_key: str = ""
    cost: str = "none"
    side: str = ""


class Pruner(ABC):
    """Base of every method; options arrive as keyword arguments and become attributes.

    Class attributes a method may set:

    * ``options``: table of named options, the only source of defaults and search space.
    * ``card``: description.
    * ``clean_data``: what clean labels it uses (empty: none).
    * ``oracle``: reads clean labels; marked everywhere and never ranked.
    * ``randomised``: whether two streams may keep different samples beyond ties.
    * ``zero_is_full``: whether ratio 0 equals full training bit for bit.
    * ``full_at``: options at which a method with a pruned share of its own prunes nothing.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    kind: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Option]] = {}
    card: ClassVar[Card] = Card("")
    clean_data: ClassVar[str] = ""
    oracle: ClassVar[bool] = False
    randomised: ClassVar[bool] = False
    zero_is_full: ClassVar[bool] = True
    full_at: ClassVar[Mapping[str, Value]] = {}
    ratios: ClassVar[str] = "any"  # "any" or "zero" (full training)
    argument: ClassVar[str] = ""  # option that ``name:ARGUMENT`` fills

    def __init__(self, **params: Any) -> None:
        """Checks the options and sets them as attributes.

        Raises:
            InputError: An unknown option or a value out of range.
        """
        self.params: dict[str, Value] = resolve(self.options, params, self.name or "params")
        for name, value in self.params.items():
            if "." not in name:
                setattr(self, name, value)

    def cautions(self) -> list[str]:
        """What a reader of the record should know of these options."""
        return []

    def pruned_share(self, ratio: float) -> float:
        """Average share of samples skipped per epoch, for the ``paper`` budget's epoch count."""
        return ratio


class StaticPruner(Pruner):
    """Chooses one subset from recorded evidence, before training."""

    kind = "static"
    #: Whether the scoring run trains on the cell's own criterion instead of cross-entropy.
    proxy_criterion: ClassVar[bool] = False
    #: Recipe fields of the scoring run as published, for ``proxy = "own"``; empty: none known.
    own_proxy: ClassVar[Mapping[str, Any]] = {}

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """What must be recorded.

        Args:
            epochs: Epochs E of the recipe.
            warmup: The recipe's snapshot epoch Tw.
        """
        return EvidenceSpec()

    @abstractmethod
    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Chooses exactly ``k`` of the N samples."""


class DynamicPruner(Pruner):
    """Plans every epoch from the tables."""

    kind = "dynamic"
    signals: frozenset[str] = frozenset()
    #: Loss history the trainer must keep, W visits; 0 keeps none.
    window: int = 0
    #: Which loss that history holds: plain cross-entropy (``ce``) or the criterion's.
    history: str = "ce"
    #: Whether the mean loss of the clean reference set is measured each epoch.
    reference: bool = False
    #: The scores [N] that led to the last plan, for diagnostics; None where there are none.
    last_scores: Tensor | None = None

    def begin(self, view: TrainView) -> None:
        """Called once before the first epoch."""
        self.view = view

    @abstractmethod
    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """The next epoch."""

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """Everything that must survive a restart in mid-run."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` gave."""

    def everything(self) -> Plan:
        """A plan of all samples with weight 1."""
        return Plan(torch.arange(self.view.num_samples, device=self.view.device))


class BatchPruner(DynamicPruner):
    """Chooses within each batch: the trainer scores a batch in eval mode, then trains on k."""

    kind = "batch"

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """All samples; the selection happens batch by batch."""
        return self.everything()

    @abstractmethod
    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """int64 [k]: positions in the batch (0..B-1) to train on, each once."""


class Scorer(ABC):
    """Per-sample score for score-based dynamic pruners; owns its state."""

    signals: frozenset[str] = frozenset()
    window: int = 0
    reference: bool = False
    #: Score of samples whose score is undefined; None keeps them, outside all means.
    undefined: float | None = None
    #: Cut on this score for pruners with a fixed threshold; None leaves them their own. Like
    #: ``undefined`` it may change from epoch to epoch and is read after ``scores``.
    threshold: float | None = None
    #: Where pruners that cut at the mean cut instead; None means the mean of all defined scores.
    #: Read after ``scores``.
    split: Tensor | None = None
    #: Which loss the ring of ``Tables.losses`` holds: ``ce`` or ``training`` (the criterion's).
    history: str = "ce"

    def begin(self, view: TrainView) -> None:
        """Called once before the first epoch; ``window`` is settled when it returns."""

    @abstractmethod
    def scores(self, tables: Tables, progress: Progress) -> Tensor:
        """float [N]; NaN = undefined."""

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """Everything that must survive a restart."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` gave."""


class LastLoss(Scorer):
    """The last training loss of each sample; unseen samples read as ``unseen`` (InfoBatch: 3)."""

    def __init__(self, unseen: float | None = 3.0) -> None:
        self.undefined = unseen

    def scores(self, tables: Tables, progress: Progress) -> Tensor:
        """float32 [N]."""
        return tables.loss


class ScoreBasedPruner(DynamicPruner):
    """Prunes by one score per sample; any ``Scorer`` fits, so ``name+align`` needs no code.

    ``prune`` sees only samples whose score is defined. Samples without a score are kept with
    weight 1 unless the scorer names a stand-in value.
    """

    def __init__(self, scorer: Scorer | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.use(scorer if scorer is not None else self.own_scorer())

    def use(self, scorer: Scorer) -> None:
        """Prunes by another score from now on."""
        self.scorer = scorer
        self.signals, self.window = scorer.signals, scorer.window
        self.history = scorer.history
        self.reference = scorer.reference

    def own_scorer(self) -> Scorer:
        """The published score of the method."""
        return LastLoss()

    def begin(self, view: TrainView) -> None:
        """Called once before the first epoch."""
        super().begin(view)
        self.scorer.begin(view)
        self.window = self.scorer.window

    @abstractmethod
    def prune(self, scores: Tensor, progress: Progress, rng: Stream) -> Plan:
        """Plans over the scored samples.

        Args:
            scores: float [n], all finite; positions 0..n-1 are those of this vector.
            progress: Where the run stands.
            rng: Stream of this epoch.
        """

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """Scores, then ``prune``; undefined scores survive with weight 1."""
        scores = self.scorer.scores(tables, progress)
        self.last_scores = scores
        defined = scores.isfinite()
        if self.scorer.undefined is not None:
            scores = torch.where(defined, scores, self.scorer.undefined)
            return self.prune(scores, progress, rng)
        where = defined.nonzero().squeeze(1)
        if len(where) == 0:
            return self.everything()
        if len(where) == len(scores):
            return self.prune(scores, progress, rng)
        inner = self.prune(scores[where], progress, rng)
        rest = (~defined).nonzero().squeeze(1)
        weights = inner.weights
        if weights is not None:
            weights = torch.cat([weights, weights.new_ones(len(rest))])
        outer = None if inner.forward_only is None else where[inner.forward_only]
        return Plan(torch.cat([where[inner.indices], rest]), weights, outer)

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """State of the scorer; a pruner with its own adds to it."""
        return {f"scorer.{name}": value for name, value in self.scorer.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the scorer."""
        prefix = "scorer."
        self.scorer.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )


class Criterion(ABC):
    """Per-sample loss; may own per-sample parameters, indexed by original sample id.

    Attributes:
        views: 2 when a strongly augmented second view is wanted.
        plain: Whether ``per_sample`` is cross-entropy, so that tables need no second loss.
    """

    options: ClassVar[Mapping[str, Option]] = {}
    views: int = 1
    plain: bool = False

    def __init__(self, **params: Any) -> None:
        self.params = resolve(self.options, params, "criterion")
        for name, value in self.params.items():
            setattr(self, name, value)

    def begin(self, num_samples: int, num_classes: int, device: torch.device, rng: Stream) -> None:
        """Creates per-sample parameters for ids 0..num_samples-1 of the original split."""

    @abstractmethod
    def per_sample(
        self, logits: Tensor, labels: Tensor, index: Tensor, strong_logits: Tensor | None = None
    ) -> Tensor:
        """float32 [B] from logits [B, C]; weights are applied to it by the trainer."""

    def batch_term(
        self, logits: Tensor, labels: Tensor, index: Tensor, strong_logits: Tensor | None = None
    ) -> Tensor | None:
        """A scalar added unweighted, or None."""
        return None

    def step(self) -> None:
        """Updates the criterion's own parameters after the backward pass."""

    def state_dict(self) -> dict[str, Tensor]:
        """Own parameters, for checkpoints."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores them."""
