"""Drops the samples with the highest loss, which are the mislabelled ones more often than not."""

from prunebench import Card, Option, Plan, ScoreBasedPruner, kept_count, register_method


@register_method("drop-highest")
class DropHighest(ScoreBasedPruner):
    """Trains each epoch on the samples of lowest score, ties by the stream."""

    options = {"r": Option(0.2, "share of the samples dropped", 0.0, 0.9, search=(0.1, 0.5))}
    card = Card("Drop-Highest", cost="none", side="low")
    zero_is_full, full_at = False, {"r": 0.0}

    def prune(self, scores, progress, rng):
        order = rng.permutation(len(scores))
        order = order[scores[order].argsort(stable=True)]
        return Plan(order[: kept_count(len(scores), self.r)])
