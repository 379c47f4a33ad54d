"""Static random subset: the control that every pruner must beat."""

from __future__ import annotations

from prunebench.methods.base import Card, Evidence, StaticPruner, Subset, register_method
from prunebench.methods.keep_k import check_count
from prunebench.rng import Stream


@register_method("random")
class Random(StaticPruner):
    """A uniform subset, drawn once: a prefix of one permutation, so nested in k."""

    randomised = True
    card = Card(title="Static Random", side="uniform, no score")

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Draws k samples without replacement."""
        total = len(evidence.labels)
        check_count(k, total)
        return Subset(rng.sample(total, k, evidence.labels.device))
