"""Controls that belong in every serious table."""

from __future__ import annotations

from prunebench.methods.base import (
    Card,
    DynamicPruner,
    Evidence,
    Plan,
    Progress,
    StaticPruner,
    Subset,
    Tables,
    register_method,
)
from prunebench.methods.keep_k import take
from prunebench.rng import Stream


class _Everything(DynamicPruner):
    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """All samples, weight 1."""
        return self.everything()


@register_method("full")
class Full(_Everything):
    """Full training: every sample in every epoch of the recipe."""

    kind = "baseline"
    ratios = "zero"
    card = Card("Full training", side="all")


@register_method("short-full")
class ShortFull(_Everything):
    """Full data for fewer epochs: the cheapest way to save training, and a strong one."""

    kind = "baseline"
    card = Card("Short full training", side="all, fewer epochs")

    def pruned_share(self, ratio: float) -> float:
        """No sample is skipped; the number of epochs alone falls."""
        return 0.0


@register_method("full+reference")
class FullReference(_Everything):
    """Full training on the same number of samples, with the clean reference set added to the
    training split: what the clean labels are worth without any method."""

    kind = "baseline"
    ratios = "zero"
    clean_data = "reference set, trained on"
    zero_is_full = False
    card = Card("Full training with the reference", side="all and the reference set")


@register_method("oracle-clean")
class OracleClean(StaticPruner):
    """Drops the truly mislabelled first: the ceiling of every filter, not a method."""

    kind = "oracle"
    oracle = True
    clean_data = "all clean labels"
    randomised = True
    card = Card("Oracle (clean labels)", side="correctly labelled", cost="all clean labels")

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps k samples, mislabelled ones only when the others run out; ties at random."""
        wrong = (evidence.labels != evidence.clean_labels).float()
        indices, tied = take(wrong, k, "low", rng)
        return Subset(indices, wrong, {"tied_at_cut": tied})
