"""Slots that share one worker process: each is a lane of it, and looks like a worker of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, cast

from prunebench.bench.executors.local.process import Launch, WorkerProcess
from prunebench.bench.executors.local.slot import Slot

#: Of a lane that was broken off, as if a signal had ended it.
_DROPPED = -15

Opening = Callable[[int, str, Launch], WorkerProcess]


class Host:
    """A worker process and the lanes that are open in it.

    The lowest open lane listens for all: it reads the exit code, then what was said before, so
    that no lane takes the process for dead with a message of its own unread.
    """

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process
        self.lanes: dict[int, LaneWorker] = {}
        self.code: int | None = None
        self.ready = self.draining = self.ending = False

    @property
    def lead(self) -> LaneWorker:
        """Who listens."""
        return self.lanes[min(self.lanes)]

    def listen(self) -> None:
        """Hands every message to its lane."""
        for message in self.process.messages():
            if message["kind"] in ("ready", "broken"):
                self.ready = self.ready or message["kind"] == "ready"
                for lane in self.lanes.values():
                    lane.inbox.append(message)
                continue
            self.draining = self.draining or bool(message.get("recycle"))
            lane_of = self.lanes.get(message["lane"])
            if lane_of is not None:
                lane_of.hear(message)


class LaneWorker:
    """One lane of a worker process, with the methods of ``WorkerProcess``.

    Args:
        host: The process.
        number: Of the lane.
    """

    def __init__(self, host: Host, number: int) -> None:
        self.host, self.number, self.pid = host, number, host.process.pid
        self.inbox: deque[dict[str, Any]] = deque()
        self.busy = self.hung = self.dropped = False
        host.lanes[number] = self
        if host.ready:
            self.inbox.append({"kind": "ready"})

    def hear(self, message: dict[str, Any]) -> None:
        """Takes in what concerns this lane."""
        if message["kind"] == "dropped":
            self.dropped, self.busy = True, False
            return
        if message["kind"] == "result":
            self.busy = False
            message = {**message, "recycle": self.host.draining}
        self.inbox.append(message)

    def tell(self, **message: Any) -> None:
        """Sends a cell to this lane."""
        self.busy = True
        self.host.process.tell(**message, lane=self.number)

    def messages(self) -> list[dict[str, Any]]:
        """Every message for this lane that has arrived."""
        if self.host.lead is self:
            self.host.listen()
        found = list(self.inbox)
        self.inbox.clear()
        return found

    def waitables(self) -> list[Any]:
        """Those of the process, for the lane that listens."""
        return self.host.process.waitables() if self.host.lead is self else []

    @property
    def connected(self) -> bool:
        """Whether the process has not hung up."""
        return self.host.process.connected

    @property
    def watched(self) -> bool:
        """Whether the death of the process wakes the driver."""
        return self.host.process.watched

    def exit_code(self) -> int | None:
        """Of the process; an idle lane of one that takes no further cells has ended with 0."""
        if self.host.lead is self and self.host.code is None:
            self.host.code = self.host.process.exit_code()
        if self.dropped:
            return _DROPPED
        if not self.busy and not self.inbox and (self.hung or self.host.draining):
            return self.host.code or 0
        return self.host.code

    def hang_up(self) -> None:
        """Takes no further cells; the last lane closes the line."""
        self.hung = True
        if all(lane.hung for lane in self.host.lanes.values()):
            self.host.process.hang_up()
            if self.host.ending:
                self.host.process.terminate()

    def terminate(self) -> None:
        """Breaks this lane's cell off; after all lanes have hung up, asks the process to end, which
        saves the runs under way."""
        if not self.hung:
            self.host.process.tell(kind="drop", lane=self.number)
        elif all(lane.hung for lane in self.host.lanes.values()):
            self.host.process.terminate()
        else:
            self.host.ending = True

    def kill(self) -> None:
        """Ends the process, with all lanes."""
        self.host.process.kill()

    def close(self, wait_s: float = 0.0) -> int:
        """Leaves the process; the last lane closes it."""
        code = self.exit_code()
        self.host.lanes.pop(self.number, None)
        if not self.host.lanes:
            ended = self.host.process.close(wait_s)
            return ended if code is None else code
        return 0 if code is None else code


class LaneSlot(Slot):
    """A slot whose worker is a lane of a process that it shares with others.

    Args:
        shared: The hosts by device; one for all slots of an executor.
        settings: As for ``Slot``.
        opening: Starts a process.
    """

    def __init__(
        self, *settings: Any, shared: dict[str, Host], opening: Opening = WorkerProcess
    ) -> None:
        super().__init__(*settings)
        self.shared, self.opening = shared, opening

    def start(self) -> None:
        """Opens a lane in the device's process, or in a new one where there is none."""
        host = self.shared.get(self.device)
        if host is None or not host.lanes or host.draining or host.code is not None:
            host = Host(self.opening(self.number, self.device, self.launch))
            self.shared[self.device] = host
        self.worker = cast(WorkerProcess, LaneWorker(host, self.number))
        self.ready = self.busy = self.greeted = False
