"""Static methods that are one score per sample: any sampler keeps k samples by it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.interfaces import Evidence, EvidenceSpec, Subset
from prunebench.methods.pruner import StaticPruner
from prunebench.methods.sampler import Sampler, Scored
from prunebench.registry import SAMPLERS
from prunebench.rng import Stream


class ScorePruner(StaticPruner):
    """One score per sample, kept as published under its own name and by any sampler as
    ``NAME@SAMPLER``.

    An author writes ``needs`` and ``scores``. Class attributes beside those of ``Pruner``:

    * ``side``: what the authors keep: ``low``, ``high`` or ``window``. A score whose option
      ``side`` decides it may have other words there and overrides ``kept_side``.
    * ``hard``: end of the scores where the difficult samples are, ``low`` or ``high``.
    * ``sampler``: how the bare name keeps, by default ``top``. Options of that sampler that the
      class has under the same names are passed on.
    * ``sampler_options``: options that choose the sampler of the bare name; ``NAME@SAMPLER`` lacks
      them.
    * ``score_of``: name of the score, for a class that only gives it another sampler.
    """

    side: str = "high"
    hard: ClassVar[str] = "high"
    sampler: ClassVar[str] = "top"
    sampler_options: ClassVar[frozenset[str]] = frozenset()
    score_of: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a hard end that is none, which only some samplers would notice."""
        super().__init_subclass__(**kwargs)
        if cls.hard not in ("low", "high"):
            raise InputError(
                f"unknown end {cls.hard!r}", where=f"{cls.__name__}.hard", accepted="low, high"
            )

    @abstractmethod
    def scores(self, evidence: Evidence) -> Tensor:
        """float [N]; NaN where a score is undefined."""

    def scores_for(self, evidence: Evidence, k: int, rng: Stream) -> Tensor:
        """``scores``, for a method whose scores depend on k or on draws."""
        return self.scores(evidence)

    def kept_side(self) -> str:
        """``low``, ``high`` or ``window`` under the present options."""
        return self.side

    def own_sampler(self) -> Sampler:
        """The sampler of the bare name, with the options that they share."""
        target: type[Sampler] = SAMPLERS.get(self.sampler).target
        shared = target.options.keys() & self.params.keys() - {"side"}
        return target(**{name: self.params[name] for name in shared})

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps k samples as published."""
        return self.keep_by(self.own_sampler(), evidence, k, rng)

    def keep_by(self, sampler: Sampler, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps k samples by the score and a sampler."""
        scores = self.scores_for(evidence, k, rng)
        total = len(evidence.labels)
        if not isinstance(scores, Tensor) or scores.shape != (total,):
            got = tuple(getattr(scores, "shape", ())) or type(scores).__name__
            raise InputError(
                f"scores() gave {got}", where=self.name, accepted=f"a tensor [{total}]"
            )
        scored = Scored(scores, self.kept_side(), self.hard)
        kept = sampler.keep(sampler.read(scored, evidence, self), k, rng)
        if not isinstance(kept, tuple):
            raise InputError(
                f"keep() gave {type(kept).__name__}", where=f"sampler {sampler.name}",
                accepted="a tuple of indices and a dict of facts",
            )  # fmt: skip
        indices, info = kept
        return Subset(indices, scores, info)


class Sampled(StaticPruner):
    """``SCORE@SAMPLER``: a score and the sampler that stands in for its own.

    Args:
        score: The score.
        sampler: The sampler.
        name: ``SCORE@SAMPLER``.
    """

    def __init__(self, score: ScorePruner, sampler: Sampler, name: str) -> None:
        super().__init__()
        self.score, self.by = score, sampler
        own = {n: v for n, v in score.params.items() if n not in score.sampler_options}
        prefix = name.partition("@")[2]
        self.params = {**own, **{f"{prefix}.{n}": v for n, v in sampler.params.items()}}
        for field in ("kind", "oracle", "clean_data", "own_proxy", "proxy_criterion"):
            setattr(self, field, getattr(score, field))
        self.name = name  # type: ignore[misc]
        self.randomised = score.randomised or sampler.randomised  # type: ignore[misc]

    def cautions(self) -> list[str]:
        """Those of the score."""
        return self.score.cautions()

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """What the score needs and what the sampler adds."""
        return self.by.needs(self.score.needs(epochs, warmup))

    def needs_at(self, epochs: int, warmup: int, ratio: float) -> EvidenceSpec:
        """The same for what is read at one ratio."""
        return self.by.needs(self.score.needs_at(epochs, warmup, ratio))

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps k samples by the score and the sampler."""
        return self.score.keep_by(self.by, evidence, k, rng)


def score_and_sampler(pruner: StaticPruner) -> tuple[str, str] | None:
    """Names of the score and of the sampler of a pruner, whatever it is called: ``aum`` and
    ``strata`` for ``ccs``; None for a method that is no score per sample."""
    if isinstance(pruner, Sampled):
        return pruner.score.name, pruner.by.name
    if isinstance(pruner, ScorePruner):
        return pruner.score_of or pruner.name, pruner.own_sampler().name
    return None
