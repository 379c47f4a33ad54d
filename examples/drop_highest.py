import torch

from prunebench.methods.base import Card, Plan, ScoreBasedPruner, register_method
from prunebench.options import Option


@register_method("drop-highest")
class DropHighest(ScoreBasedPruner):
    """Leaves out the samples with the highest loss, and anneals on everything."""

    options = {
        "share": Option(0.3, "share left out", low=0.0, high=0.9, search=(0.1, 0.6)),
        "delta": Option(0.875, "share of epochs that prune", low=0.0, high=1.0),
    }
    card = Card("Drop highest", side="low")

    def prune(self, scores, progress, rng):
        n = len(scores)
        if progress.epoch == 0 or progress.annealing(self.delta):
            return Plan(torch.arange(n, device=scores.device))
        return Plan(scores.argsort()[: n - int(self.share * n)])
