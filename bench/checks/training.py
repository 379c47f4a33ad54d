"""Checks by tiny real runs in the one training loop, on generated images."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from prunebench.bench.checks.guard import seeded_generators
from prunebench.bench.checks.population import SimulatedEvidence, simulate_population
from prunebench.bench.checks.report import NotApplicable, Violation
from prunebench.bench.checks.simulate import SHARES, keep, prepare, warmup_of
from prunebench.bench.checks.subject import Subject
from prunebench.bench.runs.reference_set import resolve_reference
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.budget import Clock
from prunebench.bench.train.plan_checks import ConstantPlan
from prunebench.bench.train.setup import Setup
from prunebench.bench.train.static_choice import choose_subset
from prunebench.bench.train.task import load_raw
from prunebench.bench.train.trainer import Trainer
from prunebench.datasets.build import make_task
from prunebench.datasets.noise.names import parse_noise
from prunebench.errors import SkipCell
from prunebench.methods.base import DynamicPruner, Pruner, StaticPruner, kept_count
from prunebench.methods.compose import resolve_method
from prunebench.methods.cross_entropy import CrossEntropy
from prunebench.rng import Streams

BATCH, REFERENCE, EPOCHS = 32, 16, 6
EVEN = 2 * BATCH
RECIPE = Recipe(
    name="checks", model="cnn", model_params={"width": 4, "depth": 2}, epochs=EPOCHS,
    batch_size=BATCH, lr=0.05, augment="none", cycle_momentum=False,
)  # fmt: skip


def trained(pruner: Pruner, ratio: float, samples: int = EVEN) -> Trainer:
    """Trains to the end of the budget of samples.

    Raises:
        SkipCell: The budget cannot be reached.
        PlanError: A plan breaks its contract.
    """
    streams = Streams(0, "checks", "checks")
    raw = load_raw("synthetic", {
        "n": samples + REFERENCE, "test": 8, "classes": 4, "superclasses": 1, "size": 8,
        "channels": 1,
    })  # fmt: skip
    noise = parse_noise("symmetric:0.25")
    task = make_task(raw, noise, streams, reference_size=REFERENCE)
    labels = task.train.labels, task.clean_labels
    population = simulate_population(classes=raw.num_classes, labels=labels)
    evidence = SimulatedEvidence(population, warmup_of(population.epochs))
    reference = None
    if isinstance(pruner, StaticPruner):
        k, who = kept_count(samples, ratio), pruner.name or type(pruner).__name__
        subset, _ = choose_subset(pruner, evidence, k, streams.get("keep"), who)
        pruner = ConstantPlan(pruner.name, subset.indices, subset.weights)
    elif isinstance(pruner, DynamicPruner):
        if pruner.reference:
            reference = resolve_reference(task, pruner.params, streams, evidence, evidence.warmup)
        prepare(pruner, population, ratio)
    setup = Setup(
        task, RECIPE, pruner, CrossEntropy(), streams, Clock(samples, EPOCHS, ratio),  # type: ignore[arg-type]
        torch.device("cpu"), reference=reference, irreducible=population.irreducible,
    )  # fmt: skip
    trainer = Trainer(setup)
    trainer.fit()
    return trainer


@cache
def _full(threads: int) -> dict[str, Tensor]:
    """Parameters after full training; thread counts differ in their last bits."""
    with seeded_generators():
        return trained(resolve_method("full").build(), 0.0).model.state_dict()


def zero_is_full(subject: Subject) -> str:
    """Ratio 0 is full training, bit for bit; epoch-level methods at their own ``full_at``."""
    if subject.shape == "static":
        with seeded_generators():
            choice = keep(subject, population := simulate_population(), [len(population)])[0]
        if len(choice.indices) != len(population):
            raise Violation(f"k = N keeps {len(choice.indices)} of {len(population)} samples")
        return ""
    settings = dict(subject.info.target.full_at)
    if not subject.info.zero_is_full and not settings:
        raise NotApplicable("the class declares zero_is_full = False")
    if subject.info.suffix is not None and settings:
        settings.update(subject.info.suffix.full_at)
    with seeded_generators():
        mine = trained(subject.build(**settings), 0.0).model.state_dict()
    theirs = _full(torch.get_num_threads())
    differing = [name for name in theirs if not torch.equal(theirs[name], mine[name])]
    shown = ", ".join(f"{name} = {value}" for name, value in settings.items())
    if differing:
        raise Violation(
            f"ratio 0{' with ' + shown if shown else ''} differs from full training in "
            f"{len(differing)} of {len(theirs)} parameters, {differing[0]} first"
        )
    return f"with {shown}" if shown else ""


def budget(subject: Subject) -> None:
    """A run trains exactly on the samples that the ratio allows."""
    for ratio in SHARES if subject.info.ratios == "any" else (0.0,):
        try:
            _meets(subject, ratio, EVEN)
        except SkipCell as skip:
            raise Violation(f"ratio {ratio:g}: {skip.reason}") from None


def odd_sizes(subject: Subject) -> None:
    """A training split that is no multiple of the batch, with one sample left over, works."""
    try:
        _meets(subject, subject.ratio, EVEN + 1)
        if subject.shape == "batch":
            _meets(subject, subject.ratio, EVEN + 7)
    except SkipCell as skip:
        raise NotApplicable(f"{skip.reason} (see budget)") from None


def _meets(subject: Subject, ratio: float, samples: int) -> None:
    expected = kept_count(samples * EPOCHS, ratio)
    with seeded_generators():
        ledger = trained(subject.build(), ratio, samples).ledger
    if ledger.trained != expected:
        raise Violation(f"ratio {ratio:g}: trained on {ledger.trained} samples of {expected}")
