"""The bases of static, dynamic and batch-level pruners."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from prunebench.methods.interfaces import (
    Batch,
    Evidence,
    EvidenceSpec,
    Plan,
    Progress,
    Subset,
    Tables,
    TrainView,
)
from prunebench.options import Option, Value, resolve
from prunebench.registry import METHODS
from prunebench.rng import Stream

P = TypeVar("P", bound="type[Pruner]")


def register_method(name: str, *, version: int = 1) -> Callable[[P], P]:
    """Class decorator: registers a pruner under a name and sets ``name`` and ``version``."""

    def add(cls: P) -> P:
        METHODS.register(name, version=version)(cls)
        cls.name, cls.version = name, version
        return cls

    return add


@dataclass(frozen=True)
class Card:
    """Description of a method for listings, docs and leaderboards.

    Attributes:
        title: Name as printed in tables.
        paper: Authors, title, venue and year; empty for controls.
        repository: Official code, empty where there is none.
        bibtex_key: Citation key.
        cost: What the method costs beyond the trained samples.
        side: Which samples are kept: ``low``, ``high``, ``window``, or a few words.
        year: Of publication; 0 takes the first year that ``paper`` names.
        provisional: Why the method may not be the published one; empty where that is known.
    """

    title: str
    paper: str = ""
    repository: str = ""
    bibtex_key: str = ""
    cost: str = "none"
    side: str = ""
    year: int = 0
    provisional: str = ""

    @property
    def published(self) -> int | None:
        """Year of publication; None where nothing is published."""
        named = re.search(r"\b(?:19|20)\d\d\b(?!\.\d)", self.paper)  # "1910.00762" is no year
        return self.year or (int(named[0]) if named else None)


class Pruner(ABC):
    """Base of every method; options arrive as keyword arguments and become attributes.

    Class attributes a method may set:

    * ``options``: table of named options, the only source of defaults and search space.
    * ``card``: description.
    * ``clean_data``: what clean labels it uses (empty: none).
    * ``oracle``: reads clean labels; marked everywhere and never ranked.
    * ``randomised``: whether two streams may keep different samples beyond ties.
    * ``zero_is_full``: whether ratio 0 equals full training bit for bit.
    * ``trains_reference``: whether the clean reference set joins the training split.
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
    trains_reference: ClassVar[bool] = False
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
        """Lines for a reader of the record under these options."""
        return []

    def pruned_share(self, ratio: float) -> float:
        """Average share of samples skipped per epoch, for the ``paper`` budget's epoch count."""
        return ratio

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """What a scoring run must record for the method.

        Args:
            epochs: Epochs E of the recipe.
            warmup: The recipe's snapshot epoch Tw.
        """
        return EvidenceSpec()

    def needs_at(self, epochs: int, warmup: int, ratio: float) -> EvidenceSpec:
        """The part of ``needs`` that is read at one ratio, which is what a run is charged for."""
        return self.needs(epochs, warmup)

    def proxy_recipe(self, epochs: int) -> Mapping[str, Any]:
        """Recipe fields of a scoring run that no other method shares: a network of the method's
        own, say. Empty: the scoring run is the shared one.

        Args:
            epochs: Epochs E of the recipe.
        """
        return {}


class StaticPruner(Pruner):
    """Chooses one subset from recorded evidence, before training."""

    kind = "static"
    #: Whether the scoring run trains on the cell's own criterion instead of cross-entropy.
    proxy_criterion: ClassVar[bool] = False
    #: Recipe fields of the scoring run as published, for ``proxy = "own"``; empty: none known.
    own_proxy: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Chooses exactly ``k`` of the N samples."""


class DynamicPruner(Pruner):
    """Plans every epoch from the tables."""

    kind = "dynamic"
    signals: frozenset[str] = frozenset()
    #: Whether ``plan`` reads ``Tables.loss``; for the card.
    reads_loss: bool = False
    #: Loss history the trainer must keep, W visits; 0 keeps none.
    window: int = 0
    #: Which loss that history holds: cross-entropy (``ce``) or the criterion's.
    history: str = "ce"
    #: Whether the mean loss of the clean reference set is measured each epoch.
    reference: bool = False
    #: The scores [N] that led to the last plan, for diagnostics; None where there are none.
    last_scores: Tensor | None = None
    #: Whether ``TrainView.irreducible`` is wanted, the losses of a model that never trained on the
    #: samples: a run of its own, shared and charged.
    holdout_model: ClassVar[bool] = False

    def prepare(self, evidence: Evidence, ratio: float, rng: Stream) -> None:
        """Called once before ``begin``, where ``needs`` asks for evidence.

        Args:
            evidence: What was recorded; the method keeps tensors of it, not the object.
            ratio: Share p of training to be saved.
            rng: Its draws.
        """

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
    #: Children of its stream that ``select`` draws from, where ``select`` is a pure function of its
    #: arguments that runs on the device and reads nothing back, so that a step may be recorded once
    #: and replayed; None where it is not.
    draws: ClassVar[tuple[str, ...] | None] = None
    #: Whether the trainer scores each batch before ``select``; without it ``Batch.logits`` is
    #: [B, 0] and ``features`` too, and nothing is charged.
    scoring_pass: ClassVar[bool] = True

    def share(self, progress: Progress, step: int) -> float | None:
        """Share of a batch that is trained, above 0 and at most 1; None for the run's 1 - p.

        Of B samples max(1, floor(share B)) are trained. Where that is B, the batch is trained
        whole: it is not scored and ``select`` is not called. At ratio 0 nobody asks.

        Args:
            progress: At the start of the epoch.
            step: Number of the batch in the epoch.
        """
        return None

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """All samples; the selection happens batch by batch."""
        return self.everything()

    @abstractmethod
    def select(self, batch: Batch, k: int, rng: Stream) -> Tensor:
        """int64 [k]: places in the batch (0..B-1) of the samples to train on, each once."""
