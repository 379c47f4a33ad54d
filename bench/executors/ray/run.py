"""One run on a cluster: starts actors, hands out jobs, listens, replaces what is lost."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import prunebench
from prunebench.bench.executors.base import Job, Outcome
from prunebench.bench.executors.interrupt import waiting_for_signals
from prunebench.bench.executors.local.call import describe
from prunebench.bench.executors.memory import HOST, MemoryGuard, Reading
from prunebench.bench.executors.messages import JobEnded, Ready, SlotEvent, WorkerDied
from prunebench.bench.executors.ray.actor import Host
from prunebench.bench.executors.ray.cluster import Cluster, first_lines
from prunebench.bench.executors.ray.slot import WAIT_S, Node, RaySlot, end
from prunebench.bench.executors.tracker import JobTracker, describe_exit
from prunebench.bench.results.environment import source_digest
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.errors import InputError

if TYPE_CHECKING:
    from prunebench.bench.executors.ray.executor import RayExecutor

_POLL_S = 0.25
_PATIENCE_S = 10.0
_LOST = "its Ray actor or its node was lost"
_STARTS, _START_DELAY_LIMIT_S = 5, 10.0


class RayRun:
    """See the module.

    Args:
        executor: Whose run.
        cluster: Where.
        tracker: Of the run.
        waiting: Seats of an earlier run, their actors alive.
    """

    def __init__(
        self, executor: RayExecutor, cluster: Cluster, tracker: JobTracker, waiting: list[RaySlot]
    ) -> None:
        self.executor, self.cluster, self.tracker = executor, cluster, tracker
        self.ray, self.gateway = cluster.ray, executor.gateway
        device = executor.device
        self.seats = waiting or [RaySlot(n, device) for n in range(executor.slots)]
        self.nodes: dict[str, Node] = {}
        self.failed_starts, self.begin = 0, time.monotonic()
        self.told = self.mixed = False

    def loop(self) -> list[Outcome]:
        """Runs every job to its end."""
        # Ray prints its messages about actors and nodes on stdout, which is for results.
        with waiting_for_signals() as interrupt, redirect_stdout(sys.stderr):
            ended = False
            try:
                while self.tracker.queue.open:
                    now = time.monotonic()
                    self._start(now)
                    self._hand_out(now)
                    self._listen()
                    if interrupt.pending:
                        raise KeyboardInterrupt
                ended = True
            finally:
                if not (ended and self.executor.keep):
                    end(self.ray, self.seats, self.gateway, self.executor.grace_s)
        return self.tracker.outcomes()

    def _start(self, now: float) -> None:
        coming = sum(seat.actor is not None and not seat.ready for seat in self.seats)
        for seat in self.seats:
            if (
                seat.actor is None
                and seat.start_at <= now
                and self.tracker.queue.ready(now) > coming
            ):
                executor = self.executor
                actor = self.ray.remote(Host).options(
                    num_cpus=executor.launch.threads, num_gpus=executor.share, max_restarts=0
                )
                seat.actor, seat.since = actor.remote(executor.order(seat.number)), now
                seat.call, seat.greeting = seat.actor.greet.remote(), True
                coming += 1
        if any(seat.facts for seat in self.seats) or not coming:
            self.begin = now
            return
        waited = now - self.begin
        if waited > self.executor.start_s:
            raise InputError(f"no Ray actor came up in {waited:.0f} s: {self._resources()}")
        if waited > _PATIENCE_S and not self.told and not self._room():
            self.told = True
            text = f"waiting for room on the Ray cluster: {self._resources()}"
            self.tracker.notice(text)

    def _room(self) -> int:
        return self.cluster.capacity(self.executor.launch.threads, self.executor.share)

    def _resources(self) -> str:
        has = self.ray.cluster_resources()
        each = {"CPU": self.executor.launch.threads, "GPU": self.executor.share}
        wants = ", ".join(f"{count:g} {name}" for name, count in each.items() if count)
        found = ", ".join(f"{has.get(name, 0):g} {name}" for name, count in each.items() if count)
        return f"a slot takes {wants}, the cluster has {found} in all"

    def _hand_out(self, now: float) -> None:
        for seat in self.seats:
            if seat.ready and seat.call is None and seat.job is None:
                guard = self._guard(seat)
                if not self.tracker.queue.ready(now):
                    return
                if not guard.has_room(seat.number, seat.device):
                    if guard.short:
                        self.tracker.short_of_memory(guard)
                    if len(self._on(seat.node)) > guard.limits[HOST]:
                        self._dismiss(seat)
                    continue
                job = self.tracker.queue.take(seat.number, now)
                if job is not None:
                    self._give(seat, job, guard, now)

    def _give(self, seat: RaySlot, job: Job, guard: MemoryGuard, now: float) -> None:
        parcels = None
        if self.gateway is not None and not seat.facts["shared"]:
            found = self.gateway.begin(job)
            if found is not None:
                self.tracker.started(job, seat.number)
                self.tracker.ended(job, seat.number, found)
                return
            parcels = self.gateway.parcels(job)
        retry_on_oom = not guard.single_slot(seat.device)
        seat.job, seat.begun, seat.since = job, False, now
        seat.call = seat.actor.give.remote(
            job.payload, retry_on_oom, job.key, list(job.after), parcels
        )

    def _listen(self) -> None:
        calls = {seat.call: seat for seat in self.seats if seat.call is not None}
        if not calls:
            time.sleep(0.05)
            return
        wanted = self.tracker.queue.next_time()
        wait_s = _POLL_S if wanted is None else min(_POLL_S, max(0.0, wanted - time.monotonic()))
        done, _ = self.ray.wait(list(calls), num_returns=len(calls), timeout=0)
        if not done:
            done, _ = self.ray.wait(list(calls), num_returns=1, timeout=wait_s)
        for call in done:
            self._attend(calls[call])

    def _attend(self, seat: RaySlot) -> None:
        call, seat.call = seat.call, None
        try:
            said = self.ray.get(call)
        except self.ray.exceptions.RayTaskError as error:
            raise getattr(error, "cause", error) from error  # what our own code on the node raised
        except self.ray.exceptions.RayError as error:
            self._bury(seat, error)
            return
        if seat.greeting:
            seat.greeting = False
            self._welcome(seat, said)
        elif seat.job is not None and not seat.begun:
            seat.begun = True
            self.tracker.started(seat.job, seat.number)
        else:
            self._hear(seat, said)
        if seat.call is None and (seat.job is not None or not seat.ready):
            seat.call = seat.actor.news.remote(WAIT_S)

    def _welcome(self, seat: RaySlot, facts: dict[str, Any]) -> None:
        version, code = prunebench.__version__, source_digest()
        if facts["version"] != version:
            raise InputError(
                f"node {facts['host']} has prunebench {facts['version']}, this one {version}",
                where="--executor ray",
                accepted="the same version on every node",
            )
        if facts["code"] != code and not self.mixed:
            self.mixed = True
            text = (
                f"warning: the source on node {facts['host']} ({facts['code']}) differs from this "
                f"one's ({code}); records name theirs"
            )
            self.tracker.notice(text)
        seat.facts = facts

    def _hear(self, seat: RaySlot, said: dict[str, Any]) -> None:
        node, seat.used = self._node(seat), int(said["used"])
        node.reading = None if said["memory"] is None else Reading(**said["memory"])
        node.guard.update({one.number: one.used for one in self._on(seat.node)})
        if said["checkpoint"] and seat.job is not None and self.gateway is not None:
            self.gateway.checkpoint(seat.job.key, said["checkpoint"])
        for message in said["messages"]:
            if isinstance(message, Ready):
                seat.ready, self.failed_starts = True, 0
            elif isinstance(message, JobEnded):
                seat.ready = not message.last
                message = self._collect(seat, message, said["parcel"])
            elif isinstance(message, WorkerDied):
                seat.ready = False
                self._lost_worker(seat, message)
            self.tracker.apply(seat, message, node.guard)

    def _collect(self, seat: RaySlot, message: JobEnded, parcel: Any) -> SlotEvent:
        """Stores what came back; what cannot be stored makes the cell fail."""
        if self.gateway is None or seat.job is None or parcel is None:
            return message
        try:
            found = self.gateway.finish(seat.job, parcel)
        except (InputError, OSError) as error:
            found = JobResult(OutcomeCode.ESCAPED, "failed", describe(error))
        return message if found is None else replace(message, result=found)

    def _lost_worker(self, seat: RaySlot, message: WorkerDied) -> None:
        """Its worker process is gone; the actor starts another one."""
        if seat.job is not None and self.gateway is not None:
            self.gateway.drop(seat.job.key)
        if not message.was_ready:
            reason = f"workers do not start: {describe_exit(message.exit_code)}"
            self._count_failed_start(seat, reason)
        seat.call, seat.greeting = seat.actor.greet.remote(), True

    def _bury(self, seat: RaySlot, error: Exception) -> None:
        """Its actor is gone, perhaps with its node."""
        guard = self._guard(seat)
        job, begun, up = seat.job, seat.begun, bool(seat.facts)
        seconds = time.monotonic() - seat.since
        self._forget(seat)
        if job is None:
            if not up:
                self._count_failed_start(seat, f"Ray actors do not start: {first_lines(error)}")
            return
        if self.gateway is not None:
            self.gateway.drop(job.key)
        by_ray = isinstance(error, self.ray.exceptions.OutOfMemoryError)
        if not begun:
            self.tracker.queue.put_back(job)
        elif by_ray or guard.killed_by_oom(-signal.SIGKILL):
            reason = "its Ray actor ran out of memory"
            self.tracker.died(job, seat, reason, reason, guard, seconds)
        else:
            self.tracker.died(job, seat, _LOST, "", guard, seconds)

    def _forget(self, seat: RaySlot) -> None:
        with suppress(Exception):  # it may be gone for good
            self.ray.kill(seat.actor, no_restart=True)
        seat.actor = seat.call = seat.job = None
        seat.facts, seat.used = {}, 0
        seat.ready = seat.begun = seat.greeting = False

    def _dismiss(self, seat: RaySlot) -> None:
        """Ends an idle actor whose place is not to be used any more, for the memory it holds."""
        self._forget(seat)
        seat.start_at = float("inf")

    def _count_failed_start(self, seat: RaySlot, reason: str) -> None:
        self.failed_starts += 1
        delay = min(_START_DELAY_LIMIT_S, 0.1 * 2**self.failed_starts)
        seat.start_at = time.monotonic() + delay
        if self.failed_starts >= _STARTS and not any(other.job for other in self.seats):
            raise InputError(reason, where=self.executor.launch.run)

    def _on(self, node: str) -> list[RaySlot]:
        return [seat for seat in self.seats if seat.facts and seat.node == node]

    def _busy(self, node: str) -> dict[int, str]:
        return {seat.number: seat.device for seat in self._on(node) if seat.job is not None}

    def _node(self, seat: RaySlot) -> Node:
        if seat.node not in self.nodes:
            name = seat.node
            busy = lambda: self._busy(name)  # noqa: E731
            self.nodes[name] = Node(self.executor.free_memory, len(self.seats), busy)
        return self.nodes[seat.node]

    def _guard(self, seat: RaySlot) -> MemoryGuard:
        return self._node(seat).guard
