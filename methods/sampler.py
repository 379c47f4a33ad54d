"""Samplers: which k of N scored samples are kept, whatever the score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.interfaces import Evidence, EvidenceSpec
from prunebench.methods.pruner import Card, StaticPruner
from prunebench.options import Option, Value, resolve
from prunebench.registry import SAMPLERS
from prunebench.rng import Stream

S = TypeVar("S", bound="type[Sampler]")


def register_sampler(name: str, *, version: int = 1) -> Callable[[S], S]:
    """Class decorator: registers a sampler under a name and sets ``name`` and ``version``."""

    def add(cls: S) -> S:
        SAMPLERS.register(name, version=version)(cls)
        cls.name, cls.version = name, version
        return cls

    return add


@dataclass(frozen=True)
class Scored:
    """N scored samples as a sampler is given them; what nobody has measured is None.

    Attributes:
        scores: [N]; NaN is undefined and survives.
        side: What the score's authors keep: ``low``, ``high`` or ``window``.
        hard: End of the scores where the difficult samples are: ``low`` or ``high``.
        labels: int64 [N], noisy.
        num_classes: C.
        mean_p: float64 [N], mean probability of the noisy label over the epochs that the score
            reads.
        aum: [N], area under the margin (``aum.aum_scores``): low is difficult.
    """

    scores: Tensor
    side: str = "high"
    hard: str = "high"
    labels: Tensor | None = None
    num_classes: int | None = None
    mean_p: Tensor | None = None
    aum: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def need(self, name: str, sampler: str) -> Tensor:
        """One of the fields that may be None.

        Raises:
            InputError: It is None.
        """
        found: Tensor | None = getattr(self, name)
        if found is None:
            raise InputError(
                f"sampler {sampler!r} needs {name}", where=f"sampler {sampler}",
                accepted=f"{name}=, one value for each sample",
            )  # fmt: skip
        return found


class Sampler(ABC):
    """Base of every sampler; options arrive as keyword arguments and become attributes.

    ``SCORE@SAMPLER`` joins any ``ScorePruner`` with any sampler. Its options are then called
    ``SAMPLER.OPTION``.

    Class attributes a sampler may set:

    * ``options``: table of named options, the only source of defaults and search space.
    * ``card``: description; ``side`` says what is kept and ``cost`` what it adds to a score's.
    * ``randomised``: whether two streams may keep different samples beyond ties.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    options: ClassVar[Mapping[str, Option]] = {}
    card: ClassVar[Card] = Card("")
    randomised: ClassVar[bool] = False

    def __init__(self, **params: Any) -> None:
        """Checks the options and sets them as attributes.

        Raises:
            InputError: An unknown option or a value out of range.
        """
        self.params: dict[str, Value] = resolve(self.options, params, self.name or "params")
        for name, value in self.params.items():
            setattr(self, name, value)

    def needs(self, need: EvidenceSpec) -> EvidenceSpec:
        """What must be recorded: ``need``, that of the score, and what the sampler adds."""
        return need

    def read(self, scored: Scored, evidence: Evidence, score: StaticPruner) -> Scored:
        """``scored`` with what the sampler takes from the evidence.

        Args:
            scored: Scores, side and hard end.
            evidence: What ``needs`` asked for.
            score: The method whose scores they are.
        """
        return scored

    @abstractmethod
    def keep(self, scored: Scored, k: int, rng: Stream) -> tuple[Tensor, dict[str, Any]]:
        """Chooses exactly k samples; undefined scores survive.

        Returns:
            int64 [k], ascending, and small facts for the record.

        Raises:
            InputError: k is outside 0..N, or something that it needs is None.
        """
