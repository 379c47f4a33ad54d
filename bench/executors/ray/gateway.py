"""Claims, checks and stores what nodes without the results folder make."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from prunebench.bench.executors.base import Job
from prunebench.bench.executors.ray.transfer import (
    Files,
    JobFiles,
    NewResults,
    manifest_digest,
    read_checkpoint,
    read_files,
    write_files,
)
from prunebench.bench.results.claims import Claim, Claims
from prunebench.bench.results.manifest import Damaged, from_json, read_manifest, verify
from prunebench.bench.results.store import Store, final_record
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.bench.runs.scoring_runs import find_evidence, needs_or_none
from prunebench.bench.runs.self_supervised import encoder_key
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.errors import InputError
from prunebench.methods.base import EvidenceSpec
from prunebench.methods.compose import resolve_method
from prunebench.record import RecordError, parse

_MOST_PUT = 8


class ResultsGateway:
    """Does for nodes what a worker that sees the driver's results folder does itself.

    Args:
        store: The results folder.
        retry_failed: Whether failed cells are run again.
        put: Hands an object to the cluster and returns a reference to it.
    """

    def __init__(self, store: Store, retry_failed: bool, put: Callable[[object], Any]) -> None:
        self.store, self.retry_failed, self._put = store, retry_failed, put
        self._claims: dict[str, Claim] = {}
        #: Digest and reference of the evidence that was last used, by key.
        self._put_evidence: OrderedDict[str, tuple[str, Any]] = OrderedDict()

    def begin(self, job: Job) -> JobResult | None:
        """Claims a cell for a node.

        Returns:
            None when it is to be run; else the result, ``EXISTS`` or ``BUSY``.
        """
        found = self._recorded(job)
        if found is None:
            claim = Claims(self.store.claims).acquire(job.key)
            if claim is None:
                return _busy(f"{job.key} is held by another process")
            self._claims[job.key] = claim
            found = self._recorded(job)  # by the process that held the claim until now
        if found is not None:
            self.release(job.key)
        return found

    def job_files(self, job: Job) -> JobFiles:
        """What a node needs beside the job."""
        evidence: dict[str, tuple[str, list[Any]]] = {}
        for key in (*job.after, *_encoder(job)):
            folder = self.store.evidence_path(key)
            with suppress(Damaged, OSError):
                if read_manifest(folder) is None:
                    continue
                files = read_files(folder) or {}
                digest = manifest_digest(files)
                if self._put_evidence.get(key, ("", None))[0] != digest:
                    self._put_evidence[key] = (digest, self._put(files))
                self._put_evidence.move_to_end(key)
                evidence[key] = (digest, [self._put_evidence[key][1]])
        while len(self._put_evidence) > max(_MOST_PUT, len(evidence)):
            self._put_evidence.popitem(last=False)
        return JobFiles(evidence, read_checkpoint(self.store.checkpoint_path(job.key)))

    def finish(self, job: Job, results: NewResults) -> JobResult | None:
        """Stores what a node has made, evidence first, and releases the claim.

        Returns:
            None, or ``BUSY`` where another process took the cell over while this one was suspended.

        Raises:
            InputError: Something has arrived damaged, or the folder cannot be written.
            OSError: Likewise.
        """
        claim = self._claims.get(job.key)
        try:
            if claim is not None and not claim.valid():
                return _busy(f"{job.key} was taken over")
            for key, files in results.evidence.items():
                self._save_evidence(key, files)
            for key, (data, files) in results.records.items():
                self._save_record(key, data, files)
            if results.records:
                self.store.remove_checkpoint(job.key)
            return None
        finally:
            self.release(job.key)

    def keep_checkpoint(self, key: str, files: Files) -> None:
        """Stores a node's checkpoint, from which another node can resume."""
        claim = self._claims.get(key)
        if claim is not None and claim.valid():
            write_files(self.store, self.store.checkpoint_path(key), files)

    def release(self, key: str) -> None:
        """Releases the claim of a cell."""
        claim = self._claims.pop(key, None)
        if claim is not None:
            claim.release()

    def close(self) -> None:
        """Releases every claim, and the evidence in Ray's object store."""
        for key in list(self._claims):
            self.release(key)
        self._put_evidence.clear()

    def _recorded(self, job: Job) -> JobResult | None:
        """The result of a cell that needs no run: its record is final and its evidence is there."""
        record = final_record(self.store, job.key, self.retry_failed)
        if record is None:
            return None
        asked = job.payload.get("evidence")
        need = from_json(asked) if asked else EvidenceSpec()
        wanted = not need.empty and record.status == "done"
        if wanted and find_evidence(self.store, job.key, need) is None:
            return None
        fields = {"code": OutcomeCode.EXISTS, "status": record.status, "reason": record.reason}
        return JobResult.from_json(fields)

    def _save_evidence(self, key: str, files: Files) -> None:
        with self.store.temporary_folder("arrived") as folder:
            write_files(self.store, folder / key, files)
            try:
                verify(folder / key, read_manifest(folder / key) or {"files": {}})
            except Damaged as damage:
                raise InputError(f"evidence {key} arrived damaged ({damage})") from None
            self.store.publish_folder(folder / key, self.store.evidence_path(key))

    def _save_record(self, key: str, data: bytes, files: Files) -> None:
        record = parse(data, key)
        if record.key != key:
            raise RecordError(f"arrived with the key {record.key}", where=key)
        if final_record(self.store, key, self.retry_failed) is not None:
            return
        digests = {
            name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        }
        if digests != {name: {"sha256": v["sha256"]} for name, v in record.artifacts.items()}:
            raise RecordError("its artifacts arrived damaged", where=key)
        self.store.save(record, files)


def _busy(reason: str) -> JobResult:
    return JobResult(OutcomeCode.BUSY, "failed", reason)


def _encoder(job: Job) -> list[str]:
    """Key of the self-supervised encoder that a cell uses, which is no job of its own."""
    if "spec" not in job.payload:
        return []
    spec = RunSpec.model_validate(job.payload["spec"])
    params = {**spec.method.params, **job.payload["method_params"]}
    pruner = resolve_method(spec.method.name).build(params)
    need = needs_or_none(pruner, spec)
    return [encoder_key(spec)] if need is not None and need.ssl else []
