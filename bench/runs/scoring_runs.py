"""Where a method's evidence comes from: the shared full-data run or one of its own, found or
made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from prunebench.bench.inputs.strong import NO_STRONG_VIEW
from prunebench.bench.results.manifest import (
    Damaged,
    check_content,
    covers,
    from_json,
    merge,
    read_manifest,
    verify,
)
from prunebench.bench.results.store import Store
from prunebench.bench.runs.evidence import RecordedEvidence
from prunebench.bench.runs.reference_set import reference_needs
from prunebench.bench.runs.self_supervised import Features
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.spec.run_spec import Named, RunSpec
from prunebench.bench.train.step import StepGenerator
from prunebench.bench.train.task import streams_of
from prunebench.datasets.task import Task
from prunebench.errors import InputError, SkipCell
from prunebench.methods.base import DynamicPruner, EvidenceSpec, Pruner, StaticPruner
from prunebench.record import Record
from prunebench.registry import CRITERIA


def evidence_needs(pruner: Pruner, spec: RunSpec) -> EvidenceSpec:
    """What a method needs recorded under a recipe; empty for most dynamic methods."""
    recipe = spec.evidence_recipe
    need = pruner.needs_at(recipe.epochs, recipe.scoring_epoch, spec.ratio)
    if isinstance(pruner, DynamicPruner) and pruner.reference:
        return merge([need, reference_needs(pruner.params, recipe.scoring_epoch)])
    return need


def needs_or_none(pruner: Pruner, spec: RunSpec) -> EvidenceSpec | None:
    """What a method needs recorded; None where its run is skipped, the recipe being too short."""
    try:
        return evidence_needs(pruner, spec)
    except SkipCell:
        return None


def reads_evidence(pruner: Pruner, spec: RunSpec) -> bool:
    """Whether a run's subset depends on the recipe of a scoring run or an encoder, be that recipe
    too short for it: such runs alone have a ``scoring_recipe``."""
    if not isinstance(pruner, StaticPruner):
        return False
    need = needs_or_none(pruner, spec)
    return need is None or not need.empty


def scoring_specs(pruner: Pruner, spec: RunSpec) -> list[RunSpec]:
    """The full-data runs that serve a cell: one, or one per repeat. They train on plain
    cross-entropy unless the method asks for the cell's own criterion, and under the cell's
    ``evidence_recipe`` unless ``proxy = "own"`` asks for the method's, or the method never shares
    its run.

    Raises:
        InputError: ``own`` for a method that has no recipe of its own.
    """
    own = getattr(pruner, "own_proxy", {})
    recipe = spec.evidence_recipe
    if spec.proxy == "own" and not own:
        always = bool(pruner.proxy_recipe(recipe.epochs))
        what = (
            "always has a scoring run of its own" if always else "has no scoring recipe of its own"
        )
        raise InputError(f"{spec.method.name} {what}", where="proxy", accepted="shared")
    need = evidence_needs(pruner, spec)
    if not need.trains:
        return []
    criterion = spec.criterion
    if not (isinstance(pruner, StaticPruner) and pruner.proxy_criterion):
        criterion = cross_entropy()
    found = [spec.scoring_spec(replica, criterion) for replica in range(need.repeats)]
    fields = own if spec.proxy == "own" else pruner.proxy_recipe(recipe.epochs)
    if fields:
        recipe = Recipe(**{**recipe.model_dump(), **fields})
        found = [scoring.replace(recipe=recipe) for scoring in found]
    return found


def cross_entropy() -> Named:
    """Plain cross-entropy, as a criterion of a specification."""
    entropy = CRITERIA.get("ce")
    options = {name: option.default for name, option in entropy.target.options.items()}
    return Named(name="ce", version=str(entropy.version), params=options)


def find_evidence(
    store: Store, key: str, need: EvidenceSpec, task: Task | None = None, epochs: int = 0
) -> Path | None:
    """A verified evidence folder that covers a need, or None; damaged ones are set aside.

    Args:
        store: The results folder.
        key: Of the run that was recorded.
        need: What is needed.
        task: What it must have been recorded on; None leaves the arrays unread.
        epochs: How many epochs of signals are needed; looked at with ``task`` only.
    """
    folder = store.evidence_path(key)
    try:
        manifest = read_manifest(folder)
        if manifest is None or not covers(from_json(manifest["needs"]), need):
            return None
        verify(folder, manifest)
        if task is not None:
            check_content(folder, manifest, task, epochs)
    except Damaged as error:
        store.set_aside(folder, str(error))
        return None
    return folder


def has_evidence(store: Store, key: str, need: EvidenceSpec) -> bool:
    """Whether recorded evidence of a run covers a need; damaged folders are set aside."""
    return find_evidence(store, key, need) is not None


def charged_epochs(need: EvidenceSpec, epochs: int) -> int:
    """Epochs of a scoring run that a method reads, which is what it is charged for; that the
    run goes on for others, or for the table's own row, is not its cost."""
    seen = epochs if need.until is None else min(epochs, need.until)
    return max((seen * bool(need.signals), *need.snapshots, *need.strong, *need.reference))


