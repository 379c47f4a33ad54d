"""Pruning by one score per sample: scorers, and the pruners that take any of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from prunebench.methods.interfaces import Plan, Progress, Tables, TrainView
from prunebench.methods.pruner import DynamicPruner
from prunebench.options import Value
from prunebench.rng import Stream


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
    #: Whether the last phase of the run, where the pruner has one, leaves out the samples below
    #: the mean score, or below ``split``. Read after ``scores``.
    high_finish: bool = False
    #: Which loss the ring of ``Tables.losses`` holds: ``ce`` or ``training`` (the criterion's).
    history: str = "ce"
    #: Whether it reads ``Tables.loss``; for the card.
    reads_loss: bool = True
    #: Whether weights apply to the mean loss of a batch; see ``Plan.batch_weights``.
    batch_weights: bool = False
    #: What clean labels it uses; empty for none.
    clean_data: str = ""
    #: Its options in force, by name.
    params: Mapping[str, Value] = MappingProxyType({})

    def begin(self, view: TrainView) -> None:
        """Called once before the first epoch; ``window`` is settled when it returns."""

    def draw(self, rng: Stream) -> None:
        """Called before ``scores`` in every epoch, with a stream of that epoch, for scorers that
        draw."""

    @abstractmethod
    def scores(self, tables: Tables, progress: Progress) -> Tensor:
        """float [N]; NaN = undefined."""

    def planned(self, plan: Plan) -> None:
        """Called with the plan that the last scores led to."""

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
    """Prunes by one score per sample; any ``Scorer`` fits, so ``name+align`` and ``name+bls``
    need no code.

    ``prune`` sees only samples whose score is defined. Samples without a score are kept with
    weight 1 unless the scorer names a stand-in value.

    Class attribute ``fixed_scorer``: the method is its scorer, so that ``name+align`` and
    ``name+bls`` are none.
    """

    fixed_scorer: ClassVar[bool] = False

    def __init__(self, scorer: Scorer | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.use(scorer if scorer is not None else self.own_scorer())

    def use(self, scorer: Scorer) -> None:
        """Prunes by another score from now on."""
        self.scorer = scorer
        self.signals, self.window = scorer.signals, scorer.window
        self.history = scorer.history
        self.reference, self.reads_loss = scorer.reference, scorer.reads_loss

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
            scores: float [n], all finite; the plan's indices are those of this vector, 0..n-1.
            progress: How far the run is.
            rng: Stream of this epoch.
        """

    def finishing(self, progress: Progress) -> bool:
        """Whether the run is in the last phase that an option ``delta`` declares: the last
        (1 - delta) of the epochs."""
        delta = self.params.get("delta")
        return isinstance(delta, float) and progress.annealing(delta)

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """Scores, then ``prune``; undefined scores survive with weight 1."""
        self.scorer.draw(rng)
        scores = self.scorer.scores(tables, progress)
        self.last_scores = scores
        return self.settled(self._pruned(scores, progress, rng))

    def settled(self, plan: Plan) -> Plan:
        """A plan as the scorer wants it trained; a pruner that plans outside ``prune`` ends so."""
        self.scorer.planned(plan)
        if self.scorer.batch_weights and plan.weights is not None:
            return replace(plan, batch_weights=True)
        return plan

    def _pruned(self, scores: Tensor, progress: Progress, rng: Stream) -> Plan:
        defined = scores.isfinite()
        if self.scorer.undefined is not None:
            scores = torch.where(defined, scores, self.scorer.undefined)
            defined = torch.ones_like(defined)
        high = defined
        if self.scorer.high_finish and self.finishing(progress):
            split = self.scorer.split
            high = defined & (scores >= (scores[defined].mean() if split is None else split))
        where = high.nonzero().squeeze(1)
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
        indices = torch.cat([where[inner.indices], rest])
        return replace(inner, indices=indices, weights=weights, forward_only=outer)

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """State of the scorer; a pruner with its own adds to it."""
        return {f"scorer.{name}": value for name, value in self.scorer.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the scorer."""
        prefix = "scorer."
        self.scorer.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
