"""Dynamic Random: a fresh uniform subset every epoch."""

from __future__ import annotations

from prunebench.methods.base import (
    Card,
    DynamicPruner,
    Plan,
    Progress,
    Tables,
    kept_count,
    register_method,
)
from prunebench.rng import Stream


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
