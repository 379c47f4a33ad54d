"""One cell from specification to record: it is claimed, trained, stored, and resumed after a stop.

``run_cell`` looks for a record, takes the claim and hands over to a ``CellRun``, whose methods are
in the order in which they are called: ``run``, ``_train`` and what it consists of, ``_store``.
"""

from __future__ import annotations

import time
import traceback
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from prunebench.bench.results.atomic import folder_errors
from prunebench.bench.results.claims import Busy, Claim, Claims
from prunebench.bench.results.environment import environment
from prunebench.bench.results.store import Store, final_record
from prunebench.bench.runs import checkpoint
from prunebench.bench.runs.artifacts import (
    METRICS,
    LossRecorder,
    accuracy_name,
    artifacts,
    diverged,
)
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.checkpoint import Checkpoints, ProgressReport
from prunebench.bench.runs.checkpoint_file import DamagedCheckpoint
from prunebench.bench.runs.evidence import Recorder
from prunebench.bench.runs.failure import not_deterministic, out_of_memory, reason_of
from prunebench.bench.runs.followers import lead
from prunebench.bench.runs.holdout import HoldoutRecorder, gather_irreducible
from prunebench.bench.runs.reference_set import resolve_reference
from prunebench.bench.runs.scoring_runs import evidence_needs, gather_evidence, has_evidence
from prunebench.bench.runs.self_supervised import Features, ssl_features
from prunebench.bench.runs.view_files import ViewFiles
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.run_spec import RunSpec, clean_labels
from prunebench.bench.train import stopping
from prunebench.bench.train.distributed import world
from prunebench.bench.train.generators import generator_states, set_generator_states
from prunebench.bench.train.plan_checks import ConstantPlan
from prunebench.bench.train.setup import Callback, Diverged, Setup, make_setup
from prunebench.bench.train.static_choice import choose_subset, timed
from prunebench.bench.train.step import StepGenerator, run_to_end, work_so_far
from prunebench.bench.train.task import (
    HoldoutTask,
    clock_of,
    holdout_task,
    load_task,
    streams_of,
    with_reference_in_training,
)
from prunebench.bench.train.trainer import Trainer, guarded
from prunebench.datasets.task import Split, Task
from prunebench.errors import FolderError, InputError, SkipCell, error_line
from prunebench.methods.base import EvidenceSpec, StaticPruner, Subset, kept_count
from prunebench.methods.compose import MethodInfo, resolve_method
from prunebench.methods.score_pruner import score_and_sampler
from prunebench.record import Record, Status


def run_cell(
    cell: Cell,
    store: Store,
    options: ExecutionOptions = ExecutionOptions(),
    context: WorkerContext = WorkerContext(),
) -> tuple[Record, bool]:
    """Runs a cell unless it is recorded.

    Args:
        cell: What is run.
        store: The results folder.
        options: How: the fields that workers are given.
        context: Where, and who takes the share done.

    Returns:
        The record, and whether this call made it.

    Raises:
        Busy: Another process works on the cell or on evidence it needs.
        FolderError: The results folder cannot be written; nothing is recorded.
        InputError: Data, files or options that cannot be used; nothing is recorded.
    """
    with guarded(torch.device(context.device)):
        return run_to_end(cell_steps(cell, store, options, context))


def cell_steps(
    cell: Cell, store: Store, options: ExecutionOptions, context: WorkerContext
) -> StepGenerator[tuple[Record, bool]]:
    """As ``run_cell``, giving way after every step; the caller guards torch's generators."""
    key = cell.spec.key
    record = final_record(store, key, options.retry_failed)
    if record is not None and _suffices(record, store, cell.evidence):
        return record, False
    if not store.records.is_dir():
        raise FolderError.of(store.root, "it was removed")
    with folder_errors(store.claims):
        claim = Claims(store.claims).acquire(key)
    if claim is None:
        raise Busy(f"{key} is held by another process")
    with claim:
        record = final_record(store, key, options.retry_failed)
        if record is not None and _suffices(record, store, cell.evidence):
            return record, False
        run = CellRun(cell, store, options, context, claim)
        return (yield from run.run(keep=record)), record is None


