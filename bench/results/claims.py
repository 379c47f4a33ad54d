"""Claims: which process works on which cell. A claim ends with the process that holds it.

A claim is a file made exclusively and touched by a heartbeat. On one machine a dead holder is
recognised at once; elsewhere by a heartbeat that stopped, measured on the file system's own clock.
A heartbeat from the future is read again later, by this process's clock: it must have changed.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from prunebench.bench.results.atomic import lock_file
from prunebench.bench.results.names import check_key, is_key
from prunebench.bench.results.process import Process, this_process
from prunebench.errors import InputError
from prunebench.files import OwnFolder

_LOCK_TIMEOUT_S = 30.0


class Busy(Exception):
    """Another process holds the claim; try again later."""


@dataclass(frozen=True)
class Holder:
    """Who holds a claim, for status displays.

    Attributes:
        process: The holder; None where its file is torn.
        token: Random text that differs for every claim.
        age_s: Seconds since the last heartbeat.
        live: Whether the claim still counts.
    """

    process: Process | None
    token: str
    age_s: float
    live: bool


class Claim:
    """A held claim; a context manager that releases it.

    Attributes:
        key: The cell.
        token: As in its file.
    """

    def __init__(self, claims: Claims, key: str, token: str, handle: int) -> None:
        self.key, self.token = key, token
        self._claims, self._handle, self._pid = claims, handle, os.getpid()
        self._lock = threading.Lock()

    def valid(self) -> bool:
        """Whether it is still ours: neither released nor taken over after a stopped heartbeat."""
        with self._lock:
            if self._handle < 0 or self._pid != os.getpid():
                return False
            try:
                mine = os.fstat(self._handle)
                found = os.stat(self._claims.path(self.key))
            except OSError:
                return False
            return (mine.st_dev, mine.st_ino) == (found.st_dev, found.st_ino)

    def touch(self) -> None:
        """One heartbeat. It changes our own file only, never that of a successor."""
        with self._lock:
            if self._handle >= 0 and self._pid == os.getpid():
                with suppress(OSError):
                    os.utime(self._handle)

    def release(self) -> None:
        """Ends the claim; a second call does nothing."""
        if self._pid != os.getpid():
            return
        _HEARTBEATS.remove(self)
        with suppress(Timeout, OSError, InputError), self._claims.lock():
            if self.valid():
                self._claims.own.remove(self._claims.path(self.key))
        with self._lock:
            if self._handle >= 0:
                os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Claims:
    """The claims of a results folder.

    Args:
        folder: ``Store.claims``.
        heartbeat_s: Seconds between two heartbeats.
        expire_s: Silence after which a claim is stale. A process that was stopped for longer
            loses its claim, and sees so by ``Claim.valid``.
    """

    def __init__(self, folder: Path, *, heartbeat_s: float = 5.0, expire_s: float = 60.0) -> None:
        self.folder, self.heartbeat_s, self.expire_s = Path(folder), heartbeat_s, expire_s
        self.own = OwnFolder(self.folder.parent)

    def acquire(self, key: str) -> Claim | None:
        """Claims a cell, or returns None when a live holder exists.

        Raises:
            InputError: The key is malformed.
        """
        path = self.path(key)
        self.own.make(self.folder)
        try:
            with self.lock():
                holder = self.holder(key)
                if holder is not None and holder.live:
                    return None
                self.own.remove(path)
                claim = self._create(key)
        except (Timeout, FileExistsError):
            # The exclusive creation refuses a second holder where a file system ignores locks.
            return None
        _HEARTBEATS.add(claim, self.heartbeat_s)
        return claim

    def holder(self, key: str) -> Holder | None:
        """The holder of a cell's claim, live or stale; None where nobody claims it.

        Raises:
            InputError: The claim is no file, or cannot be read.
        """
        self.own.check(self.path(key))
        try:
            # Opened, not only looked at: NFS shows a fresh time of change after an open.
            with os.fdopen(self.own.open(self.path(key), os.O_RDONLY), "rb") as file:
                data, beat = file.read(4096), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            why = f"cannot be read ({error.strerror})"
            raise InputError(why, where=str(self.path(key)), accepted="a claim") from None
        age = self._clock() - beat
        if age < -self.expire_s:
            age = _unchanged_for(self.path(key), beat)
        process, token = _parse(data)
        dead = process.dead() if process is not None else None
        return Holder(process, token, age, not dead and age <= self.expire_s)

    def remove_stale(self) -> dict[str, Holder]:
        """Removes stale claims and returns the live ones by key.

        A process killed between its record and the release leaves a claim that nobody takes over.
        """
        live: dict[str, Holder] = {}
        self.own.make(self.folder)
        for key in self.claimed():
            holder = self.holder(key)
            if holder is not None and holder.live:
                live[key] = holder
                continue
            with suppress(Timeout), self.lock():
                holder = self.holder(key)
                if holder is not None and not holder.live:
                    self.own.remove(self.path(key))
        return live

    def claimed(self) -> list[str]:
        """Keys that have a claim file, in order."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return sorted(name[:-5] for name in names if name.endswith(".json") and is_key(name[:-5]))

    def path(self, key: str) -> Path:
        """The claim file of a key."""
        return self.folder / f"{check_key(key)}.json"

    def lock(self) -> FileLock:
        """The lock under which claims are made, taken over and released."""
        return lock_file(self.own, self.folder / ".lock", _LOCK_TIMEOUT_S)

    def _create(self, key: str) -> Claim:
        token = secrets.token_hex(8)
        handle = self.own.open(self.path(key), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        text = json.dumps({**asdict(this_process()), "token": token}).encode()
        try:
            if os.write(handle, text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.close(handle)
            self.own.remove(self.path(key))
            raise
        return Claim(self, key, token, handle)

    def _clock(self) -> float:
        try:
            handle = self.own.open(self.folder / ".clock", os.O_CREAT | os.O_WRONLY)
        except OSError:  # a reader without permission to write
            return time.time()
        try:
            os.utime(handle)
            return os.fstat(handle).st_mtime
        finally:
            os.close(handle)


#: Heartbeats from the future by file: (heartbeat, when it was first seen here).
_FUTURE_HEARTBEATS: dict[Path, tuple[float, float]] = {}


def _unchanged_for(path: Path, beat: float) -> float:
    """Seconds since this process first saw a heartbeat from the future, 0 once it changes."""
    now = time.monotonic()
    known, since = _FUTURE_HEARTBEATS.get(path, (beat, now))
    _FUTURE_HEARTBEATS[path] = (beat, since if known == beat else now)
    return now - _FUTURE_HEARTBEATS[path][1]


def _parse(data: bytes) -> tuple[Process | None, str]:
    try:
        body: Any = json.loads(data)
        process = Process(
            str(body["host"]), str(body["machine"]), int(body["pid"]), str(body["start"])
        )
        return process, str(body["token"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None, ""


class _HeartbeatThread:
    """The one thread of this process that touches every claim it holds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._held: set[Claim] = set()
        self._changed = threading.Condition()
        self._interval = 5.0
        self._thread: threading.Thread | None = None

    def add(self, claim: Claim, interval: float) -> None:
        with self._changed:
            self._interval = min(self._interval, interval) if self._held else interval
            self._held.add(claim)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="claims", daemon=True)
                self._thread.start()
            self._changed.notify()

    def remove(self, claim: Claim) -> None:
        with self._changed:
            self._held.discard(claim)
            self._changed.notify()

    def _beat(self) -> None:
        while True:
            with self._changed:
                if not self._held:
                    self._thread = None
                    return
                held = list(self._held)
            for claim in held:
                claim.touch()
            with self._changed:
                self._changed.wait(self._interval)


_HEARTBEATS = _HeartbeatThread()
os.register_at_fork(after_in_child=_HEARTBEATS.reset)
