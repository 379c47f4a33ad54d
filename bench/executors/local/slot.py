"""One slot: its worker process, the cell it is on, and when patience with it ends."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from prunebench.bench.executors.local.process import Launch, WorkerProcess
from prunebench.bench.executors.memory import used_memory


class Slot:
    """A place for one cell at a time. Its worker may die and be replaced.

    Args:
        number: Which slot, for the log's name.
        device: Where its cells run.
        launch: What its workers start with.
        time_limit_s: Wall time after which a cell is ended.
        grace_s: Seconds between asking a worker to end and killing it.
    """

    def __init__(
        self,
        number: int,
        device: str,
        launch: Launch,
        time_limit_s: float | None = None,
        grace_s: float = 3.0,
    ) -> None:
        self.number, self.device, self.launch = number, device, launch
        self.time_limit_s, self.grace_s = time_limit_s, grace_s
        self.worker: WorkerProcess | None = None
        self.ready = self.busy = self.greeted = self.timed_out = False
        self.begin, self.deadline, self.kill_at = 0.0, math.inf, math.inf

    @property
    def idle(self) -> bool:
        """Whether it waits for a cell."""
        return self.worker is not None and self.ready and not self.busy

    def start(self) -> None:
        """Starts a worker; ``ready`` follows."""
        self.worker = WorkerProcess(self.number, self.device, self.launch)
        self.ready = self.busy = self.greeted = False

    def give(self, payload: dict[str, Any], retry_on_oom: bool) -> None:
        """Hands its idle worker a cell; see ``WorkerContext.retry_on_oom``."""
        assert self.worker is not None
        self.begin, self.busy, self.timed_out = time.monotonic(), True, False
        self.deadline = self.begin + (self.time_limit_s or math.inf)
        self.worker.tell(payload=payload, retry_on_oom=retry_on_oom)

    def retire(self) -> None:
        """Lets an idle worker end, and with it what it holds."""
        if self.worker is not None:
            self.worker.hang_up()
        self.ready = False

    def used(self) -> int:
        """Bytes its worker holds; 0 without one."""
        return 0 if self.worker is None else used_memory(self.worker.pid)

    def until(self) -> float:
        """When it must be looked after, news or not."""
        return min(self.deadline, self.kill_at)

    def news(self) -> list[dict[str, Any]]:
        """What its worker has said and, last, whether it is dead.

        Returns:
            ``ready``, ``broken``, ``progress`` and ``result`` as the worker sends them, a result
            with its ``seconds``; ``died`` with ``code``, ``greeted`` (whether it was ever ready),
            ``timed_out`` and ``seconds``.
        """
        worker, now = self.worker, time.monotonic()
        if worker is None:
            return []
        # The exit code is read before the messages: what a dead worker said last still counts.
        code = worker.exit_code()
        told = [self._hear(message, now) for message in worker.messages()]
        if code is not None:
            told.append(self._bury(worker.close(), now))
        elif now >= self.kill_at:
            worker.kill()
            self.kill_at = math.inf
        elif now >= self.deadline:
            self.timed_out, self.deadline = True, math.inf
            self.kill_at = now + self.grace_s
            worker.terminate()
        elif not worker.connected and self.kill_at == math.inf:
            self.kill_at = now + self.grace_s
        return told

    def _hear(self, message: dict[str, Any], now: float) -> dict[str, Any]:
        if message["kind"] == "ready":
            self.ready = self.greeted = True
        elif message["kind"] == "result":
            self.busy, self.deadline = False, math.inf
            self.ready = not message["recycle"] and not self.timed_out
            return {**message, "seconds": now - self.begin}
        return message

    def _bury(self, code: int, now: float) -> dict[str, Any]:
        seconds = now - self.begin if self.busy else 0.0
        died = {"kind": "died", "code": code, "greeted": self.greeted, "seconds": seconds}
        died["timed_out"] = self.timed_out
        self.worker, self.ready, self.busy = None, False, False
        self.deadline = self.kill_at = math.inf
        return died


def stop(slots: Sequence[Slot], grace_s: float) -> None:
    """Ends the workers of slots: asks first, then kills."""
    workers = [slot.worker for slot in slots if slot.worker is not None]
    try:
        for slot in slots:
            if slot.worker is not None:
                slot.worker.hang_up()
                if slot.busy:
                    slot.worker.terminate()
        end = time.monotonic() + grace_s
        while any(w.exit_code() is None for w in workers) and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        for worker in workers:
            worker.close()
