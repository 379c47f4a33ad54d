"""One run on a cluster: starts actors, gives them jobs, applies reports, replaces lost actors."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, replace
from typing import Any

import prunebench
from prunebench.bench.executors.interrupt import Interrupt
from prunebench.bench.executors.local.call import describe
from prunebench.bench.executors.memory import HOST, MemoryGuard, Reading
from prunebench.bench.executors.messages import JobEnded, Ready, SlotEvent, WorkerDied
from prunebench.bench.executors.ray.actor import REPORT_S, NodeActor, NodeInfo, Report
from prunebench.bench.executors.ray.cluster import Cluster, first_lines
from prunebench.bench.executors.ray.gateway import ResultsGateway
from prunebench.bench.executors.ray.settings import ActorStart, RaySettings
from prunebench.bench.executors.ray.transfer import NewResults
from prunebench.bench.executors.tracker import JobTracker, SlotState, describe_exit
from prunebench.bench.results.environment import source_digest
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.errors import InputError

_POLL_S = 0.25
_NOTICE_S = 10.0
_LOST = "its Ray actor or its node was lost"
_STARTS, _START_DELAY_LIMIT_S = 5, 10.0


@dataclass
class RaySlot(SlotState):
    """A slot whose worker an actor runs.

    Attributes:
        actor: The actor; None where one is to be started.
        call: The call of the actor that it has not answered.
        node: Where the actor runs; None until it is up.
        ready: Whether its worker can take a job.
        begun: Whether the job has reached the actor.
        since: Monotonic time at which the actor got the job.
        used: Bytes of its worker.
        start_at: Monotonic time before which no actor is started.
    """

    actor: Any = None
    call: Any = None
    node: NodeInfo | None = None
    ready: bool = False
    begun: bool = False
    since: float = 0.0
    used: int = 0
    start_at: float = 0.0

    @property
    def machine(self) -> str:
        """Machine of the actor; empty until it is up."""
        return self.node.machine if self.node is not None else ""

    def kill_actor(self, ray: Any) -> None:
        """Ends the actor at once, and forgets it and its job."""
        with suppress(Exception):  # a dead actor cannot be killed again
            ray.kill(self.actor, no_restart=True)
        self.actor = self.call = self.job = self.node = None
        self.ready, self.begun, self.used = False, False, 0


class NodeMemory:
    """Memory of one machine: the last reading of its actors, and the guard that uses it."""

    def __init__(self, floor: int | None, slots: Sequence[RaySlot], machine: str) -> None:
        self.reading: Reading | None = None
        self._slots, self._machine = slots, machine
        # Ray chooses the card of an actor, so that all cards of a machine count as one place.
        places = {"cuda": len(slots), "cpu": len(slots)}
        self.guard = MemoryGuard(places, self._busy, floor, lambda: self.reading)
        self.guard.limits[HOST] = len(slots)

    def slots(self) -> list[RaySlot]:
        """Slots whose actors run on this machine."""
        return [slot for slot in self._slots if slot.node and slot.machine == self._machine]

    def _busy(self) -> dict[int, str]:
        return {slot.number: slot.device for slot in self.slots() if slot.job is not None}


class RayRun:
    """See the module.

    Args:
        settings: How jobs run.
        start: What every actor starts with; its number is filled in here.
        cluster: Where the actors run.
        gateway: Stores what nodes without the results folder send; None without such a folder.
        tracker: Of the run.
        slots: With the actors of an earlier run, or without actors.
    """

    def __init__(
        self,
        settings: RaySettings,
        start: ActorStart,
        cluster: Cluster,
        gateway: ResultsGateway | None,
        tracker: JobTracker,
        slots: Sequence[RaySlot],
    ) -> None:
        self.settings, self.start = settings, start
        self.cluster, self.ray, self.gateway = cluster, cluster.ray, gateway
        self.tracker, self.slots = tracker, slots
        self.size = settings.slot_size
        self.nodes: dict[str, NodeMemory] = {}
        self.failed_starts, self.waiting_since = 0, time.monotonic()
        self.said_waiting = self.said_other_source = False

    def loop(self, interrupt: Interrupt) -> None:
        """Runs every job to its end."""
        # Ray prints its messages about actors and nodes on stdout, which is for results.
        with redirect_stdout(sys.stderr):
            while self.tracker.queue.open:
                now = time.monotonic()
                self._start_actors(now)
                self._give_jobs(now)
                self._wait()
                if interrupt.pending:
                    raise KeyboardInterrupt

    def _start_actors(self, now: float) -> None:
        starting = sum(slot.actor is not None and not slot.ready for slot in self.slots)
        for slot in self.slots:
            if self.tracker.queue.ready(now) <= starting:
                break
            if slot.actor is None and slot.start_at <= now:
                actor = self.ray.remote(NodeActor).options(
                    num_cpus=self.size[0], num_gpus=self.size[1], max_restarts=0
                )
                slot.actor = actor.remote(replace(self.start, number=slot.number))
                slot.call = slot.actor.start.remote()
                starting += 1
        if any(slot.node for slot in self.slots) or not starting:
            self.waiting_since = now
        waited = now - self.waiting_since
        if waited > self.settings.start_s:
            raise InputError(f"no Ray actor came up in {waited:.0f} s: {self._resources()}")
        if waited > _NOTICE_S and not self.said_waiting and not self.cluster.capacity(*self.size):
            self.said_waiting = True
            self.tracker.notice(f"waiting for room on the Ray cluster: {self._resources()}")

    def _resources(self) -> str:
        has = self.ray.cluster_resources()
        each = dict(zip(("CPU", "GPU"), self.size, strict=True))
        wants = ", ".join(f"{count:g} {name}" for name, count in each.items() if count)
        found = ", ".join(f"{has.get(name, 0):g} {name}" for name, count in each.items() if count)
        return f"a slot takes {wants}, the cluster has {found} in all"

    def _give_jobs(self, now: float) -> None:
        for slot in self.slots:
            if not slot.ready or slot.call is not None or slot.job is not None:
                continue
            if not self.tracker.queue.ready(now):
                return
            node = self._node(slot)
            if node.guard.has_room(slot.number, slot.device):
                self._give_job(slot, node.guard, now)
                continue
            if node.guard.short:
                self.tracker.short_of_memory(node.guard)
            if len(node.slots()) > node.guard.limits[HOST]:
                slot.kill_actor(self.ray)  # for the memory that it holds
                slot.start_at = float("inf")

    def _give_job(self, slot: RaySlot, guard: MemoryGuard, now: float) -> None:
        job = self.tracker.queue.take(slot.number, now)
        if job is None:
            return
        files = None
        if self.gateway is not None and slot.node is not None and not slot.node.sees_results:
            found = self.gateway.begin(job)
            if found is not None:
                self.tracker.started(job, slot.number)
                self.tracker.ended(job, slot.number, found)
                return
            files = self.gateway.job_files(job)
        slot.job, slot.begun, slot.since = job, False, now
        slot.call = slot.actor.run_job.remote(
            job.payload, not guard.single_slot(slot.device), [job.key, *job.after], files
        )

    def _wait(self) -> None:
        """Until an actor has answered, or it is time."""
        calls = {slot.call: slot for slot in self.slots if slot.call is not None}
        if not calls:
            time.sleep(0.05)
            return
        wanted = self.tracker.queue.next_time()
        wait_s = _POLL_S if wanted is None else min(_POLL_S, max(0.0, wanted - time.monotonic()))
        done, _ = self.ray.wait(list(calls), num_returns=len(calls), timeout=0)
        if not done:
            done, _ = self.ray.wait(list(calls), num_returns=1, timeout=wait_s)
        for call in done:
            self._receive(calls[call])

    def _receive(self, slot: RaySlot) -> None:
        call, slot.call = slot.call, None
        try:
            answer = self.ray.get(call)
        except self.ray.exceptions.RayTaskError as error:
            raise getattr(error, "cause", error) from error  # what our own code on the node raised
        except self.ray.exceptions.RayError as error:
            self._actor_lost(slot, error)
            return
        if isinstance(answer, NodeInfo):
            self._check_node(answer)
            slot.node = answer
        elif isinstance(answer, Report):
            self._apply(slot, answer)
        elif slot.job is not None:
            slot.begun = True
            self.tracker.started(slot.job, slot.number)
        if slot.call is None and (slot.job is not None or not slot.ready):
            slot.call = slot.actor.report.remote()

    def _check_node(self, node: NodeInfo) -> None:
        version, code = prunebench.__version__, source_digest()
        if node.version != version:
            raise InputError(
                f"node {node.host} has prunebench {node.version}, this one {version}",
                where="--executor ray",
                accepted="the same version on every node",
            )
        if node.code != code and not self.said_other_source:
            self.said_other_source = True
            self.tracker.notice(
                f"warning: the source on node {node.host} ({node.code}) differs from this "
                f"one's ({code}); records name theirs"
            )

    def _apply(self, slot: RaySlot, report: Report) -> None:
        node, slot.used = self._node(slot), report.used
        node.reading = report.memory
        node.guard.update({one.number: one.used for one in node.slots()})
        if report.checkpoint and slot.job is not None and self.gateway is not None:
            self.gateway.keep_checkpoint(slot.job.key, report.checkpoint)
        for event in report.events:
            if isinstance(event, Ready):
                slot.ready, self.failed_starts = True, 0
            elif isinstance(event, JobEnded):
                slot.ready = not event.last
                event = self._store(slot, event, report.results)
            elif isinstance(event, WorkerDied):
                slot.ready = False
                self._worker_died(slot, event)
            self.tracker.apply(slot, event, node.guard)

    def _store(self, slot: RaySlot, event: JobEnded, results: NewResults | None) -> SlotEvent:
        """Stores what a job has made; a job whose results cannot be stored fails."""
        if self.gateway is None or slot.job is None:
            return event
        if results is None:
            self.gateway.release(slot.job.key)
            return event
        try:
            found = self.gateway.finish(slot.job, results)
        except (InputError, OSError) as error:
            found = JobResult(OutcomeCode.ESCAPED, "failed", describe(error))
        return event if found is None else replace(event, result=found)

    def _worker_died(self, slot: RaySlot, event: WorkerDied) -> None:
        """Has the actor start another worker."""
        if slot.job is not None and self.gateway is not None:
            self.gateway.release(slot.job.key)
        if not event.was_ready:
            reason = f"workers do not start: {describe_exit(event.exit_code)}"
            self._count_failed_start(slot, reason)
        slot.call = slot.actor.start.remote()

    def _actor_lost(self, slot: RaySlot, error: Exception) -> None:
        """Puts the job of a lost actor back, which may have gone with its node."""
        job, begun, node = slot.job, slot.begun, self._node(slot) if slot.node else None
        slot.kill_actor(self.ray)
        if node is None:
            self._count_failed_start(slot, f"Ray actors do not start: {first_lines(error)}")
        if node is None or job is None:
            return
        if self.gateway is not None:
            self.gateway.release(job.key)
        if not begun:
            self.tracker.queue.put_back(job)
            return
        by_ray = isinstance(error, self.ray.exceptions.OutOfMemoryError)
        oom = "its Ray actor ran out of memory"
        if not (by_ray or node.guard.killed_by_oom(-signal.SIGKILL)):
            oom = ""
        seconds = time.monotonic() - slot.since
        self.tracker.died(job, slot, oom or _LOST, oom, node.guard, seconds)

    def _count_failed_start(self, slot: RaySlot, reason: str) -> None:
        self.failed_starts += 1
        delay = min(_START_DELAY_LIMIT_S, 0.1 * 2**self.failed_starts)
        slot.start_at = time.monotonic() + delay
        if self.failed_starts >= _STARTS and not any(other.job for other in self.slots):
            raise InputError(reason, where=self.settings.run)

    def _node(self, slot: RaySlot) -> NodeMemory:
        name = slot.machine
        if name not in self.nodes:
            self.nodes[name] = NodeMemory(self.settings.options.free_memory, self.slots, name)
        return self.nodes[name]


def end_actors(
    ray: Any, slots: Sequence[RaySlot], gateway: ResultsGateway | None, grace_s: float
) -> None:
    """Has each actor end its worker, stores its last report, and kills it."""
    slots = [slot for slot in slots if slot.actor is not None]
    try:
        calls = {slot.actor.stop.remote(): slot for slot in slots if slot.node is not None}
        calls |= {slot.call: slot for slot in slots if slot.call is not None and slot.begun}
        end, waiting = time.monotonic() + grace_s + 2 * REPORT_S, list(calls)
        while waiting and (left := end - time.monotonic()) > 0:
            done, waiting = ray.wait(waiting, num_returns=1, timeout=left)
            for call in done:
                with suppress(Exception):  # a lost actor has no last report
                    _store_last(ray.get(call), calls[call], gateway)
        one_each = {slot.machine: slot for slot in slots if slot.node is not None}
        with suppress(Exception):
            removals = [slot.actor.remove_folder.remote() for slot in one_each.values()]
            ray.wait(removals, num_returns=len(removals), timeout=5.0)
    finally:
        for slot in slots:
            slot.kill_actor(ray)
        if gateway is not None:
            gateway.close()


def _store_last(answer: Any, slot: RaySlot, gateway: ResultsGateway | None) -> None:
    if gateway is None or slot.job is None or not isinstance(answer, Report):
        return
    if answer.results is not None:
        gateway.finish(slot.job, answer.results)
    elif answer.checkpoint:
        gateway.keep_checkpoint(slot.job.key, answer.checkpoint)
