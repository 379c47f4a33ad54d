"""The mirror beside running cells: one background thread, whose failures stop nothing."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from prunebench.bench.tracking.client import one_line
from prunebench.bench.tracking.database import default_uri
from prunebench.bench.tracking.mirror import Mirror, writer_lock
from prunebench.bench.tracking.payload import build_payload
from prunebench.record import Record

MAX_FAILURES = 3


@dataclass(frozen=True)
class MirrorSummary:
    """How many submitted records were written, and why others were not.

    Attributes:
        written: Runs created.
        unchanged: Records whose run was already there.
        lost: Records without a run; ``prunebench sync`` writes them.
        reason: The last failure, on one line; empty when nothing was lost.
    """

    written: int
    unchanged: int
    lost: int
    reason: str


class BackgroundMirror:
    """Mirrors records into MLflow from one thread of the parent process.

    The thread imports MLflow, creates schema and experiment and then writes, each under the
    folder's writer lock; workers never touch MLflow. No failure of MLflow reaches the caller:
    what could not be written is counted, so that the caller can report it.

    Args:
        uri: Tracking URI; None means SQLite in the results folder.
        results: Results folder.
        experiment: Name of the MLflow experiment.
    """

    def __init__(self, uri: str | None, results: Path, experiment: str) -> None:
        self.uri, self.results, self.experiment = uri, results, experiment
        self._queue: queue.SimpleQueue[tuple[Record, Path | None, float] | None]
        self._queue = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._abandoned = threading.Event()
        self._submitted = self._written = self._unchanged = 0
        self._reason = ""
        self._summary: MirrorSummary | None = None

    def start(self) -> None:
        """Starts the writer, which initialises the store; further calls do nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)
            self._thread.start()

    def submit(self, record: Record, artifacts: Path | None = None) -> None:
        """Queues a sealed record; returns at once.

        Args:
            record: The record, whatever its status.
            artifacts: Folder that may hold ``epochs.csv``.
        """
        self._submitted += 1
        self._queue.put((record, artifacts, time.time()))

    def close(self, timeout: float = 60.0) -> MirrorSummary:
        """Writes what is queued, for at most ``timeout`` seconds, and counts what was written."""
        if self._summary is not None:
            return self._summary
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout)
            self._abandoned.set()
            if self._thread.is_alive():
                self._reason = self._reason or f"not finished after {timeout:g} s"
        written, unchanged = self._written, self._unchanged
        lost = self._submitted - written - unchanged
        reason = (self._reason or "never started") if lost else ""
        self._summary = MirrorSummary(written, unchanged, lost, reason)
        return self._summary

    def __enter__(self) -> BackgroundMirror:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        mirror = self._open()
        failures = 0
        while (item := self._queue.get()) is not None and not self._abandoned.is_set():
            if mirror is None or failures >= MAX_FAILURES:
                continue  # the rest of the queue is dropped, so that close returns at once
            try:
                self._write(mirror, *item)
                failures = 0
            except Exception as error:
                self._reason = one_line(error)
                failures += 1

    def _open(self) -> Mirror | None:
        try:
            with writer_lock(self.results):
                uri = self.uri or default_uri(self.results)
                return Mirror(uri, self.results, self.experiment)
        except Exception as error:
            self._reason = one_line(error)
            return None

    def _write(self, mirror: Mirror, record: Record, artifacts: Path | None, now: float) -> None:
        payload = build_payload(record, artifacts, now)
        with writer_lock(self.results):
            created, _ = mirror.reconcile(payload, list(mirror.runs(payload.key)))
        if created:
            self._written += 1
        else:
            self._unchanged += 1
