"""One cell from spec to record: the unit that is claimed, run, stored and resumed."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from prunebench.bench.results.atomic import storing
from prunebench.bench.results.claims import Busy, Claim, Claims
from prunebench.bench.results.environment import environment
from prunebench.bench.results.store import Store, final_record
from prunebench.bench.runs import checkpoint
from prunebench.bench.runs.artifacts import METRICS, accuracy_name, artifacts, diverged
from prunebench.bench.runs.evidence import Recorder
from prunebench.bench.runs.failure import out_of_memory, reason_of
from prunebench.bench.runs.followers import lead
from prunebench.bench.runs.losses import LossRecorder
from prunebench.bench.runs.options import CellOptions as CellOptions
from prunebench.bench.runs.options import WorkerContext
from prunebench.bench.runs.reference_set import resolve_reference
from prunebench.bench.runs.run_info import labelled, run_info
from prunebench.bench.runs.scoring_runs import gather_evidence, has_evidence
from prunebench.bench.spec.origin import clean_labels
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train import stopping
from prunebench.bench.train.distributed import world
from prunebench.bench.train.plan_checks import ConstantPlan, check_subset
from prunebench.bench.train.setup import Diverged, Observer, Setup, make_setup
from prunebench.bench.train.step import StepGenerator, run_to_end
from prunebench.bench.train.task import (
    clock_of,
    load_task,
    streams_of,
    with_reference_in_training,
)
from prunebench.bench.train.trainer import Trainer, guarded
from prunebench.datasets.task import Split, Task
from prunebench.errors import FolderError, InputError, SkipCell, told
from prunebench.methods.base import EvidenceSpec, StaticPruner, Subset, kept_count
from prunebench.methods.compose import MethodInfo, resolve_method
from prunebench.record import Record

#: Reason of a run that was trained to its end and is no better than chance.
_AT_CHANCE = "final accuracy is at the level of chance"


def run_cell(
    spec: RunSpec, store: Store, options: CellOptions, context: WorkerContext | None = None
) -> tuple[Record, bool]:
    """Runs a cell unless it is recorded.

    Returns:
        The record, and whether this call made it.

    Raises:
        Busy: Another process works on the cell or on evidence it needs.
        FolderError: The results folder cannot be written; nothing is recorded.
    """
    with guarded(torch.device(options.device)):
        return run_to_end(cell_steps(spec, store, options, context))


def cell_steps(
    spec: RunSpec, store: Store, options: CellOptions, context: WorkerContext | None = None
) -> StepGenerator[tuple[Record, bool]]:
    """As ``run_cell``, giving way after every step; the caller guards torch's generators."""
    record = final_record(store, spec.key, options.retry_failed)
    if record is not None and _suffices(record, store, options.evidence):
        return record, False
    if not store.records.is_dir():
        raise FolderError.of(store.root, "it was removed")
    with storing(store.claims):
        claim = Claims(store.claims).acquire(spec.key)
    if claim is None:
        raise Busy(f"{spec.key} is held by another process")
    with claim:
        record = final_record(store, spec.key, options.retry_failed)
        if record is not None and _suffices(record, store, options.evidence):
            return record, False
        cell = CellRun(spec, store, options, context, claim)
        return (yield from cell.run(keep=record)), record is None


def _suffices(record: Record, store: Store, need: EvidenceSpec) -> bool:
    """Whether a record has the evidence that its run is wanted for; a run that ended early has
    none."""
    ended = record.status == "done" or record.reason == _AT_CHANCE
    return need.empty or not ended or has_evidence(store, record.key, need)


