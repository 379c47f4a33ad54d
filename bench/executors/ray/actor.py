"""The actor of a slot: it runs one worker process on its node.

The worker is that of the local executor, with the same environment and time limit; the actor passes
its messages on. The actor dies with its node, with the driver's connection, or by ``ray.kill``, and
the kernel then ends the worker.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import prunebench
from prunebench.bench.executors.base import Job
from prunebench.bench.executors.local.process import Launch
from prunebench.bench.executors.local.slot import Slot, Worker, end_workers
from prunebench.bench.executors.memory import Reading, read_memory
from prunebench.bench.executors.messages import JobEnded, SlotEvent
from prunebench.bench.executors.ray.settings import ActorStart, Plugin
from prunebench.bench.executors.ray.transfer import (
    Files,
    JobFiles,
    NewResults,
    StagingFolder,
    run_folder,
)
from prunebench.bench.results.environment import source_digest
from prunebench.bench.results.process import this_process
from prunebench.bench.runs.job_result import OutcomeCode
from prunebench.files import write_atomic
from prunebench.record import file_digest

#: Seconds for which an actor waits for its worker before it sends a report without events.
REPORT_S = 1.0
_POLL_S = 0.2


@dataclass(frozen=True)
class NodeInfo:
    """Where an actor runs; the answer to ``start``.

    Attributes:
        machine: Id of the machine since its boot.
        host: Its name, for messages.
        version: Of prunebench.
        code: Digest of prunebench's source.
        sees_results: Whether workers write to the driver's results folder themselves.
    """

    machine: str
    host: str
    version: str
    code: str
    sees_results: bool


@dataclass(frozen=True)
class Report:
    """The answer to ``report`` and ``stop``.

    Attributes:
        events: Of the worker.
        memory: Of the node.
        used: Bytes of the worker.
        results: Of a job that ended, on a node without the results folder.
        checkpoint: A new one of the job, on such a node.
    """

    events: list[SlotEvent]
    memory: Reading | None
    used: int
    results: NewResults | None
    checkpoint: Files | None


class NodeActor:
    """The actor. Its calls run one after the other in one thread, which must stay alive: the
    kernel ends the worker with the thread that started it."""

    def __init__(self, start: ActorStart) -> None:
        with suppress(OSError):
            os.chdir(start.folder)
        sys.path.extend(p for p in start.path if p not in sys.path and os.path.exists(p))
        settings, options, root = start.settings, start.settings.options, start.root
        shared = settings.sees_results
        if shared is None:
            shared = start.probe is None or _reads(start.probe, start.run)
        self._folder: Path | None = None
        if start.plugins or not shared:
            self._folder = run_folder("prunebench-node", start.run, shared=True)
        self._staging: StagingFolder | None = None
        self._keys: list[str] = []
        if self._folder is not None and not shared:
            root = self._folder / "results"
            self._staging = StagingFolder(root)
        given: dict[str, Any] = options.for_workers()
        if root is not None:
            given["root"] = str(root)
        plugins = tuple(map(self._plugin, start.plugins))
        logs = root and root / "logs"
        launch = Launch(settings.run, options.threads, plugins, given, logs)
        self._slot = Slot(start.number, settings.device)
        self._worker = Worker([self._slot], launch, options.time_limit_s, settings.grace_s)

    def start(self) -> NodeInfo:
        """Starts a worker."""
        self._worker.start()
        me, version, code = this_process(), prunebench.__version__, source_digest()
        return NodeInfo(me.machine, me.host, version, code, self._staging is None)

    def run_job(
        self, payload: dict[str, Any], retry_on_oom: bool, keys: list[str], files: JobFiles | None
    ) -> None:
        """Sends the worker a job.

        Args:
            payload: Of the job.
            retry_on_oom: As in ``WorkerContext``.
            keys: Of the job and of its scoring runs.
            files: What the job needs where the node does not see the results folder.
        """
        self._keys = keys
        if self._staging is not None and files is not None:
            import ray

            for key, (digest, references) in files.evidence.items():
                if not self._staging.has_evidence(key, digest):
                    self._staging.add_evidence(key, ray.get(references[0]))
            if files.checkpoint:
                self._staging.add_checkpoint(keys[0], files.checkpoint)
        self._worker.give(self._slot, Job(keys[0], payload), retry_on_oom)

    def report(self) -> Report:
        """Waits for an event of the worker, for at most ``REPORT_S`` seconds."""
        end = time.monotonic() + REPORT_S
        events = self._poll()
        while not events and (process := self._worker.process) and time.monotonic() < end:
            left = max(0.0, min(end, self._worker.next_check()) - time.monotonic())
            wait(process.waitables(), left if process.death_wakes else min(left, _POLL_S))
            events = self._poll()
        return self._report(events)

    def stop(self) -> Report:
        """Ends the worker, which saves its cell first where it can."""
        events = self._poll()
        end_workers([self._worker], self._worker.grace_s)
        return self._report([*events, *self._poll()])

    def remove_folder(self) -> None:
        """Removes the folder that the actors of a node share; one of them is asked at the end."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _poll(self) -> list[SlotEvent]:
        return [event for _, event in self._worker.poll()]

    def _report(self, events: list[SlotEvent]) -> Report:
        results = checkpoint = None
        if self._staging is not None and self._keys:
            ended = [event.result for event in events if isinstance(event, JobEnded)]
            if any(result.code is not OutcomeCode.TIME_LIMIT for result in ended):
                results = self._staging.take_results(self._keys)
            checkpoint = self._staging.new_checkpoint(self._keys[0])
        return Report(events, read_memory(), self._worker.used_memory(), results, checkpoint)

    def _plugin(self, plugin: Plugin) -> str:
        """The user's own file where it is here, unchanged: it may read others beside it."""
        own, digest = Path(plugin.path), hashlib.sha256(plugin.content).hexdigest()
        with suppress(OSError):
            if file_digest(str(own)) == digest:
                return str(own)
        assert self._folder is not None
        copy = self._folder / "plugins" / digest[:16] / own.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(copy, plugin.content)
        return str(copy)


def _reads(path: Path, content: str) -> bool:
    try:
        return path.read_text() == content
    except OSError:
        return False
