"""Checks of how methods behave on simulated samples: valid, exact, repeatable, fair among ties."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, cast

import torch
from torch import Tensor

from prunebench.bench.checks.guard import Notes, global_state, seeded_generators
from prunebench.bench.checks.population import (
    Population,
    SimulatedEvidence,
    constant_population,
    simulate_population,
)
from prunebench.bench.checks.report import NotApplicable, Violation
from prunebench.bench.checks.simulate import (
    Choice,
    Setting,
    batches_of,
    choose,
    keep,
    replay,
    warmup_of,
)
from prunebench.bench.checks.subject import Subject
from prunebench.bench.train.budget import Clock
from prunebench.bench.train.plan_checks import (
    PlanError,
    check_indices,
    check_plan,
    check_weights,
)
from prunebench.bench.train.sample_tables import SampleTables
from prunebench.methods.base import (
    Plan,
    Progress,
    ScoreBasedPruner,
    ScorePruner,
    Scorer,
    Tables,
    TrainView,
    kept_count,
)
from prunebench.methods.score_pruner import Sampled
from prunebench.rng import Streams

ODD = 97
#: Standard deviations by which a class may be below its fair share among ties.
TIE_SIGMAS = 5
#: Score given to samples whose own is undefined.
STAND_IN = 1.5


def valid_indices(subject: Subject) -> None:
    """Indices are int64 positions in range, each at most once; a plan is never empty; scores
    are one per sample."""
    with seeded_generators():
        try:
            choices = choose(subject, simulate_population())
        except PlanError as error:
            raise Violation(str(error)) from None
    for choice in choices:
        if choice.scores is not None and choice.scores.shape != choice.pool.shape:
            shape, n = tuple(choice.scores.shape), len(choice.pool)
            raise Violation(f"{choice.where}: expected {n} scores, got shape {shape}")


def exact_k(subject: Subject) -> None:
    """Static and batch-level methods choose exactly k samples."""
    if subject.shape == "dynamic":
        raise NotApplicable("the method decides the size of an epoch")
    with seeded_generators():
        choices = choose(subject, simulate_population())
        if subject.shape == "static":
            shares = [kept_count(ODD, ratio) for ratio in (0.3, 0.5, 0.7)]
            sizes = [1, 2, *shares, ODD - 1, ODD]
            choices += keep(subject, simulate_population(ODD), sizes)
    for choice in choices:
        if len(choice.indices) != choice.wanted:
            raise Violation(
                f"{choice.where}: expected {choice.wanted} samples, got {len(choice.indices)}"
            )


def weights(subject: Subject) -> None:
    """Weights are finite, one for each chosen sample: above 0 in the plan of an epoch; in a static
    subset 0 too, and with the option `weighted`."""
    if subject.shape == "batch":
        raise NotApplicable("a batch-level method gives no weights")
    with seeded_generators():
        choices = choose(subject, simulate_population())
    static = subject.shape == "static"
    if static and all(choice.weights is None for choice in choices):
        raise NotApplicable("the method gives no weights")
    if static and "weighted" not in subject.info.options:
        raise Violation("gives weights without the option `weighted` (keep_k.WEIGHTED)")
    for choice in choices:
        who = f"{subject.name}, {choice.where}"
        try:
            if not static:
                plan = Plan(choice.indices, choice.weights, choice.forward_only)
                check_plan(plan, len(choice.pool), who)
            elif choice.weights is not None:
                check_weights(choice.weights, len(choice.indices), who)
        except PlanError as error:
            raise Violation(str(error)) from None
        if not static and choice.weights is not None and bool((choice.weights == 0).any()):
            raise Violation(f"{who}: a weight of 0; leave the sample out of the plan")


def deterministic(subject: Subject) -> None:
    """The same stream gives the same choice, from another instance too."""
    population = simulate_population()
    with seeded_generators():
        first = choose(subject, population)
    with seeded_generators():
        second = choose(subject, population)
    _same(first, second, "two instances under one stream")


def _same(first: list[Choice], second: list[Choice], what: str) -> None:
    if len(first) != len(second):
        raise Violation(f"{what}: {len(first)} choices against {len(second)}")
    for a, b in zip(first, second, strict=True):
        if not a.same_as(b):
            kept = torch.isin(a.indices, b.indices).sum()
            raise Violation(
                f"{what} differ at {a.where}: {len(a.indices)} and {len(b.indices)} samples, "
                f"{int(kept)} in common" + (", weights differ" if kept == len(a.indices) else "")
            )


def global_random_state(subject: Subject) -> None:
    """No global generator moves: randomness comes from the stream alone."""
    population = simulate_population()
    before = global_state()
    choose(subject, population)
    after = global_state()
    moved = [name for name in before if before[name] != after[name]]
    if moved:
        raise Violation(
            f"moves the global generator of {', '.join(moved)}; use the stream that is passed in"
        )


def clean_labels(subject: Subject) -> None:
    """Nothing outside the interface is read: no clean labels, no mask of corrupted images, no
    pixels, no test split, no internals."""
    notes: Notes = []
    try:
        with seeded_generators():
            choose(subject, simulate_population(), Setting(reads=notes))
    except Exception:
        if not notes:
            raise
    if notes:
        raise Violation(f"{notes[0]}, which is closed to methods" + _more(notes))


def _more(notes: Notes) -> str:
    return f" (and {len(notes) - 1} more)" if len(notes) > 1 else ""


def declared_inputs(subject: Subject) -> None:
    """Only what ``needs()``, ``signals`` and ``reference`` declare is read."""
    try:
        with seeded_generators():
            choose(subject, simulate_population(), Setting(declared=True))
    except KeyError as error:
        raise Violation(f"reads what it does not declare: {error.args[0]}") from None


def inputs_untouched(subject: Subject) -> None:
    """Labels, tables and batches are read, never written to."""
    setting = Setting()
    with seeded_generators():
        choose(subject, simulate_population(), setting)
    if setting.writes:
        raise Violation(setting.writes[0] + _more(setting.writes))


def permutation(subject: Subject) -> str:
    """Reordering the samples reorders the result and changes nothing else, ties aside."""
    population = simulate_population()
    randomised = subject.info.randomised
    if randomised and not issubclass(subject.info.target, ScoreBasedPruner):
        raise NotApplicable("declared randomised: draws belong to positions")
    order = _order(len(population), batches_of(len(population)) if subject.shape == "batch" else 1)
    other = population.permuted(order)
    with seeded_generators():
        if subject.shape == "dynamic":
            first, second = replay(subject, population, 8), replay(subject, other, 8)
        else:
            first, second = choose(subject, population), choose(subject, other)
    for a, b in zip(first, second, strict=True):
        _same_scores(a, b, order)
        if not randomised:
            _same_up_to_ties(a, b, order)
    return "scores only: declared randomised" if randomised else ""


def _order(n: int, batches: int) -> Tensor:
    """A random order of n positions that leaves every sample in its batch."""
    order, source = torch.arange(n), torch.Generator().manual_seed(1)
    for number in range(batches):
        members = torch.arange(number, n, batches)
        order[members] = members[torch.randperm(len(members), generator=source)]
    return order


def _same_scores(a: Choice, b: Choice, order: Tensor) -> None:
    if a.scores is None or b.scores is None or len(a.scores) != len(order):
        return
    before, after = a.scores[order], b.scores
    if not torch.allclose(before, after, rtol=1e-4, atol=1e-6, equal_nan=True):
        worst = int((before - after).abs().nan_to_num(math.inf).argmax())
        raise Violation(
            f"{a.where}: a sample scores {before[worst]:.4g} in one order of the data and "
            f"{after[worst]:.4g} in another"
        )


def _same_up_to_ties(a: Choice, b: Choice, order: Tensor) -> None:
    back = order[b.indices].sort().values
    only_a = a.indices[~torch.isin(a.indices, back)]
    only_b = back[~torch.isin(back, a.indices)]
    if len(only_a) == len(only_b) == 0:
        return
    if a.scores is not None and len(only_a) == len(only_b) and len(a.scores) == len(order):
        scores = a.scores.double()
        left, right = scores[only_a].sort().values, scores[only_b].sort().values
        if torch.allclose(left, right, rtol=1e-5, atol=1e-8, equal_nan=True):
            return
    raise Violation(
        f"{a.where}: another order of the data changes {max(len(only_a), len(only_b))} of "
        f"{len(a.indices)} samples; declare `randomised` if that is meant"
    )


def state_round_trip(subject: Subject) -> None:
    """A run that is stored and restored after every epoch continues as if it had not been."""
    if subject.shape == "static":
        raise NotApplicable("a static method has no state")
    population = simulate_population()
    with seeded_generators():
        whole = choose(subject, population)
    with seeded_generators():
        again = choose(subject, population)
    if not all(a.same_as(b) for a, b in zip(whole, again, strict=False)):
        raise NotApplicable("two uninterrupted runs differ already (see deterministic)")
    with seeded_generators():
        resumed = choose(subject, population, Setting(restart=True))
    _same(whole, resumed, "an uninterrupted run and one restored from state_dict()")


def ties(subject: Subject) -> None:
    """Among equal samples the order of the data set decides nothing."""
    for seed in (0, 1):
        population = constant_population()
        with seeded_generators():
            choices = choose(subject, population, Setting(seed))
        groups: dict[str, list[Choice]] = defaultdict(list)
        for choice in choices:
            groups[choice.where.partition(",")[0]].append(choice)
        for where, group in groups.items():
            _mixed(where, group, population.labels, seed)


def _mixed(where: str, group: list[Choice], labels: Tensor, seed: int) -> None:
    """Class counts among the chosen against those of a uniform draw (hypergeometric)."""
    for cls in sorted(set(labels.tolist())):
        count = sum(int((labels[c.indices] == cls).sum()) for c in group)
        fair = variance = 0.0
        for choice in group:
            total, n = len(choice.pool), len(choice.indices)
            share = float((labels[choice.pool] == cls).double().mean())
            fair += n * share
            variance += n * share * (1 - share) * (total - n) / max(1, total - 1)
        if count < fair - TIE_SIGMAS * math.sqrt(variance) - 1:
            raise Violation(
                f"{where}, seed {seed}: of samples that are all alike, {count} of class {cls} are "
                f"chosen where {fair:.0f} are fair; break ties by the stream"
            )


def empty_class(subject: Subject) -> None:
    """A class without samples is no error."""
    population = simulate_population(classes=4)
    with seeded_generators():
        choose(subject, _absent(population.labels, population.clean_labels))


def _absent(labels: Tensor, clean: Tensor) -> Population:
    where = labels == 2, clean == 2
    noisy, true = labels.masked_fill(where[0], 0), clean.masked_fill(where[1], 0)
    return simulate_population(classes=4, labels=(noisy, true))


def short_recipe(subject: Subject) -> None:
    """A recipe of six epochs works."""
    with seeded_generators():
        choose(subject, simulate_population(epochs=6))


class FixedScores(Scorer):
    """Scores that are set in advance."""

    def __init__(self, values: Tensor, undefined: float | None) -> None:
        self.values, self.undefined = values, undefined

    def scores(self, tables: Tables, progress: Progress) -> Tensor:
        """float [N]."""
        return self.values.clone()


def nan_scores(subject: Subject) -> None:
    """A sample without a score is kept: by a dynamic method with weight 1, or with the scorer's
    ``undefined`` score; by a static one before all others."""
    if issubclass(subject.info.target, ScorePruner):
        return _static_nan_scores(subject)
    if not issubclass(subject.info.target, ScoreBasedPruner):
        raise NotApplicable("the method prunes by no score that could be undefined")
    population = simulate_population()
    scores = -population.p_target[3].log()
    holes = torch.arange(0, len(scores), 3)
    scores[holes] = torch.nan
    with seeded_generators():
        plans = _plans(subject, population, FixedScores(scores, None))
        everything = _plans(
            subject, population, FixedScores(torch.full_like(scores, torch.nan), None)
        )
        stand_in = _plans(subject, population, FixedScores(scores, STAND_IN))
        filled = _plans(subject, population, FixedScores(scores.nan_to_num(STAND_IN), None))
    for plan in plans:
        _survive(plan, holes)
    for plan in everything:
        _survive(plan, torch.arange(len(scores)))
    for a, b in zip(stand_in, filled, strict=True):
        if not torch.equal(a.indices.sort().values, b.indices.sort().values):
            raise Violation(
                f"with undefined = {STAND_IN}, samples without a score are not treated as if "
                f"they scored {STAND_IN}"
            )


def _static_nan_scores(subject: Subject) -> None:
    population = simulate_population()
    evidence = SimulatedEvidence(population, warmup_of(population.epochs))
    pruner: Any = subject.static()
    score: Any = pruner.score if isinstance(pruner, Sampled) else pruner
    k, stream = len(population) // 2, Streams(0, "checks", "checks").get("keep")
    with seeded_generators():
        scores = score.scores_for(evidence, k, stream)
    holes = torch.arange(0, len(scores), 3)
    for where, number in ((holes, len(holes)), (slice(None), len(scores))):
        undefined = scores.clone()
        undefined[where] = torch.nan
        score.scores = score.scores_for = lambda *_, given=undefined: given.clone()
        with seeded_generators():
            subset = pruner.keep(evidence, k, stream)
        kept = int(undefined[subset.indices].isnan().sum())
        if len(subset.indices) != k or kept < min(k, number):
            raise Violation(
                f"k = {k}: {len(subset.indices)} samples are kept, {kept} of them of {number} "
                f"whose score is NaN; expected {min(k, number)}"
            )


def _plans(subject: Subject, population: Population, scorer: Scorer) -> list[Plan]:
    n = len(population)
    pruner = cast(ScoreBasedPruner, subject.dynamic())
    pruner.use(scorer)
    device = torch.device("cpu")
    pruner.begin(TrainView(n, population.num_classes, population.labels, 20, 0.5, device))
    tables = SampleTables(n, 20, window=pruner.window)
    streams, clock, plans = Streams(0, "checks", "checks"), Clock(n, 20, 0.5), []
    for epoch in range(4):
        plan = pruner.plan(clock.progress(epoch, epoch * n), tables, streams.get("pruner", epoch))
        check_indices(plan.indices, n, f"{subject.name}, epoch {epoch}")
        plans.append(plan)
    return plans


def _survive(plan: Plan, holes: Tensor) -> None:
    here = torch.isin(plan.indices, holes)
    if int(here.sum()) < len(holes):
        raise Violation(
            f"{len(holes) - int(here.sum())} of {len(holes)} samples whose score is NaN are left "
            "out; expected all of them in the plan"
        )
    if plan.weights is not None and not bool((plan.weights[here] == 1).all()):
        raise Violation("samples whose score is NaN have weights other than 1")
