"""What a cell costs in samples, by the rules of the ledger, before it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from prunebench.bench.grids.plan import Planned
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.holdout import NEED, holdout_specs
from prunebench.bench.runs.scoring_runs import charged_epochs, needs_or_none, scoring_specs
from prunebench.bench.runs.self_supervised import encoder_key, needs_own_encoder
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train.budget import Clock, batch_bounds, budget_in_force, selected_counts
from prunebench.bench.train.plan_checks import shares_of
from prunebench.bench.train.self_supervised import BATCH as SSL_BATCH
from prunebench.bench.train.task import criterion_of
from prunebench.datasets.imbalance import parse_imbalance
from prunebench.datasets.noise.openset import parse_last
from prunebench.datasets.source import Outline
from prunebench.datasets.splits import default_reference_size
from prunebench.methods.base import (
    BatchPruner,
    DynamicPruner,
    Pruner,
    ScoreBasedPruner,
    StaticPruner,
    kept_count,
)
from prunebench.methods.ies import IES
from prunebench.methods.kakurenbo import Kakurenbo
from prunebench.record import OPENSET


@dataclass(frozen=True)
class Cost:
    """Samples by purpose, as in ``bench.ledger.Ledger``, and what the figures rest on.

    Attributes:
        trained, strong, forward_only, scoring_forward, reference_forward, eval_forward: As in
            the ledger.
        evidence_forward: Passes that take evidence for others from this run.
        ssl_trained: Views on which a self-supervised encoder is trained.
        epochs: Epochs begun.
        exact: Whether ``trained`` is exact. How many epochs a score-based method needs
            depends on its scores, and with it the passes that come once per epoch.
    """

    trained: int = 0
    strong: int = 0
    forward_only: int = 0
    scoring_forward: int = 0
    reference_forward: int = 0
    eval_forward: int = 0
    evidence_forward: int = 0
    ssl_trained: int = 0
    epochs: int = 0
    exact: bool = True

    def __add__(self, other: Cost) -> Cost:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Cost(**{**sums, "exact": self.exact and other.exact})

    @property
    def forward(self) -> int:
        """Samples that pass in eval mode only; those of batch-level selection are listed apart."""
        return (
            self.forward_only + self.reference_forward + self.eval_forward + self.evidence_forward
        )


def under_noise(outline: Outline, spec: RunSpec) -> Outline:
    """The outline that a run's noise leaves: open-set noise takes classes out, which count as
    equally large here."""
    outside = spec.noise.outside
    if spec.noise.rule != OPENSET or not (outside is None or isinstance(outside, str)):
        return outline
    k = parse_last(outside) if outside else max(1, outline.classes // 4)
    classes = max(1, outline.classes - (k or 0))
    share = classes / outline.classes
    return replace(
        outline, train=round(outline.train * share), test=round(outline.test * share),
        reference=round(outline.reference * share), classes=classes,
    )  # fmt: skip


def split_sizes(spec: RunSpec, outline: Outline) -> tuple[int, int]:
    """(N, reference samples) of a cell's task; see ``datasets.splits.split_rows``. An imbalanced
    split that was not drawn counts as of classes of one size."""
    wanted = spec.reference.size
    if wanted is None:
        wanted = outline.reference or default_reference_size(outline.train)
    own = outline.reference > 0 or spec.reference.mode == "overlap"
    n = outline.train - spec.validation.size - (0 if own else wanted)
    if spec.imbalance is None:
        return n, wanted
    if outline.kept is not None:
        return outline.kept, wanted
    uneven = parse_imbalance(spec.imbalance.name)
    assert uneven is not None
    return sum(uneven.sizes(n // outline.classes, outline.classes)), wanted


def holdout_sizes(part: str, n: int, held_out: int) -> tuple[int, int, int]:
    """Samples that a holdout model trains on, chooses its epoch by and judges; see
    ``bench.train.task.holdout_task``."""
    if part == "reference":
        check = max(1, held_out // 10)
        return held_out - check, check, n
    own = n // 2 if part == "first" else n - n // 2
    return own, max(1, (n - own) // 10), n - own


def cell_cost(cell: Cell, outline: Outline) -> Cost:
    """What one cell costs with the evidence that it records; scoring runs are left out. A run that
    is skipped costs nothing.

    Args:
        cell: The cell.
        outline: Its data set.
    """
    spec, pruner = cell.spec, cell.pruner()
    if needs_or_none(pruner, spec) is None:
        return Cost()
    n, held_out = split_sizes(spec, outline)
    check = judged = 0
    if spec.part != "all":
        n, check, judged = holdout_sizes(spec.part, n, held_out)
    share = spec.budget_share
    share = float(pruner.pruned_share(spec.ratio)) if share is None else share
    budget = budget_in_force(spec.budget, pruner.params)
    clock = Clock(n, spec.recipe.epochs, spec.ratio, budget, share)
    rows = n
    if pruner.trains_reference and spec.reference.mode == "held_out":
        rows += held_out
    trained, scored, epochs, exact = _training(pruner, clock, rows, share, spec)
    tests = 1 + ((epochs - 1) // spec.recipe.eval_every if spec.recipe.eval_every else 0)
    need = cell.evidence
    taken = len(need.snapshots) + len(need.strong) + epochs * ("loss" in need.signals)
    seen = len(need.reference) + epochs * ("reference_loss" in need.signals)
    return Cost(
        trained=trained,
        strong=trained * (criterion_of(spec).views - 1),
        forward_only=max(0, epochs * rows - trained) if isinstance(pruner, IES | Kakurenbo) else 0,
        scoring_forward=scored,
        reference_forward=epochs * _tracked(pruner, n, held_out),
        eval_forward=tests * (outline.test + min(n, 2 * spec.recipe.label_fit)),
        evidence_forward=taken * rows + seen * held_out + epochs * check + judged,
        epochs=epochs,
        # How many labels are wrong is known where they are drawn.
        exact=exact
        and (spec.imbalance is None or outline.kept is not None)
        and not spec.recipe.label_fit,
    )


def _training(
    pruner: Pruner, clock: Clock, rows: int, share: float, spec: RunSpec
) -> tuple[int, int, int, bool]:
    """(trained, scored batch by batch, epochs, whether that is exact)."""
    target, fixed = clock.target, clock.epochs
    if isinstance(pruner, BatchPruner) and spec.ratio > 0:
        return _by_batch(pruner, clock, rows, spec.recipe.batch_size)
    if isinstance(pruner, StaticPruner):
        share = spec.ratio
    per_epoch = float(max(1, kept_count(rows, round(share, 12))))
    # A method that prunes nothing at some options has a share of its own, which data decide.
    exact = not (isinstance(pruner, ScoreBasedPruner) or pruner.full_at) or share == 0.0
    if fixed is not None:
        return round(fixed * per_epoch), 0, fixed, exact
    return target, 0, max(1, math.ceil(target / per_epoch)), True


def _by_batch(
    pruner: BatchPruner, clock: Clock, rows: int, batch: int
) -> tuple[int, int, int, bool]:
    bounds = batch_bounds(rows, batch)
    whole: dict[tuple[float | None, ...], tuple[int, int]] = {}
    trained = scored = epochs = 0
    while epochs < clock.max_epochs and (epochs == 0 or not clock.finished(epochs, trained)):
        shares = tuple(shares_of(pruner, clock.progress(epochs, trained), range(len(bounds))))
        if shares not in whole:
            whole[shares] = _sums(selected_counts(bounds, clock.ratio, None, shares))
        room, sums = clock.room(trained), whole[shares]
        if room is not None and room < sums[0]:
            sums = _sums(selected_counts(bounds, clock.ratio, room, shares))
        trained, scored, epochs = trained + sums[0], scored + sums[1], epochs + 1
    return trained, scored if pruner.scoring_pass else 0, epochs, True


def _sums(batches: list[tuple[int, int, int]]) -> tuple[int, int]:
    """(trained, scored): a batch that is trained whole is not scored."""
    sizes = [(k, stop - start) for start, stop, k in batches]
    return sum(k for k, _ in sizes), sum(size for k, size in sizes if k < size)


def _tracked(pruner: Pruner, n: int, held_out: int) -> int:
    """Samples of the reference set that a pruner has measured each epoch."""
    if not (isinstance(pruner, DynamicPruner) and pruner.reference):
        return 0
    size = pruner.params.get("align.reference_size")
    if size is not None:
        return int(size)
    return held_out or (n if pruner.params.get("align.reference") == "train" else 0)


def encoder_cost(cell: Cell, outline: Outline) -> Cost:
    """Training the self-supervised encoder of a data set and embedding its training split; nothing
    where there are no images."""
    if not outline.images:
        return Cost()
    own = needs_own_encoder(cell.spec)
    n = split_sizes(cell.spec, outline)[0] if own else outline.train
    batch = min(SSL_BATCH, n)
    views = 2 * cell.spec.evidence_recipe.epochs * (n // batch) * batch
    return Cost(ssl_trained=views, evidence_forward=outline.train + outline.reference)


def own_evidence(cell: Cell, outline: Outline) -> tuple[Cost, int]:
    """What a cell would pay if it shared no evidence: its own scoring run, to the end.

    Returns:
        The cost, and the trained samples of it that the method reads and is charged for.
    """
    pruner = cell.pruner()
    need = needs_or_none(pruner, cell.spec)
    n = split_sizes(cell.spec, outline)[0]
    total, charged = Cost(), 0
    if need is None:
        return total, charged
    for scoring in scoring_specs(pruner, cell.spec):
        total += cell_cost(Cell(scoring, cell.data, evidence=need), outline)
        charged += charged_epochs(need, scoring.recipe.epochs) * n * criterion_of(scoring).views
    for holdout in holdout_specs(pruner, cell.spec):
        cost = cell_cost(Cell(holdout, cell.data, evidence=NEED), outline)
        total, charged = total + cost, charged + cost.trained
    if need.ssl:
        encoder = encoder_cost(cell, outline)
        total, charged = total + encoder, charged + encoder.ssl_trained
    return total, charged


def encoders(planned: Planned) -> dict[str, list[str]]:
    """Keys of self-supervised encoders, each with the keys of the cells that read it."""
    found: dict[str, list[str]] = {}
    for job in planned.jobs:
        cell = planned.cells[job.key]
        need = needs_or_none(cell.pruner(), cell.spec)
        if need is not None and need.ssl:
            found.setdefault(encoder_key(cell.spec), []).append(job.key)
    return found
