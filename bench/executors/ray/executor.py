"""Jobs on a Ray cluster: one actor per slot, one job at a time in each, results to one writer."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prunebench.bench.executors.base import Executor, Job, OnEvent, Outcome
from prunebench.bench.executors.interrupt import waiting_for_signals
from prunebench.bench.executors.ray.cluster import Cluster
from prunebench.bench.executors.ray.gateway import ResultsGateway
from prunebench.bench.executors.ray.run import RayRun, RaySlot, end_actors
from prunebench.bench.executors.ray.settings import ActorStart, Plugin, RaySettings
from prunebench.bench.executors.tracker import JobTracker
from prunebench.errors import InputError


class RayExecutor(Executor):
    """Spreads jobs over the actors of a Ray cluster and replaces those that are lost."""

    def __init__(self, settings: RaySettings) -> None:
        self.settings = settings
        self.gateway: ResultsGateway | None = None
        self._name, self._count = secrets.token_hex(8), settings.slots
        self._cluster: Cluster | None = None
        self._kept: list[RaySlot] = []

    @property
    def slots(self) -> int:
        """Cells at once; connects where the cluster decides."""
        if not self._count:
            self._count = max(1, self.connect().capacity(*self.settings.slot_size))
        return self._count

    def connect(self) -> Cluster:
        """The cluster, started or joined at the first call.

        Raises:
            InputError: Ray is not installed, or no cluster answers.
        """
        if self._cluster is None:
            options, store = self.settings.options, self.settings.store
            cpus = self._count * options.threads
            self._cluster = Cluster(options.ray_address, cpus, self.settings.cards)
            if store is not None:
                put = self._cluster.ray.put
                self.gateway = ResultsGateway(store, options.retry_failed, put)
        return self._cluster

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> list[Outcome]:
        """See ``Executor.run``."""
        if not jobs:
            return []
        settings, ended = self.settings, False
        tracker = JobTracker(jobs, on_event, settings.on_lost, settings.attempts)
        cluster = self.connect()
        with waiting_for_signals() as interrupt:
            try:
                numbers = range(self.slots)
                self._kept = self._kept or [RaySlot(n, settings.device) for n in numbers]
                start = self.actor_start()
                RayRun(settings, start, cluster, self.gateway, tracker, self._kept).loop(interrupt)
                ended = True
            finally:
                if not (ended and settings.keep):
                    self.close()
        return tracker.outcomes()

    def close(self) -> None:
        """Ends the actors and leaves the cluster."""
        slots, self._kept = self._kept, []
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            try:
                end_actors(cluster.ray, slots, self.gateway, self.settings.grace_s)
            finally:
                cluster.close()

    def actor_start(self) -> ActorStart:
        """What every actor starts with.

        Raises:
            InputError: A plug-in file cannot be read.
        """
        store = self.settings.store
        start = ActorStart(
            replace(self.settings, store=None, on_lost=None),
            plugins=tuple(map(_read_plugin, self.settings.options.plugins)),
            run=self._name,
            folder=os.getcwd(),
            path=tuple(entry or os.getcwd() for entry in sys.path),
            root=None if store is None else store.root.resolve(),
        )
        if store is not None and start.probe is not None and not start.probe.exists():
            store.own.write(start.probe, self._name.encode())
        return start


def _read_plugin(path: str) -> Plugin:
    try:
        return Plugin(str(Path(path).resolve()), Path(path).read_bytes())
    except OSError:
        raise InputError(
            f"no such file: {path}", where="--plugin", accepted="a Python file"
        ) from None
