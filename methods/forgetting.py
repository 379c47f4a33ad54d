"""Forgetting events: how often a sample goes from right to wrong during training."""

from __future__ import annotations

from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import (
    Card,
    Evidence,
    EvidenceSpec,
    Sampler,
    ScorePruner,
    register_method,
)
from prunebench.methods.keep_k import PRUNE4REL_PROXY
from prunebench.options import Option
from prunebench.registry import SAMPLERS

__all__ = ["forgetting_counts"]

POLICIES = ("zero", "max")


def forgetting_counts(correct: Tensor, never_learned: str = "zero") -> Tensor:
    """Number of epochs after which a correct sample is wrong at its next presentation.

    Args:
        correct: bool [E, N], whether the sample was right when it was trained on in each epoch.
        never_learned: Count of samples that were never right: ``zero`` (DeepCore, Prune4Rel,
            dual-pruning) or ``max``, the number of presentations E (example_forgetting). Under
            label noise these are opposite policies.

    Returns:
        int64 [N].

    Raises:
        InputError: Unknown policy.
    """
    if never_learned not in POLICIES:
        raise InputError(
            f"unknown policy {never_learned!r}", where="never_learned", accepted=", ".join(POLICIES)
        )
    correct = correct.bool()
    counts = (correct[:-1] & ~correct[1:]).sum(0)
    return counts.masked_fill(~correct.any(0), len(correct)) if never_learned == "max" else counts


@register_method("forgetting")
class Forgetting(ScorePruner):
    """Keeps the most forgotten samples, by default in proportion to the (noisy) classes.

    Counts are small integers: most cuts fall inside one value, and the seeded key decides there.
    """

    own_proxy = PRUNE4REL_PROXY
    sampler, sampler_options = "balanced", frozenset({"balance"})

    never_learned: str
    balance: bool
    epochs: int | None
    options = {
        "never_learned": Option(
            "zero", "count of samples never classified correctly", choices=POLICIES, search=POLICIES
        ),
        "balance": Option(True, "keep the same share of every class"),
        "epochs": Option(
            None, "epochs counted; auto = the warm-up", low=2, optional=True, kind=int
        ),
    }
    card = Card(
        title="Forget",
        paper="Toneva, Sordoni, Tachet des Combes, Trischler, Bengio, Gordon: An Empirical Study "
        "of Example Forgetting during Deep Neural Network Learning, ICLR 2019",
        repository="https://github.com/mtoneva/example_forgetting",
        bibtex_key="toneva2019empirical",
        cost="the counted epochs of one full-data run; no extra pass",
        side="high",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Correctness bits of the counted epochs.

        Raises:
            InputError: More epochs are asked for than the recipe has.
        """
        counted = self.epochs or warmup
        if counted > epochs:
            raise InputError(
                f"cannot count {counted} epochs of a recipe of {epochs}",
                where=f"{self.name}.epochs",
                accepted=f"2 to {epochs}",
            )
        return EvidenceSpec(signals=frozenset({"correct"}), until=counted)

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], counts."""
        counted = self.epochs or evidence.warmup
        return forgetting_counts(evidence.correct[:counted], self.never_learned).float()

    def own_sampler(self) -> Sampler:
        """``balanced``, or ``top`` where ``balance`` is false."""
        if self.balance:
            return super().own_sampler()
        top: Sampler = SAMPLERS.get("top").target()
        return top