class CellRun:
    def __init__(
        self,
        spec: RunSpec,
        store: Store,
        options: CellOptions,
        context: WorkerContext | None,
        claim: Claim,
    ) -> None:
        self.spec, self.store, self.options, self.context = spec, store, options, context
        self.claim = claim
        self.device = torch.device(options.device)
        self.subset: Subset | None = None
        self.info: dict[str, Any] = {}
        self.trainer: Trainer | None = None
        self.resumed = False
        self.start = time.perf_counter()
        self.proxy_trained = self.proxy_scoring = 0

    def run(self, keep: Record | None) -> StepGenerator[Record]:
        """Trains and stores; every failure becomes a record.

        Args:
            keep: The record of a run that is repeated only to take evidence.

        Raises:
            Stopped: This process was asked to end; the run is saved, or recorded if it was over.
        """
        with ExitStack() as self.leaving:
            return (yield from self._run(keep))

    def _run(self, keep: Record | None) -> StepGenerator[Record]:
        status, reason, trace, again = "done", "", "", ""
        try:
            status, reason = yield from self._train()
        except (Busy, InputError, FolderError):
            raise  # none is a result of this cell
        except SkipCell as skip:
            world.settle()
            status, reason = "skipped", skip.reason
        except (Exception, SystemExit) as error:
            if self.context is not None and self.context.retry_on_oom and out_of_memory(error):
                raise  # it is run again with fewer cells beside it
            if self.resumed and world.current().alone and not out_of_memory(error):
                # A changed state can fail anywhere; what fails for another reason fails once more.
                again = f"did not go on from its checkpoint ({told(error)})"
            status, reason = "failed", reason_of(error, self.spec.method.name)
            trace = traceback.format_exc()
        finally:
            if self.trainer is not None:
                self.trainer.close()
        if again:
            self.store.set_aside(self.store.checkpoint_path(self.spec.key), again)
            fresh = CellRun(self.spec, self.store, self.options, self.context, self.claim)
            return (yield from fresh.run(keep))
        if keep is not None:
            return keep
        return self._store(status, reason, trace)

    def _train(self) -> StepGenerator[tuple[str, str]]:
        spec, options = self.spec, self.options
        method = resolve_method(spec.method.name)
        task = load_task(spec, options.data)
        self.info = run_info(task, method, spec)
        if method.oracle and not task.raw.clean_known:
            raise SkipCell(f"the clean labels of {spec.dataset.name} are not known")
        recorder, losses = self._observers()
        setup = self._setup(task, method, [recorder, losses])
        folder = self.store.checkpoint_path(spec.key)
        # A run that only takes evidence never shares checkpoints with one that does not.
        name = spec.key if recorder is None else f"{spec.key}+evidence"
        lead(setup, spec, options, folder, name)
        self.trainer = trainer = Trainer(setup)
        try:
            self.resumed = checkpoint.restore(trainer, folder, name)
        except checkpoint.DamagedCheckpoint as error:
            self.store.set_aside(folder, str(error))
            trainer.close()
            recorder, losses = self._observers()
            self.trainer = trainer = Trainer(self._setup(task, method, [recorder, losses]))
        status, reason = "done", ""
        try:
            report = None if self.context is None else self.context.report
            after = checkpoint.AfterEpoch(folder, name, options.checkpoint_s, report)
            self.leaving.enter_context(stopping.deferred())
            yield from trainer.steps(after, stopping.asked)
        except stopping.Stopped:
            if trainer.now is not None:
                checkpoint.save(trainer, folder, name)
            raise
        except Diverged as error:
            status, reason = "diverged", str(error)
        if setup.on_device:
            self.info["steps"] = trainer.not_captured_because or "captured"
        elif trainer.network is not None or trainer.not_captured_because:
            self.info["steps"] = trainer.not_captured_because or "compiled"
        predicted = trainer.test_logits().argmax(1)
        world.settle()
        self.files, self.metrics = artifacts(trainer, predicted, self.subset)
        self.info["metrics"] = METRICS
        if losses is not None and losses.rows:
            self.files["losses.npz"] = losses.dump(
                trainer.setup.task.raw.train_ids(trainer.sample_ids.cpu()),
                trainer.setup.task.flipped,
            )
        accuracy = float(self.metrics[accuracy_name(trainer)] or 0.0)
        if status == "done" and diverged(accuracy, task.raw.num_classes):
            status, reason = "diverged", _AT_CHANCE
        if recorder is not None:
            self._publish(recorder, trainer)
        return status, reason

    def _observers(self) -> tuple[Recorder | None, LossRecorder | None]:
        options = self.options
        return (
            None if options.evidence.empty else Recorder(options.evidence),
            None if options.losses is None else LossRecorder(options.losses),
        )

    def _setup(self, task: Task, method: MethodInfo, observers: Sequence[Observer | None]) -> Setup:
        spec = self.spec
        streams = streams_of(spec)
        pruner: Any = method.build({**spec.method.params, **self.options.method_params})
        self.info["clean_labels_used"] = clean_labels(
            pruner.clean_data, spec.role, spec.validation.labels, spec.tuned
        )
        if task.raw.leaks and task.reference is not None and pruner.clean_data:
            self.info["reference_leaks"] = not method.oracle
        if pruner.cautions():
            self.info["cautions"] = pruner.cautions()
        common = len(task.train)
        clock = clock_of(spec, pruner, common)
        if spec.method.name == "full+reference":
            task = with_reference_in_training(task)
        evidence, cost = gather_evidence(
            spec, self.store, task, pruner, self.device, self._record_evidence
        )
        self.proxy_trained, self.proxy_scoring = cost
        reference: Split | None = None
        if isinstance(pruner, StaticPruner):
            k = kept_count(len(task.train), spec.ratio)
            self.subset = pruner.keep(evidence, k, streams.get(f"keep:{spec.method.name}"))
            check_subset(self.subset, k, len(task.train), spec.method.name)
            self.info["subset"] = dict(self.subset.info)
            pruner = ConstantPlan(spec.method.name, self.subset.indices)
        elif pruner.reference:
            warmup = spec.recipe.scoring_epoch
            reference = resolve_reference(task, pruner.params, streams, evidence, warmup)
        return make_setup(
            spec, task, pruner, clock=clock, streams=streams, device=self.device,
            callbacks=[o for o in observers if o], reference=reference,
            weights=self.options.weights, execution=self.options.execution,
        )  # fmt: skip

    def _record_evidence(self, proxy: RunSpec, need: EvidenceSpec) -> Record:
        """Runs a scoring run of this cell."""
        options = replace(
            self.options, evidence=need, losses=None, method_params={}, retry_failed=True, label=""
        )
        return run_cell(proxy, self.store, options)[0]

    def _publish(self, recorder: Recorder, trainer: Trainer) -> None:
        place = self.store.evidence_path(self.spec.key)
        with storing(place), self.store.scratch("evidence") as folder:
            recorder.write(folder, trainer, {"key": self.spec.key, "spec": self.spec.content})
            self.store.publish_folder(folder, place)

    def _store(self, status: str, reason: str, trace: str) -> Record:
        files: dict[str, bytes] = getattr(self, "files", {})
        if trace:
            files = {**files, "traceback.txt": trace.encode()}
        ledger = self.trainer.ledger if self.trainer else None
        if ledger is not None:
            ledger = replace(
                ledger, proxy_trained=self.proxy_trained, proxy_scoring=self.proxy_scoring
            )
        seconds = self.trainer.seconds if self.trainer else []
        record = Record(
            key=self.spec.key,
            spec=self.spec.content,
            status=status,
            reason=" ".join(reason.split()),
            metrics=getattr(self, "metrics", {}),
            ledger=ledger.as_dict() if ledger else {},
            info=labelled(self.info, self.options.label),
            timing={
                "train_s": round(sum(seconds), 4),
                "epoch_s": round(sorted(seconds)[len(seconds) // 2], 6) if seconds else 0.0,
                "total_s": round(time.perf_counter() - self.start, 4),
                "finished": round(time.time(), 3),
            },
            environment=environment(self.device, self.spec.content),
        )
        if not self.claim.valid():
            if not self.store.records.is_dir():
                raise FolderError.of(self.store.root, "it was removed")
            raise Busy(f"{self.spec.key} was taken over while this process stood still")
        stored = self.store.save(record, files)
        self.store.forget_checkpoint(self.spec.key)
        return stored
