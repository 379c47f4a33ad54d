"""Jobs on a Ray cluster: one actor per slot, one job at a time in each, results to one writer."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.bench.executors.base import Executor, Job, OnEvent, OnLost, Outcome
from prunebench.bench.executors.local.process import Launch
from prunebench.bench.executors.ray.actor import Order, Plugin
from prunebench.bench.executors.ray.cluster import Cluster
from prunebench.bench.executors.tracker import JobTracker
from prunebench.errors import InputError

if TYPE_CHECKING:
    from prunebench.bench.executors.ray.gateway import ResultsGateway
    from prunebench.bench.executors.ray.slot import RaySlot
    from prunebench.bench.results.store import Store

_UNITS = 10_000


class RayExecutor(Executor):
    """Spreads jobs over the actors of a Ray cluster and outlives the loss of nodes.

    Args:
        run: Worker function as ``module:function``.
        slots: Actors; None or 0 takes what the cluster has room for.
        threads: CPUs of each actor, and threads of its numeric libraries.
        devices: ``cpu``, or cards: of an own cluster these, of another one any.
        slots_per_device: Actors that share a card.
        address: ``auto`` or the address of a running cluster; None starts one on this machine.
        time_limit_s: Wall time after which a cell is ended as failed.
        plugins: Files that every worker loads first; their content travels.
        attempts: Times a cell is started whose worker, actor or node dies under it.
        settings: JSON given to every worker once.
        on_lost: Records final statuses that the worker function could not record itself.
        store: The results folder, also ``settings["root"]``. A node that does not see it works in
            a folder of its own, and what it makes comes back; None where jobs leave no results.
        retry_failed: Whether failed cells are run again.
        log_dir: Folder for what workers print, on nodes that see the results folder.
        grace_s: Seconds between asking a worker to end and killing it.
        keep: Actors wait for the next run until ``close``.
        free_memory: Bytes to leave free on each node, see ``MemoryGuard``.
        share: Whether nodes see the results folder; None asks each.
        start_s: Seconds to wait for the first actor.

    Raises:
        InputError: A number out of range, or devices of two kinds.
    """

    def __init__(
        self,
        run: str = "prunebench.bench.runs.job:run_payload",
        slots: int | None = None,
        threads: int = 1,
        devices: Sequence[str] = ("cpu",),
        slots_per_device: int = 1,
        address: str | None = None,
        time_limit_s: float | None = None,
        plugins: Sequence[str] = (),
        attempts: int = 2,
        settings: dict[str, Any] | None = None,
        on_lost: OnLost | None = None,
        store: Store | None = None,
        retry_failed: bool = False,
        log_dir: Path | None = None,
        grace_s: float = 3.0,
        keep: bool = False,
        free_memory: int | None = None,
        share: bool | None = None,
        start_s: float = 300.0,
    ) -> None:
        numbers = {"threads": threads, "attempts": attempts, "slots per device": slots_per_device}
        for name, number in {**numbers, "slots": slots or 1}.items():
            if number < 1:
                raise InputError(f"{name} is {number}", accepted="1 or more")
        if time_limit_s is not None and not time_limit_s > 0:
            raise InputError(f"time limit of {time_limit_s} s", accepted="more than 0")
        kinds = {device.partition(":")[0] for device in devices}
        if len(kinds) > 1:
            raise InputError(
                f"devices of two kinds: {', '.join(devices)}",
                where="--executor ray",
                accepted="cpu, or accelerators only",
            )
        self.device = kinds.pop()
        self.cards = [int(device.partition(":")[2] or 0) for device in devices]
        if self.device == "cpu":
            self.cards = []
        # Ray counts in ten-thousandths; rounded up, the last of six would not fit.
        self.share = _UNITS // slots_per_device / _UNITS if self.device != "cpu" else 0.0
        own = len(self.cards) * slots_per_device if self.cards else os.cpu_count() or 1
        self.wanted = slots or (own if address is None else 0)
        settings = dict(settings or {})
        if store is not None:
            settings["root"] = str(store.root.resolve())
        logs = None if log_dir is None else log_dir.resolve()
        self.launch = Launch(run, threads, tuple(plugins), settings, logs)
        self.address, self.time_limit_s, self.attempts = address, time_limit_s, attempts
        self.on_lost, self.store, self.retry_failed = on_lost, store, retry_failed
        self.grace_s, self.keep, self.free_memory = grace_s, keep, free_memory
        self.visible, self.start_s = share, start_s
        self.run_name = secrets.token_hex(8)
        self._cluster: Cluster | None = None
        self._waiting = list["RaySlot"]()
        self.gateway: ResultsGateway | None = None

    @property
    def slots(self) -> int:
        """Cells at once; connects where the cluster decides."""
        if not self.wanted:
            cluster = self.connect()
            self.wanted = max(1, cluster.capacity(self.launch.threads, self.share))
        return self.wanted

    def connect(self) -> Cluster:
        """The cluster, started or joined at the first call.

        Raises:
            InputError: Ray is not installed, or no cluster answers.
        """
        if self._cluster is None:
            self._cluster = Cluster(self.address, self.wanted * self.launch.threads, self.cards)
            if self.store is not None:
                from prunebench.bench.executors.ray.gateway import ResultsGateway

                put = self._cluster.ray.put
                self.gateway = ResultsGateway(self.store, self.retry_failed, put)
        return self._cluster

    def run(self, jobs: Sequence[Job], on_event: OnEvent) -> list[Outcome]:
        """See ``Executor.run``."""
        from prunebench.bench.executors.ray.run import RayRun

        tracker = JobTracker(jobs, on_event, self.on_lost, self.attempts)
        waiting, self._waiting = self._waiting, []
        ended = False
        try:
            if not jobs:
                return []
            run = RayRun(self, self.connect(), tracker, waiting)
            waiting = run.seats
            outcomes = run.loop()
            ended = True
        finally:
            if self.keep and (ended or not jobs):
                self._waiting = waiting
            else:
                self.close()
        return outcomes

    def close(self) -> None:
        """Ends the actors that wait for a further run, and leaves the cluster."""
        from prunebench.bench.executors.ray.slot import end

        waiting, self._waiting = self._waiting, []
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            try:
                end(cluster.ray, waiting, self.gateway, self.grace_s)
            finally:
                cluster.close()

    def order(self, number: int) -> Order:
        """What the actor of a slot starts with.

        Raises:
            InputError: A plug-in file cannot be read.
        """
        return Order(
            number=number,
            device=self.device,
            launch=replace(self.launch, plugins=()),
            plugins=tuple(map(_packed, self.launch.plugins)),
            run=self.run_name,
            folder=os.getcwd(),
            path=tuple(entry or os.getcwd() for entry in sys.path),
            probe=self._probe(),
            share=self.visible,
            time_limit_s=self.time_limit_s,
            grace_s=self.grace_s,
        )

    def _probe(self) -> tuple[str, str] | None:
        if self.store is None:
            return None
        path = self.store.root / ".tmp" / f"probe-{self.run_name}"
        if not path.exists():
            self.store.own.write(path, self.run_name.encode())
        return str(path.resolve()), self.run_name


def _packed(path: str) -> Plugin:
    try:
        return Plugin(str(Path(path).resolve()), Path(path).read_bytes())
    except OSError:
        raise InputError(
            f"no such file: {path}", where="--plugin", accepted="a Python file"
        ) from None
