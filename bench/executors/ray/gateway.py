"""One writer: what nodes without the results folder make is claimed, checked and stored here."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from prunebench.bench.executors.base import Job
from prunebench.bench.executors.ray.transfer import Files, read_files, stamp, write_files
from prunebench.bench.results.claims import Claim, Claims
from prunebench.bench.results.manifest import Damaged, from_json, read_manifest, verify
from prunebench.bench.results.store import Store, final_record
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.bench.runs.scoring_runs import evidence_needs, find_evidence
from prunebench.bench.runs.self_supervised import encoder_key
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.errors import InputError
from prunebench.methods.base import EvidenceSpec
from prunebench.methods.compose import resolve_method
from prunebench.record import RecordError, parse

_KEPT = 8


class ResultsGateway:
    """Stands in for workers at the driver's results folder.

    Args:
        store: The results folder.
        retry_failed: Whether failed cells are run again.
        put: Hands an object to the cluster and returns a reference to it.
    """

    def __init__(self, store: Store, retry_failed: bool, put: Callable[[object], Any]) -> None:
        self.store, self.retry_failed, self._put = store, retry_failed, put
        self._claims: dict[str, Claim] = {}
        self._packed: OrderedDict[str, tuple[str, Any]] = OrderedDict()

    def begin(self, job: Job) -> JobResult | None:
        """Claims a cell for a node.

        Returns:
            None when it is to be run; else the result, ``EXISTS`` or ``BUSY``.
        """
        found = self._stands(job)
        if found is not None:
            return found
        claim = Claims(self.store.claims).acquire(job.key)
        if claim is None:
            return JobResult(OutcomeCode.BUSY, "failed", f"{job.key} is held by another process")
        found = self._stands(job)
        if found is not None:
            claim.release()
            return found
        self._claims[job.key] = claim
        return None

    def parcels(self, job: Job) -> dict[str, Any]:
        """What a node needs beside the job: evidence as key -> (stamp, [reference]), and the
        checkpoint of an earlier attempt."""
        evidence: dict[str, tuple[str, list[Any]]] = {}
        for key in (*job.after, *_encoder(job)):
            folder = self.store.evidence_path(key)
            with suppress(Damaged, OSError):
                if read_manifest(folder) is None:
                    continue
                files = read_files(folder) or {}
                mark = stamp(files)
                if self._packed.get(key, ("", None))[0] != mark:
                    self._packed[key] = (mark, self._put(files))
                self._packed.move_to_end(key)
                evidence[key] = (mark, [self._packed[key][1]])
        while len(self._packed) > max(_KEPT, len(evidence)):
            self._packed.popitem(last=False)
        checkpoint = read_files(self.store.checkpoint_path(job.key))
        return {"evidence": evidence, "checkpoint": checkpoint}

    def finish(self, job: Job, parcel: dict[str, Any]) -> JobResult | None:
        """Stores what a node has made, evidence first, and gives the claim up.

        Returns:
            None, or ``BUSY`` where the cell was taken over while this process stood still.

        Raises:
            InputError: Something has arrived damaged, or the folder cannot be written.
            OSError: Likewise.
        """
        claim = self._claims.get(job.key)
        try:
            if claim is not None and not claim.valid():
                return JobResult(OutcomeCode.BUSY, "failed", f"{job.key} was taken over")
            for key, files in parcel["evidence"].items():
                self._save_evidence(key, files)
            for key, (data, files) in parcel["records"].items():
                self._save_record(key, data, files)
            if parcel["records"]:
                self.store.remove_checkpoint(job.key)
            return None
        finally:
            self.drop(job.key)

    def checkpoint(self, key: str, files: Files) -> None:
        """Keeps a node's checkpoint, so that another one can go on."""
        claim = self._claims.get(key)
        if claim is not None and claim.valid():
            write_files(self.store, self.store.checkpoint_path(key), files)

    def drop(self, key: str) -> None:
        """Gives the claim of a cell up."""
        claim = self._claims.pop(key, None)
        if claim is not None:
            claim.release()

    def close(self) -> None:
        """Gives every claim up and forgets what was packed."""
        for key in list(self._claims):
            self.drop(key)
        self._packed.clear()

    def _stands(self, job: Job) -> JobResult | None:
        record = final_record(self.store, job.key, self.retry_failed)
        if record is None:
            return None
        wanted = job.payload.get("evidence")
        need = from_json(wanted) if wanted else EvidenceSpec()
        open_need = not need.empty and record.status == "done"
        if open_need and find_evidence(self.store, job.key, need) is None:
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


def _encoder(job: Job) -> list[str]:
    """Key of the self-supervised encoder that a cell uses, which is no job of its own."""
    if "spec" not in job.payload:
        return []
    spec = RunSpec.model_validate(job.payload["spec"])
    params = {**spec.method.params, **job.payload["method_params"]}
    pruner = resolve_method(spec.method.name).build(params)
    if not evidence_needs(pruner, spec).ssl:
        return []
    return [encoder_key(spec)]
