"""Asks a method for its choices on simulated samples: subsets, epochs or batches, no training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor

from prunebench.bench.checks.guard import Guard, Notes
from prunebench.bench.checks.population import BATCH, Population, SimulatedEvidence
from prunebench.bench.checks.report import Violation
from prunebench.bench.checks.subject import Subject
from prunebench.bench.train.budget import Clock, batch_bounds
from prunebench.bench.train.plan_checks import PlanError, check_indices, shares_of
from prunebench.bench.train.sample_tables import SIGNALS, SampleTables
from prunebench.methods.base import (
    Batch,
    BatchPruner,
    DynamicPruner,
    Evidence,
    Plan,
    Progress,
    Subset,
    Tables,
    TrainView,
    kept_count,
)
from prunebench.rng import Streams

MAX_EPOCHS = 40
SHARES = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Choice:
    """One choice of a method, with indices checked and in ascending order.

    Attributes:
        where: ``k = 36``, ``epoch 3`` or ``epoch 3, batch 0``.
        indices: int64 [n], positions.
        pool: int64 [m], positions it was chosen from.
        weights: float32 [n] or None.
        forward_only: int64 [m] or None.
        wanted: Number of samples asked for, or None where the method decides.
        scores: [N] or None.
    """

    where: str
    indices: Tensor
    pool: Tensor
    weights: Tensor | None = None
    forward_only: Tensor | None = None
    wanted: int | None = None
    scores: Tensor | None = None

    def same_as(self, other: Choice) -> bool:
        """Whether both train on the same samples with the same weights."""
        mine = (self.indices, self.weights, self.forward_only)
        theirs = (other.indices, other.weights, other.forward_only)
        return all(
            a is b or (a is not None and b is not None and torch.equal(a, b))
            for a, b in zip(mine, theirs, strict=True)
        )


@dataclass(frozen=True)
class Setting:
    """How a method is run.

    Attributes:
        seed: Of the streams.
        reads: Receives one line per forbidden read; None leaves the inputs open.
        declared: Whether only declared evidence and signals are served.
        restart: Whether a dynamic method is stored and rebuilt after every epoch.
        writes: Receives one line per input that was written to; the input is put back.
    """

    seed: int = 0
    reads: Notes | None = None
    declared: bool = False
    restart: bool = False
    writes: Notes = field(default_factory=list)


def batches_of(n: int) -> int:
    """Number of batches for n positions; position i is in batch i mod that number."""
    return max(1, n // BATCH)


def warmup_of(epochs: int) -> int:
    """Tw of a recipe of E epochs."""
    return min(epochs, max(2, round(0.15 * epochs)))


def in_batches(population: Population, visited: Tensor) -> tuple[Tensor, list[int]]:
    """Positions in the order of their ids, whatever that of the samples, and sizes of batches."""
    order = population.ids[visited].argsort(stable=True)
    return visited[order], [stop - start for start, stop in batch_bounds(len(visited), BATCH)]


def note_writes(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], writes: Notes, where: str
) -> None:
    """Notes every tensor that is no longer what it was."""
    for name, value in before.items():
        if not torch.equal(value.nan_to_num(-7.0), after[name].nan_to_num(-7.0)):
            writes.append(f"{where}.{name} was written to")


def through_storage(state: Mapping[str, Any]) -> dict[str, Tensor | int | float | str]:
    """What a checkpoint gives back for a state.

    Raises:
        Violation: A value is neither a tensor nor a number nor text.
    """
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, Tensor):
            tensors[name] = value.detach().cpu().clone().contiguous()
        elif isinstance(value, int | float | str):
            scalars[name] = value
        else:
            raise Violation(
                f"state_dict()[{name!r}] is a {type(value).__name__}; "
                "a checkpoint holds tensors, numbers and text"
            )
    return {**load(save(tensors)), **json.loads(json.dumps(scalars))}


def choose(
    subject: Subject,
    population: Population,
    setting: Setting | None = None,
) -> list[Choice]:
    """Every choice of a fresh pruner on a population.

    Raises:
        PlanError: An index is out of range, comes twice, or is no index.
    """
    setting = setting or Setting()
    if subject.shape == "static":
        sizes = [kept_count(len(population), share) for share in SHARES]
        return keep(subject, population, sizes, setting)
    return _Run(subject, population, setting).choices()


def keep(
    subject: Subject,
    population: Population,
    sizes: list[int],
    setting: Setting | None = None,
) -> list[Choice]:
    """A static method's subsets of several sizes; see ``choose`` for errors."""
    setting = setting or Setting()
    warmup = warmup_of(population.epochs)
    streams = Streams(setting.seed, "checks", "checks")
    choices = []
    pruner = subject.static()
    need = pruner.needs(population.epochs, warmup) if setting.declared else None
    for k in sizes:
        own = population.copy()
        evidence: Evidence = SimulatedEvidence(own, warmup, need)
        if setting.reads is not None:
            closed = () if subject.info.oracle else ("clean_labels",)
            evidence = Guard(evidence, Evidence, setting.reads, closed)
        subset: object = pruner.keep(evidence, k, streams.get("keep"))
        note_writes(population.tensors(), own.tensors(), setting.writes, f"keep(k = {k})")
        if not isinstance(subset, Subset):
            kind = type(subset).__name__
            raise PlanError(f"{subject.name}: keep() returned {kind}, not a Subset")
        check_indices(subset.indices, len(population), f"{subject.name}, k = {k}")
        kept, order = subset.indices.sort()
        weights = subset.weights
        if weights is not None and weights.shape == kept.shape:
            weights = weights[order]
        pool = torch.arange(len(population))
        choices.append(Choice(f"k = {k}", kept, pool, weights, wanted=k, scores=subset.scores))
    return choices


