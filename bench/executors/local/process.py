"""A worker process, from the side of its driver."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from prunebench.bench.executors.messages import (
    DriverMessage,
    Socket,
    Start,
    WorkerMessage,
    receive,
    send,
)
from prunebench.errors import InputError
from prunebench.files import OwnFolder

_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Launch:
    """What every worker of a run starts with; see ``LocalExecutor`` for the fields."""

    run: str
    threads: int = 1
    plugins: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    log_dir: Path | None = None


def environment(
    device: str, threads: int, base: Mapping[str, str] = os.environ
) -> tuple[dict[str, str], str]:
    """The environment of a slot, and the device's name inside it.

    A worker on ``cuda:1`` sees that card only and calls it ``cuda``: nothing it imports can open
    a context on another one.

    Raises:
        InputError: CUDA_VISIBLE_DEVICES is set and has no such entry.
    """
    env = {**base, **dict.fromkeys(_THREADS, str(threads))}
    env["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    match = re.fullmatch(r"cuda:(\d+)", device)
    if not match:
        return env, device
    index, visible = int(match[1]), base.get("CUDA_VISIBLE_DEVICES")
    cards = None if visible is None else [card.strip() for card in visible.split(",")]
    if cards is not None and index >= len(cards):
        raise InputError(
            f"no device {device}", where=f"CUDA_VISIBLE_DEVICES={visible}", accepted="fewer devices"
        )
    env["CUDA_VISIBLE_DEVICES"] = str(index) if cards is None else cards[index]
    return env, "cuda"


class WorkerProcess:
    """One worker: a process in a group of its own, and a socket to it.

    The kernel ends it with the thread that made it (PR_SET_PDEATHSIG), which must stay alive.

    Args:
        slot: Number of the slot, for the log's name.
        device: Device of the slot.
        launch: What it starts with.
        slots: Jobs at once.
        grace_s: Seconds that it has after it was asked to end.
    """

    def __init__(
        self, slot: int, device: str, launch: Launch, slots: int = 1, grace_s: float = 3.0
    ) -> None:
        env, inside = environment(device, launch.threads)
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as stack:
            out: Any = sys.__stderr__.fileno() if sys.__stderr__ is not None else subprocess.DEVNULL
            if launch.log_dir is not None:
                log = launch.log_dir / f"slot-{slot}.log"
                how = os.O_WRONLY | os.O_APPEND | os.O_CREAT
                out = OwnFolder(launch.log_dir.parent).open(log, how)
                stack.callback(os.close, out)
            module = "prunebench.bench.executors.local.worker"
            handle = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(handle), str(os.getpid())],
                pass_fds=[handle],
                process_group=0,  # Ctrl-C goes to the driver alone
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
            )
        self.pid = self._process.pid
        self._connection: Socket | None = Connection(ours.detach())
        self._pidfd = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else -1
        self.send(Start(launch.run, list(launch.plugins), launch.settings, inside, slots, grace_s))

    def send(self, message: DriverMessage) -> None:
        """Sends a message; nothing happens if the worker is dead."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                send(self._connection, message)

    def waitables(self) -> list[Any]:
        """Handles that become readable when a message arrives or the worker dies."""
        handles: list[Any] = [] if self._connection is None else [self._connection]
        return [*handles, self._pidfd] if self._pidfd >= 0 else handles

    def messages(self) -> list[WorkerMessage]:
        """Every message that has arrived."""
        found: list[WorkerMessage] = []
        try:
            while self._connection is not None and self._connection.poll():
                found.append(receive(self._connection))
        except (EOFError, OSError):
            self.hang_up()
        return found

    @property
    def connected(self) -> bool:
        """Whether both ends of the socket are open."""
        return self._connection is not None

    @property
    def death_wakes(self) -> bool:
        """Whether its death makes one of the ``waitables`` readable."""
        return self._pidfd >= 0

    def exit_code(self) -> int | None:
        """Its exit code once it is dead."""
        return self._process.poll()

    def hang_up(self) -> None:
        """Closes the socket; an idle worker then ends by itself."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def terminate(self) -> None:
        """Sends SIGTERM: the worker saves its run and ends; ``finally`` blocks run."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends the worker and every process that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> int:
        """Kills what is left of its process group, frees the handles and returns the exit code."""
        self.hang_up()
        self.kill()
        code = self._process.wait()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        return code
