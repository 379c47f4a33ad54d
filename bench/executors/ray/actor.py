"""The far side of a Ray slot: an actor that runs one worker process on its node.

The worker is that of the local executor, with its environment, its time limit and its death; the
actor only relays. It dies with its node, with the driver's connection, or by ``ray.kill``, and the
kernel ends the worker with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import prunebench
from prunebench.bench.executors.base import Job
from prunebench.bench.executors.local.process import Launch
from prunebench.bench.executors.local.slot import Slot, Worker, end_workers
from prunebench.bench.executors.memory import read_memory
from prunebench.bench.executors.messages import JobEnded, SlotEvent
from prunebench.bench.executors.ray.transfer import Files, StagingFolder
from prunebench.bench.results.environment import source_digest
from prunebench.bench.results.process import this_process
from prunebench.bench.runs.job_result import OutcomeCode
from prunebench.files import is_private, private_folder, write_atomic
from prunebench.record import file_digest

_FOLDER = "prunebench-node-"
_ABANDONED_S = 86400.0


@dataclass(frozen=True)
class Plugin:
    """A plug-in file with its content: a node may not see the path."""

    path: str
    content: bytes


@dataclass(frozen=True)
class Order:
    """What an actor starts with; see ``RayExecutor`` for most fields.

    Attributes:
        number: The slot.
        device: Its device, inside: ``cpu`` or ``cuda``; Ray says which card.
        launch: What the worker starts with, its plug-ins aside.
        plugins: Files that every worker loads first.
        run: Random name of the run, for folders that its actors share on a node.
        folder: Working folder of the driver; taken where it exists.
        path: Import path of the driver; what exists of it is added.
        probe: File in the results folder and its content; None where there is no results folder.
        share: Whether the node sees the results folder; None probes.
    """

    number: int
    device: str
    launch: Launch
    plugins: tuple[Plugin, ...]
    run: str
    folder: str
    path: tuple[str, ...]
    probe: tuple[str, str] | None
    share: bool | None
    time_limit_s: float | None
    grace_s: float


class Host:
    """The actor. Its calls run one after the other in one thread, which must live on: the
    kernel ends the worker with the thread that has started it."""

    def __init__(self, order: Order) -> None:
        with suppress(OSError):
            os.chdir(order.folder)
        sys.path.extend(p for p in order.path if p not in sys.path and os.path.exists(p))
        self._order, self._key = order, ""
        self._after: list[str] = []
        self._spool: StagingFolder | None = None
        shared = order.probe is None or _sees(order.probe) if order.share is None else order.share
        self._folder = _node_folder(order.run) if order.plugins or not shared else None
        launch = replace(order.launch, plugins=tuple(map(self._plugin, order.plugins)))
        if not shared:
            assert self._folder is not None
            root = self._folder / "results"
            self._spool = StagingFolder(root)
            settings = {**launch.settings, "root": str(root)}
            launch = replace(launch, settings=settings, log_dir=root / "logs")
        self._slot = Slot(order.number, order.device)
        self._worker = Worker([self._slot], launch, order.time_limit_s, order.grace_s)

    def greet(self) -> dict[str, Any]:
        """Starts the worker and says where this is."""
        self._worker.start()
        return {
            "shared": self._spool is None,
            "machine": this_process().machine,
            "host": this_process().host,
            "pid": os.getpid(),
            "code": source_digest(),
            "version": prunebench.__version__,
        }

    def give(
        self, payload: dict[str, Any], retry_on_oom: bool, key: str, after: list[str], parcels: Any
    ) -> None:
        """Hands the worker a cell.

        Args:
            payload: Of the job.
            retry_on_oom: As in ``WorkerContext``.
            key: Of the job.
            after: Its scoring runs.
            parcels: ``ResultsGateway.parcels``, or None where the results folder is seen.
        """
        self._key, self._after = key, after
        if self._spool is not None and parcels is not None:
            for one, (mark, references) in parcels["evidence"].items():
                if not self._spool.has(one, mark):
                    self._spool.take_in(one, _fetch(references[0]))
            if parcels["checkpoint"]:
                self._spool.resume(key, parcels["checkpoint"])
        self._worker.give(self._slot, Job(key, payload), retry_on_oom)

    def news(self, wait_s: float) -> dict[str, Any]:
        """Waits until the worker has something to say, or it is time.

        Returns:
            ``messages`` of the worker; the ``parcel`` of a job that ended; ``memory`` of the node
            and ``used`` by the worker, in bytes; a new ``checkpoint`` of the cell, or None.
        """
        end = time.monotonic() + wait_s
        messages: list[SlotEvent] = []
        while not messages and self._worker.process is not None:
            until = min(end, self._worker.next_check())
            process = self._worker.process
            handles = process.waitables()
            left = until - time.monotonic()
            wait(handles, max(0.0, left if process.death_wakes else min(left, 0.2)))
            messages = self._events()
            if time.monotonic() >= end:
                break
        return self._report(messages)

    def stop(self) -> dict[str, Any]:
        """Ends the worker, which saves its cell first where it can, and clears up."""
        messages = self._events()
        end_workers([self._worker], self._order.grace_s)
        return self._report([*messages, *self._events()])

    def clear(self) -> None:
        """Removes what the actors of this run share on this node; the last one calls it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _events(self) -> list[SlotEvent]:
        return [event for _, event in self._worker.poll()]

    def _report(self, messages: list[SlotEvent]) -> dict[str, Any]:
        checkpoint, parcel = None, None
        if self._spool is not None:
            ended = [one.result for one in messages if isinstance(one, JobEnded)]
            if any(result.code is not OutcomeCode.TIME_LIMIT for result in ended):
                parcel = self._spool.hand_out([self._key, *self._after])
            if self._key:
                checkpoint = self._spool.checkpoint(self._key)
        memory = read_memory()
        return {
            "messages": messages,
            "parcel": parcel,
            "memory": None if memory is None else asdict(memory),
            "used": self._worker.used_memory(),
            "checkpoint": checkpoint,
        }

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


def _sees(probe: tuple[str, str]) -> bool:
    try:
        return Path(probe[0]).read_text() == probe[1]
    except OSError:
        return False


def _node_folder(run: str) -> Path:
    """A private folder for this run on this node; those of runs long gone are removed."""
    place = Path(tempfile.gettempdir())
    for old in place.glob(f"{_FOLDER}*"):
        with suppress(OSError):
            age = time.time() - max(one.lstat().st_mtime for one in (old, *old.glob("*/*")))
            if age > _ABANDONED_S and is_private(old):
                shutil.rmtree(old, ignore_errors=True)
    return private_folder(place / f"{_FOLDER}{run}", shared=True)


def _fetch(reference: Any) -> Files:
    import ray

    files: Files = ray.get(reference)
    return files
