"""Controls for every table: full and shorter training, random subsets, and an oracle."""

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
    kept_count,
    register_method,
)
from prunebench.methods.keep_k import check_count, take
from prunebench.options import Option
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
    """Full data for fewer epochs: the simplest way to save training, and a strong control."""

    kind = "baseline"
    options = {
        "shorten": Option(
            False, "run round((1 - p) E) epochs under the budget epochs too", later=True
        )
    }
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
    trains_reference = True
    zero_is_full = False
    card = Card("Full training with the reference", side="all and the reference set")


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


@register_method("random-dynamic")
class RandomDynamic(DynamicPruner):
    """Keeps round-half-even((1 - p) N) samples per epoch with weight 1, in every epoch.

    A common factor would only change the learning rate, so nothing is rescaled; there is no
    annealing phase, so that the ratio is exact in each epoch.
    """

    card = Card("Dynamic Random", side="uniform")
    randomised = True

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """A uniform subset without replacement, independent of the other epochs."""
        total = self.view.num_samples
        kept = max(1, kept_count(total, self.view.ratio))
        return Plan(rng.sample(total, kept, self.view.device))


@register_method("oracle-clean")
class OracleClean(StaticPruner):
    """Drops mislabelled samples first: an upper bound for filters of wrong labels, not a method."""

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