def prepare(
    pruner: DynamicPruner,
    population: Population,
    ratio: float,
    reads: Notes | None = None,
    declared: bool = False,
) -> None:
    """Gives a dynamic or batch-level method the evidence that it needs, if any.

    Args:
        pruner: The method.
        population: The samples.
        ratio: Share of training to be saved.
        reads: As in ``Setting``.
        declared: Whether only declared evidence is served.
    """
    warmup = warmup_of(population.epochs)
    need = pruner.needs_at(population.epochs, warmup, ratio)
    if not need.empty:
        evidence: Evidence = SimulatedEvidence(population, warmup, need if declared else None)
        if reads is not None:
            evidence = Guard(evidence, Evidence, reads, () if pruner.oracle else ("clean_labels",))
        pruner.prepare(evidence, ratio, Streams(0, "checks", "checks").get("keep"))


def view_of(population: Population, ratio: float, pruner: DynamicPruner) -> TrainView:
    """What a method may know of a population before training."""
    return TrainView(
        len(population), population.num_classes, population.labels, population.epochs, ratio,
        torch.device("cpu"), population.irreducible if pruner.holdout_model else None,
    )  # fmt: skip


class _Run:
    """A simulated dynamic run, with the population's losses in place of training."""

    def __init__(self, subject: Subject, population: Population, setting: Setting) -> None:
        self.subject, self.setting = subject, setting
        self.original, self.population = population, population.copy()
        self.streams = Streams(setting.seed, "checks", "checks")
        self.clock = Clock(len(population), population.epochs, subject.ratio)
        self.pruner = subject.dynamic()
        self.begin()
        signals = self.pruner.signals if setting.declared else SIGNALS
        self.tables = SampleTables(
            len(population), MAX_EPOCHS + 1, window=self.pruner.window, signals=signals,
            num_classes=population.num_classes,
        )  # fmt: skip
        self.trained, self.target = 0, self.clock.target

    def begin(self) -> None:
        p = self.population
        prepare(self.pruner, p, self.subject.ratio, self.setting.reads, self.setting.declared)
        view: Any = view_of(p, self.subject.ratio, self.pruner)
        self.pruner.begin(self._guarded(view, TrainView))

    def _guarded(self, inner: Any, interface: type) -> Any:
        notes = self.setting.reads
        return inner if notes is None else Guard(inner, interface, notes)

    def choices(self) -> list[Choice]:
        found: list[Choice] = []
        for epoch in range(MAX_EPOCHS):
            if self.trained >= self.target:
                break
            found += self.epoch(epoch)
            if self.setting.restart:
                state = through_storage(self.pruner.state_dict())
                self.pruner = self.subject.dynamic()
                self.begin()
                self.pruner.load_state_dict(state)
        return found

    def epoch(self, epoch: int) -> list[Choice]:
        reference = self.population.reference[min(epoch, self.population.epochs - 1)]
        scorer = getattr(self.pruner, "scorer", None)
        early = getattr(scorer, "reference_at", "epoch_end") == "epoch_start"
        if self.pruner.reference and early:
            self.tables.reference_loss[epoch] = reference
        plan = self.plan(self.clock.progress(epoch, self.trained), epoch)
        if isinstance(self.pruner, BatchPruner) and self.clock.ratio > 0:
            choices = self.batches(self.pruner, plan.indices, epoch)
            visited = torch.cat([choice.indices for choice in choices])
            sizes = [len(choice.indices) for choice in choices]
        else:
            everyone = torch.arange(len(self.population))
            order = plan.indices.argsort()
            weights = None if plan.weights is None else plan.weights[order]
            outer = None if plan.forward_only is None else plan.forward_only.sort().values
            choices = [Choice(f"epoch {epoch}", plan.indices[order], everyone, weights, outer)]
            visited = plan.indices[: self.target - self.trained]
            visited, sizes = in_batches(self.population, visited)
        self.visit(visited, epoch, sizes)
        self.trained += len(visited)
        if plan.forward_only is not None:
            self.visit(plan.forward_only, epoch, [])
        if self.pruner.reference and not early:
            self.tables.reference_loss[epoch] = reference
        return choices

    def plan(self, progress: Progress, epoch: int) -> Plan:
        before = {name: table.clone() for name, table in self.tables.state_dict().items()}
        stream = self.streams.get("pruner", epoch)
        plan: object = self.pruner.plan(progress, self._guarded(self.tables, Tables), stream)
        now = self.tables.state_dict()
        note_writes(before, now, self.setting.writes, f"plan(epoch {epoch}): tables")
        self._labels(f"plan(epoch {epoch})")
        self.tables.load_state_dict(before)
        if not isinstance(plan, Plan):
            raise PlanError(
                f"{self.subject.name}: plan() returned {type(plan).__name__}, not a Plan"
            )
        who = f"{self.subject.name}, epoch {epoch}"
        check_indices(plan.indices, len(self.population), who)
        if plan.forward_only is not None:
            check_indices(plan.forward_only, len(self.population), who, "forward_only")
        elif len(plan.indices) == 0:
            raise PlanError(f"{who}: the plan is empty")
        return plan

    def batches(self, pruner: BatchPruner, positions: Tensor, epoch: int) -> list[Choice]:
        """Selects in every batch; each holds samples from the whole range of positions."""
        count = batches_of(len(positions))
        now = min(epoch, self.population.epochs - 1)
        shares = shares_of(pruner, self.clock.progress(epoch, self.trained), range(count))
        choices = []
        for number, share in enumerate(shares):
            part = positions[number::count]
            k = kept_count(len(part), self.clock.ratio)
            if share is not None:
                k = max(1, int(round(share, 12) * len(part)))
            where = f"epoch {epoch}, batch {number}"
            if k == len(part):  # it is trained whole
                choices.append(Choice(where, part.sort().values, part, wanted=k))
                continue
            logits, features = (
                scores[now, part] if pruner.scoring_pass else scores[now, part, :0]
                for scores in (self.population.logits, self.population.features)
            )
            batch = Batch(logits, features, self.population.labels[part], part.clone())
            stream = self.streams.get("select", epoch, number)
            before = {name: value.clone() for name, value in vars(batch).items()}
            chosen = pruner.select(self._guarded(batch, Batch), k, stream)
            note_writes(before, vars(batch), self.setting.writes, f"select({where}): batch")
            check_indices(chosen, len(part), f"{self.subject.name}, {where}", "positions")
            choices.append(Choice(where, part[chosen.sort().values], part, wanted=k))
        return choices

    def visit(self, positions: Tensor, epoch: int, sizes: list[int]) -> None:
        now = min(epoch, self.population.epochs - 1)
        logits, labels = self.original.logits[now, positions], self.original.labels[positions]
        losses = F.cross_entropy(logits, labels, reduction="none")
        self.tables.write(positions, losses, logits, labels)
        if sizes:
            self.tables.close_batches(positions, sizes)
        self.tables.close_epoch(positions, epoch)

    def _labels(self, where: str) -> None:
        if not torch.equal(self.original.labels, self.population.labels):
            self.setting.writes.append(f"{where}: labels were written to")
            self.population.labels.copy_(self.original.labels)


