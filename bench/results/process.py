"""Which process this is, and whether another one still runs.

A host name is no identity: containers share names, and process ids start anew at every boot. A
machine is therefore its boot and its process namespace; a process is its id and its start time.
"""

from __future__ import annotations

import hashlib
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process as others can recognise it.

    Attributes:
        host: Host name, for people.
        machine: Digest of host, boot and process namespace; within it a ``pid`` means something.
        pid: Process id.
        start: Start time in clock ticks since boot; empty where the system does not say.
    """

    host: str
    machine: str
    pid: int
    start: str

    def dead(self) -> bool | None:
        """Whether it has ended; None where that cannot be known from here."""
        return None if self.machine != this_process().machine else not alive(self.pid, self.start)


def this_process() -> Process:
    """The calling process."""
    return _process(os.getpid())


@lru_cache(maxsize=4)
def _process(pid: int) -> Process:
    host, boot, namespace = socket.gethostname(), "", ""
    with suppress(OSError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        namespace = os.readlink(_PROC / "self/ns/pid")
    parts = (host, boot, namespace)
    machine = hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]
    return Process(host, machine, pid, start_time(pid))


def _stat(pid: int) -> list[str] | None:
    # The command in field 2 may hold spaces and brackets; the fixed fields follow the last ")".
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def start_time(pid: int) -> str:
    """Start of a process in clock ticks since boot (/proc/<pid>/stat field 22), or ""."""
    fields = _stat(pid)
    return fields[19] if fields and len(fields) > 19 else ""


def alive(pid: int, start: str = "") -> bool:
    """Whether a process of this machine runs and, with ``start``, is still the same one."""
    fields = _stat(pid)
    if fields is not None and len(fields) > 19:
        return fields[0] not in ("Z", "X") and start in ("", fields[19])
    if (_PROC / "self/stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