def _suffices(record: Record, store: Store, need: EvidenceSpec) -> bool:
    """Whether a record has the evidence that its run is wanted for; a run that ended early has
    none."""
    # A run that ended early has no finite loss; one at the level of chance has.
    finite = record.metrics.get("final_train_loss") is not None
    trained_to_its_end = record.status == "done" or (record.status == "diverged" and finite)
    return need.empty or not trained_to_its_end or has_evidence(store, record.key, need)


class CellRun:
    """One run of a cell under its claim.

    Attributes:
        trainer: Set once there is one; with it ``recorder`` and ``losses``, where they are wanted.
        resumed: Whether it went on from a checkpoint.
        anew: Whether it begins a second time, since what it had written was damaged.
        subset: What a static method keeps.
        info: For ``Record.info``; likewise ``files`` and ``metrics``.
        proxy_trained: Samples trained by scoring runs that the method is charged for.
        proxy_scoring: Samples scored by them.
        choice: Seconds of a static method's choice, by stage.
        before_choice: ``behind`` when it began.
        behind: Share of the cell's work that lies before the run: training an encoder, and a
            choice that takes long.
    """

    def __init__(
        self,
        cell: Cell,
        store: Store,
        options: ExecutionOptions,
        context: WorkerContext,
        claim: Claim,
    ) -> None:
        self.cell, self.spec, self.store = cell, cell.spec, store
        self.options, self.context, self.claim = options, context, claim
        self.device = torch.device(context.device)
        # A run that only takes evidence never shares checkpoints with one that does not.
        self.name = cell.spec.key + ("" if cell.evidence.empty else "+evidence")
        self.folder: Path = store.checkpoint_path(cell.spec.key)
        self.trainer: Trainer | None = None
        self.recorder: Recorder | HoldoutRecorder | None = None
        self.holdout: HoldoutTask | None = None
        self.losses: LossRecorder | None = None
        self.resumed = self.anew = False
        self.subset: Subset | None = None
        self.info: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.metrics: dict[str, float | None] = {}
        self.proxy_trained = self.proxy_scoring = 0
        self.choice: dict[str, float] = {}
        self.before_choice = 0.0
        self.behind = 0.0
        self.start = time.perf_counter()

    def run(self, keep: Record | None) -> StepGenerator[Record]:
        """Trains and stores; every failure becomes a record.

        Args:
            keep: The record of a run that is repeated only to take evidence.

        Raises:
            Stopped: This process was asked to end; the run is saved, or recorded if it was over.
        """
        status: Status
        trace = again = ""
        with ExitStack() as leaving:
            try:
                status, reason = yield from self._train(leaving)
            except (Busy, InputError, FolderError):
                raise  # none is a result of this cell
            except SkipCell as skip:
                world.job_done()
                status, reason = "skipped", skip.reason
            except (Exception, SystemExit) as error:
                refused = not_deterministic(error, self.spec)
                if refused is not None:
                    raise refused from None
                memory = out_of_memory(error)
                if self.context.retry_on_oom and memory:
                    raise  # it is run again with fewer cells at once
                views = isinstance(error, DamagedCheckpoint) and not self.anew
                if (self.resumed or views) and world.current().is_single and not memory:
                    # A changed state can fail anywhere; what fails for another reason fails again.
                    again = (
                        str(error)
                        if views
                        else (f"did not go on from its checkpoint ({error_line(error)})")
                    )
                status, reason = "failed", reason_of(error, self.spec.method.name)
                trace = traceback.format_exc()
            finally:
                if self.trainer is not None:
                    self.trainer.close()
            if again:
                self.store.set_aside(self.folder, again)
                fresh = CellRun(self.cell, self.store, self.options, self.context, self.claim)
                fresh.anew = True
                return (yield from fresh.run(keep))
            if keep is None:
                return self._store(status, reason, trace)
            if self.claim.valid():
                self.store.remove_checkpoint(self.spec.key)
            return keep

    def _train(self, leaving: ExitStack) -> StepGenerator[tuple[Status, str]]:
        """From the data to evaluated artifacts; returns the record's status and reason."""
        method = resolve_method(self.spec.method.name)
        task = load_task(self.spec, self.cell.data)
        if self.spec.part != "all":
            self.holdout = holdout_task(task, self.spec.part, streams_of(self.spec))
        self.info = run_info(task, method, self.spec)
        if method.oracle and not task.raw.clean_known:
            raise SkipCell(f"the clean labels of {self.spec.dataset.name} are not known")
        trainer = yield from self._begin(task, method)
        status, reason = yield from self._fit(trainer, leaving)
        self._note_steps(trainer)
        if isinstance(self.recorder, HoldoutRecorder):
            self.recorder.judge(trainer)
            self.info["holdout"] = self.recorder.facts
        predicted = trainer.test_logits().argmax(1)
        fitted = trainer.label_fit_readbacks()
        if self.device.type == "cuda":
            yield work_so_far()
        world.job_done()
        self.files, self.metrics = artifacts(trainer, predicted, self.subset)
        self.metrics |= {name: figure.get() for name, figure in fitted}
        self.info["metrics"] = METRICS
        if self.losses is not None and self.losses.rows:
            self.files["losses.npz"] = self.losses.dump(
                trainer.setup.task.raw.train_ids(trainer.sample_ids.cpu()),
                trainer.setup.task.flipped,
            )
        accuracy = float(self.metrics[accuracy_name(trainer)] or 0.0)
        if status == "done" and diverged(accuracy, task.raw.num_classes):
            status, reason = "diverged", "final accuracy is at the level of chance"
        if self.recorder is not None:
            self._publish(self.recorder, trainer)
        return status, reason

    def _begin(self, task: Task, method: MethodInfo) -> StepGenerator[Trainer]:
        """A trainer at the run's last checkpoint, or at its start."""
        setup = yield from self._setup(task, method)
        lead(setup, self.cell, self.folder, self.name)
        self.trainer = Trainer(setup)
        try:
            self.resumed = checkpoint.restore(self.trainer, self.folder, self.name)
        except DamagedCheckpoint as error:
            self.store.set_aside(self.folder, str(error))
            self.trainer.close()
            self.trainer = Trainer((yield from self._setup(task, method)))
        return self.trainer

    def _callbacks(self, train: Split) -> list[Callback]:
        """All that look at the run; those with a state first, since checkpoints number them."""
        cell, self.recorder = self.cell, None
        if self.holdout is not None:
            self.recorder = HoldoutRecorder(self.holdout, train.sample_ids, train.labels)
        elif not cell.evidence.empty:
            self.recorder = Recorder(cell.evidence, ViewFiles(self.folder))
        self.losses = None if cell.losses is None else LossRecorder(cell.losses)
        return [
            *(one for one in (self.recorder, self.losses) if one is not None),
            ProgressReport(self._report),
            Checkpoints(self.folder, self.name, self.options.checkpoint_s),
        ]

    def _report_choice(self, share: float) -> None:
        """Reports a choice that takes long as the first half of what is left of the cell: how long
        the run itself takes is not known yet."""
        begin = self.before_choice
        self.behind = begin + (1.0 - begin) / 2
        self.context.report(begin + (self.behind - begin) * share)

    def _report(self, share: float) -> None:
        """Reports the share of the run itself that is done."""
        self.context.report(self.behind + (1.0 - self.behind) * share)

    def _setup(self, task: Task, method: MethodInfo) -> StepGenerator[Setup]:
        """The method's pruner and what it needs: evidence, a kept subset or a reference set."""
        spec = self.spec
        streams = streams_of(spec)
        pruner: Any = self.cell.pruner()
        # What a run used, whatever its method declares.
        reads = "reference set" * evidence_needs(pruner, spec).reads_reference
        clean = pruner.clean_data or reads
        self.info["clean_labels_used"] = clean_labels(
            clean, spec.role, spec.validation.labels, spec.tuned
        )
        if task.raw.leaks and task.reference is not None and clean:
            self.info["reference_leaks"] = not method.oracle
        if pruner.cautions():
            self.info["cautions"] = pruner.cautions()
        train = task.train
        if self.holdout is not None:
            task = self.holdout.task
        clock = clock_of(spec, pruner, len(task.train))
        if method.trains_reference:
            task = with_reference_in_training(task)
        before = generator_states(self.device)  # as a method finds them that is found evidence
        evidence, (self.proxy_trained, self.proxy_scoring) = yield from gather_evidence(
            spec, self.store, task, pruner, self._record_evidence, self._embed
        )
        irreducible, (trained, scored), models = yield from gather_irreducible(
            spec, self.store, task, pruner, self._record_evidence
        )
        if models:
            self.info["holdout"] = models
        self.proxy_trained, self.proxy_scoring = (
            self.proxy_trained + trained,
            self.proxy_scoring + scored,
        )
        set_generator_states(before, self.device)
        reference: Split | None = None
        if isinstance(pruner, StaticPruner):
            k, name = kept_count(len(task.train), spec.ratio), spec.method.name
            stream, self.before_choice = streams.get(f"keep:{name}"), self.behind
            subset, self.choice = choose_subset(
                pruner, evidence, k, stream, name, self._report_choice
            )
            self.subset, self.info["subset"] = subset, dict(subset.info)
            parts = score_and_sampler(pruner)
            if parts is not None:
                self.info["score"], self.info["sampler"] = parts
            pruner = ConstantPlan(name, subset.indices, subset.weights)
        else:
            if pruner.reference:
                warmup = spec.recipe.scoring_epoch
                reference = resolve_reference(task, pruner.params, streams, evidence, warmup)
            if not evidence_needs(pruner, spec).empty:
                stream, self.before_choice = streams.get(f"keep:{spec.method.name}"), self.behind
                prepare = partial(pruner.prepare, evidence, spec.ratio, stream)
                _, self.choice = timed(prepare, self._report_choice)
        return make_setup(
            spec, task, pruner, clock=clock, streams=streams, device=self.device,
            callbacks=self._callbacks(train), reference=reference,
            weights=self.cell.weights, execution=self.options, irreducible=irreducible,
        )  # fmt: skip

    def _record_evidence(self, scoring: RunSpec, need: EvidenceSpec) -> StepGenerator[Record]:
        """Runs a scoring run of this cell, here and now."""
        cell = self.cell.evidence_cell(scoring, need)
        options = replace(self.options, retry_failed=True)
        context = replace(self.context, report=lambda share: None)
        return (yield from cell_steps(cell, self.store, options, context))[0]

    def _embed(self, task: Task) -> StepGenerator[Features]:
        """Finds the self-supervised features of the data set, or trains their encoder."""
        own = clock_of(self.spec, self.cell.pruner(), len(task.train)).target

        def report(trained: int, total: int) -> None:
            self.behind = total / (total + own)
            self.context.report(trained / (total + own))

        features = yield from ssl_features(
            self.spec, self.store, task, self.device, self.options, report
        )
        if features.made:
            self.info["encoder"] = dict(features.made)
        return features

    def _fit(self, trainer: Trainer, leaving: ExitStack) -> StepGenerator[tuple[Status, str]]:
        """Trains to the end of the budget, with checkpoints; a stop that is asked for saves."""
        try:
            leaving.enter_context(stopping.deferred())
            yield from trainer.steps()
        except Diverged as error:
            return "diverged", str(error)
        return "done", ""

    def _note_steps(self, trainer: Trainer) -> None:
        """How steps were run, where that is not one operation after the other."""
        if trainer.setup.on_device:
            self.info["steps"] = trainer.not_captured_because or "captured"
        elif trainer.network is not None or trainer.not_captured_because:
            self.info["steps"] = trainer.not_captured_because or "compiled"

    def _publish(self, recorder: Recorder | HoldoutRecorder, trainer: Trainer) -> None:
        self._need_claim()  # its successor may have removed the files of the views
        place = self.store.evidence_path(self.spec.key)
        with folder_errors(place), self.store.temporary_folder("evidence") as folder:
            entries: dict[str, Any] = {"key": self.spec.key, "spec": self.spec.content}
            if self.holdout is not None:
                entries["accuracy"] = self.metrics[accuracy_name(trainer)]
            recorder.write(folder, trainer, entries)
            self.store.publish_folder(folder, place)

    def _store(self, status: Status, reason: str, trace: str) -> Record:
        files = {**self.files, "traceback.txt": trace.encode()} if trace else self.files
        seconds: list[float] = []
        ledger: dict[str, Any] = {}
        if self.trainer is not None:
            seconds = self.trainer.seconds
            ledger = replace(
                self.trainer.ledger,
                proxy_trained=self.proxy_trained,
                proxy_scoring=self.proxy_scoring,
            ).as_dict()
        record = Record(
            key=self.spec.key,
            spec=self.spec.content,
            status=status,
            reason=" ".join(reason.split()),
            metrics=self.metrics,
            ledger=ledger,
            info=self.cell.with_names(self.info),
            timing={
                "train_s": round(sum(seconds), 4),
                **self.choice,
                "epoch_s": round(sorted(seconds)[len(seconds) // 2], 6) if seconds else 0.0,
                "total_s": round(time.perf_counter() - self.start, 4),
                "finished": round(time.time(), 3),
            },
            environment=environment(self.device, self.spec.content),
        )
        self._need_claim()
        stored = self.store.save(record, files)
        self.store.remove_checkpoint(self.spec.key)
        return stored

    def _need_claim(self) -> None:
        if not self.claim.valid():
            if not self.store.records.is_dir():
                raise FolderError.of(self.store.root, "it was removed")
            raise Busy(f"{self.spec.key} was taken over while this process was stopped")


#: Of so many classes at most a record lists the sizes.
_FEW_CLASSES = 20


def run_info(task: Task, method: MethodInfo, spec: RunSpec) -> dict[str, Any]:
    """Sizes, noise and kind of a run, for ``Record.info``.

    An imbalanced training split has the sizes of its classes by clean label: the largest, the
    smallest and, of 20 classes at most, all of them.
    ``original_train_size`` and ``original_test_size`` are there where the data set is limited;
    they say that ids in the run's artifacts are those of the original split. Limited runs of
    earlier versions lack them: their ids count the limited rows.
    """
    found: dict[str, Any] = {
        "validation_size" if task.tuning else "test_size": len(task.test),
        "train_size": len(task.train),
        "num_classes": task.raw.num_classes,
        "reference_size": len(task.reference) if task.reference is not None else 0,
        "label_digest": task.label_digest,
        "kind": method.kind,
        "oracle": method.oracle,
        "data": task.raw.fingerprint,
    }
    if task.raw.clean_known:
        found["noise_rate"] = round(float(task.flipped.double().mean()), 6)
    if task.corrupted is not None:
        found["corrupted_rate"] = round(float(task.corrupted.double().mean()), 6)
    if spec.imbalance is not None:
        # An image from outside has no clean label, and counts by the one that its sample has.
        labels = torch.where(task.outside, task.train.labels, task.clean_labels)
        sizes = torch.bincount(labels, minlength=task.raw.num_classes)
        found |= {"largest_class": int(sizes.max()), "smallest_class": int(sizes.min())}
        if len(sizes) <= _FEW_CLASSES:
            found["class_sizes"] = sizes.tolist()
    if not world.current().is_single:
        found["processes"] = world.current().size
    if task.raw.train_origin is not None:
        found["original_train_size"] = task.raw.train_origin.total
    if task.raw.test_origin is not None and not task.tuning:
        found["original_test_size"] = task.raw.test_origin.total
    if spec.reference.mode == "overlap":
        found["reference_overlaps"] = True
    return found