def replay(subject: Subject, population: Population, epochs: int) -> list[Choice]:
    """A dynamic method's plans and scores over epochs whose visits do not depend on it.

    Each epoch visits two thirds of the samples, chosen by id.

    Raises:
        PlanError: A plan's indices are not valid.
    """
    n, everyone = len(population), torch.arange(len(population))
    pruner, clock = subject.dynamic(), Clock(n, population.epochs, subject.ratio)
    prepare(pruner, population, subject.ratio)
    pruner.begin(view_of(population, subject.ratio, pruner))
    tables = SampleTables(n, epochs + 1, window=pruner.window, signals=SIGNALS,
                          num_classes=population.num_classes)  # fmt: skip
    found, trained = [], 0
    for epoch in range(epochs):
        stream = Streams(0, "checks", "checks").get("pruner", epoch)
        plan = pruner.plan(clock.progress(epoch, trained), tables, stream)
        where = f"epoch {epoch}"
        check_indices(plan.indices, n, f"{subject.name}, {where}")
        scores = None if pruner.last_scores is None else pruner.last_scores.clone()
        found.append(Choice(where, plan.indices.sort().values, everyone, scores=scores))
        visited = ((population.ids + epoch) % 3 != 0).nonzero().squeeze(1)
        logits, labels = population.logits[epoch, visited], population.labels[visited]
        tables.write(visited, F.cross_entropy(logits, labels, reduction="none"), logits, labels)
        tables.close_batches(*in_batches(population, visited))
        tables.close_epoch(visited, epoch)
        if pruner.reference:
            tables.reference_loss[epoch] = population.reference[epoch]
        trained += len(visited)
    return found