def gather_evidence(
    spec: RunSpec,
    store: Store,
    task: Task,
    pruner: Pruner,
    run: Callable[[RunSpec, EvidenceSpec], StepGenerator[Record]],
    embed: Callable[[Task], StepGenerator[Features]],
) -> StepGenerator[tuple[RecordedEvidence, tuple[int, int]]]:
    """Finds or makes what a method needs, giving way after every step.

    Args:
        spec: The run that needs it.
        store: The results folder.
        task: What the run trains on.
        pruner: Its method.
        run: Runs a scoring run that is not recorded, and records what is needed of it.
        embed: Finds or makes the self-supervised features of the data set.

    Returns:
        The evidence, and the (samples trained, samples scored) that the method is charged.

    Raises:
        Busy: Another process is making it.
        SkipCell: The data cannot give it (no strong view for vectors, no reference set, say).
    """
    need = evidence_needs(pruner, spec)
    if need.reads_reference and task.reference is None:
        raise SkipCell("no clean reference set: reference size is 0")
    if need.strong and not task.raw.images:
        raise SkipCell(NO_STRONG_VIEW)
    folders: list[Path] = []
    trained = scored = 0
    scorings = scoring_specs(pruner, spec)
    for scoring in scorings:
        read = charged_epochs(need, scoring.recipe.epochs)
        folder = find_evidence(store, scoring.key, need, task, read)
        if folder is None:
            wanted = replace(
                merge([need, recorded_needs(store, scoring.key)]), repeats=1, ssl=False
            )
            record = yield from run(scoring, wanted)
            folder = find_evidence(store, scoring.key, need, task, read)
            if folder is None:
                outcome = f"the scoring run {scoring.key} {record.status}: {record.reason}"
                raise (SkipCell if record.status == "skipped" else RuntimeError)(outcome)
        manifest = read_manifest(folder)
        assert manifest is not None
        folders.append(folder)
        trained += read * int(manifest["trained_per_epoch"])
        scored += len(task.train) * (len(need.snapshots) + len(need.strong))
        scored += read * len(task.train) * ("loss" in need.signals)
        if task.reference is not None:
            passes = len(need.reference) + read * ("reference_loss" in need.signals)
            scored += len(task.reference) * passes
    features = None
    if need.ssl:
        found = yield from embed(task)
        features = found.rows
        trained += found.trained
        scored += len(task.raw.train_x)
    recipe = scorings[0].recipe if scorings else spec.evidence_recipe
    evidence = RecordedEvidence(
        task, recipe.epochs, spec.evidence_recipe.scoring_epoch, folders, features, pruner.oracle,
        recipe, need.until, streams_of(spec),
    )  # fmt: skip
    return evidence, (trained, scored)


def recorded_needs(store: Store, key: str) -> EvidenceSpec:
    """What an evidence folder already holds, so that a repeat keeps it."""
    try:
        manifest = read_manifest(store.evidence_path(key))
    except Damaged:
        return EvidenceSpec()
    return from_json(manifest["needs"]) if manifest else EvidenceSpec()
