"""Benchmarks of parts beside literal readings of papers and released code. ``make perf`` runs them
and holds their goals; those of whole epochs and runs are in ``prunebench.bench.perf``."""

from perf.benchmarks import (
    bookkeeping,
    features,
    gradients,
    ladder,
    limit,
    optimizers,
    overhead,
    own_loop,
    passes,
    plan_costs,
    plans,
    static,
)

BENCHMARKS = {
    "ladder": ladder.ladder,
    "lars": optimizers.lars,
    "seta": plans.seta,
    "ies": plans.ies,
    "divbs": plans.divbs,
    "windows": static.windows,
    "strata": static.strata,
    "prune4rel": static.prune4rel,
    "features": features.features,
    "gradmatch": gradients.gradmatch,
    "submodular": gradients.submodular,
    "gradients": gradients.gradients,
    "many_classes": gradients.many_classes,
    "scoring": passes.scoring,
    "passes": passes.passes,
    "bookkeeping": bookkeeping.bookkeeping,
    "plan-costs": plan_costs.plan_costs,
    "batch-choices": plan_costs.batch_choices,
    "overhead": overhead.overhead,
    "own-loop": own_loop.own_loop,
    "limit": limit.limit,
}
