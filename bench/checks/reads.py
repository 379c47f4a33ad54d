"""What methods read, as the words that ``prunebench methods --needs`` takes."""

from __future__ import annotations

from typing import Any

from prunebench.bench.checks.guard import seeded_generators
from prunebench.bench.checks.population import EPOCHS, SimulatedEvidence, simulate_population
from prunebench.bench.checks.simulate import warmup_of
from prunebench.bench.runs.evidence import SIGNAL_NAMES
from prunebench.bench.train.sample_tables import SIGNALS
from prunebench.methods.base import BatchPruner, StaticPruner
from prunebench.methods.compose import MethodInfo
from prunebench.rng import Streams

#: Words, and what a method that needs it reads.
NEEDS = {
    "none": "nothing but labels",
    "signals": "one or more rows of numbers per training epoch",
    **{name: f"the signal {name}" for name in sorted({*SIGNAL_NAMES, *SIGNALS})},
    "confidence": "the largest softmax probability at the last visit, or of a strong view",
    "snapshot": "outputs of the network after some epoch",
    "logits": "logits of a snapshot, of the reference set or of the batch",
    "features": "features of a snapshot, of a strong view, of the reference set or of the batch, "
    "or self-supervised ones",
    "strong": "outputs on a strongly augmented view",
    "ssl": "self-supervised features",
    "reference": "the clean reference set, to measure or to train on",
    "holdout": "a holdout model's loss of every sample",
    "loss": "the last training loss of every sample, or its loss after each epoch",
    "losses": "several last losses of every sample",
    "batch": "outputs on each batch before its step",
}


class _Noted:
    """Passes on attributes and notes their names."""

    def __init__(self, inner: object, seen: set[str]) -> None:
        self._inner, self._seen = inner, seen

    def __getattr__(self, name: str) -> Any:
        self._seen.add(name)
        return getattr(self._inner, name)


class _NotedEvidence(SimulatedEvidence):
    """Simulated evidence that notes what is read of its views."""

    seen: set[str]

    def snapshot(self, epoch: int, repeat: int = 0) -> Any:
        """As the base."""
        return _Noted(super().snapshot(epoch, repeat), self.seen)

    def strong(self, epoch: int) -> Any:
        """As the base."""
        return _Noted(super().strong(epoch), self.seen)

    def reference(self, epoch: int) -> Any:
        """As the base."""
        return _Noted(super().reference(epoch), self.seen)


def needs_of(info: MethodInfo) -> frozenset[str]:
    """Words of ``NEEDS`` for a method under its defaults.

    What is read of a view (logits, features) is seen by letting a static method choose on
    simulated samples.
    """
    pruner: Any = info.build()
    words: set[str] = set()
    if isinstance(pruner, StaticPruner):
        words = _static(pruner)
    else:
        signals = pruner.signals | pruner.needs(EPOCHS, warmup_of(EPOCHS)).signals
        words |= signals | {"signals"} if signals else set()
        words |= {"loss"} if pruner.reads_loss else set()
        words |= {"losses"} if pruner.window else set()
        words |= {"reference"} if pruner.reference or pruner.trains_reference else set()
        if pruner.holdout_model:
            words |= {"holdout", "reference"} if pruner.clean_data else {"holdout"}
        scored = isinstance(pruner, BatchPruner) and pruner.scoring_pass
        words |= {"batch", "logits", "features"} if scored else set()
    return frozenset(words or {"none"})


def _static(pruner: StaticPruner) -> set[str]:
    population = simulate_population()
    warmup = warmup_of(population.epochs)
    need = pruner.needs(population.epochs, warmup)
    words = set(need.signals) | {"signals"} if need.signals else set()
    for word, there in (("snapshot", need.snapshots), ("strong", need.strong),
                        ("ssl", need.ssl), ("reference", need.reads_reference)):  # fmt: skip
        words |= {word} if there else set()
    words |= {"features"} if need.ssl else set()
    if need.snapshots or need.strong or need.reference:
        evidence = _NotedEvidence(population, warmup)
        evidence.seen = set()
        with seeded_generators():
            pruner.keep(evidence, len(population) // 2, Streams(0, "checks", "checks").get("keep"))
        words |= evidence.seen & NEEDS.keys()
    return words
