"""Fewer cells at once where memory runs short, instead of dead ones."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GIB = float(1 << 30)
HOST = "memory"
_MARGIN_SHARE, _MARGIN_LIMIT = 0.05, 1 << 30
_KIB = 1024


@dataclass(frozen=True)
class Reading:
    """Memory of a machine, or of the control group around this process, whichever is tighter.

    Attributes:
        available: Bytes that can be had without swapping; page cache counts as free.
        total: Bytes in all.
        kills: Processes that the kernel has killed for lack of memory since boot.
    """

    available: int
    total: int
    kills: int = 0


def read_memory(
    proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")
) -> Reading | None:
    """Reads /proc/meminfo, /proc/vmstat and the limits of control groups (v1 and v2).

    Returns:
        None where the system does not tell.
    """
    facts = _table(proc / "meminfo")
    if "MemAvailable" not in facts or "MemTotal" not in facts:
        return None
    available, total = facts["MemAvailable"] * _KIB, facts["MemTotal"] * _KIB
    for limit, used in _group_limits(proc, groups):
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    return Reading(available, total, _table(proc / "vmstat").get("oom_kill", 0))


def _table(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    with suppress(OSError, UnicodeDecodeError):
        for line in path.read_text().splitlines():
            name, *values = line.replace(":", " ").split() or [""]
            if values and values[0].isdecimal():
                found[name] = int(values[0])
    return found


def _group_limits(proc: Path, groups: Path) -> list[tuple[int, int]]:
    """(limit, bytes in use without page cache) of every group around this process."""
    found: list[tuple[int, int]] = []
    with suppress(OSError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds == "":
                root, names = groups, ("memory.max", "memory.current")
                caches = ("inactive_file", "active_file")
            elif "memory" in kinds.split(","):
                root = groups / "memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
                caches = ("total_inactive_file", "total_active_file")
            else:
                continue
            place = root / path.strip("/")
            # In a container the path is that of the host; its own group is then the root.
            for folder in (place, *place.parents) if place.is_dir() else (root,):
                with suppress(OSError, ValueError):
                    limit, used = (int((folder / name).read_text()) for name in names)
                    stat = _table(folder / "memory.stat")
                    cache = sum(stat.get(name, 0) for name in caches)
                    found.append((limit, max(0, used - cache)))
                if folder == root:
                    break
    return found


def used_memory(pid: int, proc: Path = Path("/proc")) -> int:
    """Bytes of a process and its children that no other process could drop: mapped files, such
    as packed images, are left out. 0 where the system does not tell."""
    facts = _table(proc / str(pid) / "status")
    used = (facts.get("RssAnon", 0) + facts.get("RssShmem", 0)) * _KIB
    for tasks in (proc / str(pid) / "task").glob("*/children"):
        with suppress(OSError):
            used += sum(used_memory(int(child), proc) for child in tasks.read_text().split())
    return used


class MemoryGuard:
    """Decides whether one more cell may run on a machine.

    A further cell is expected to grow as large as the largest worker of the run has been seen,
    and so are those that run. What is then left must not fall below a floor. One cell may always
    run: without any, no memory would come free.

    Args:
        places: Cells at once by device.
        floor: Bytes to leave free; None means 5 % of the memory, at most 1 GiB; 0 turns the
            waiting off, not what follows a kill.
        read: Tells how much there is.
    """

    def __init__(
        self,
        places: Mapping[str, int],
        floor: int | None = None,
        read: Callable[[], Reading | None] = read_memory,
    ) -> None:
        self.limits = {**places, HOST: sum(places.values())}
        self._floor, self._read = floor, read
        self._reading = first = read()
        self._kills = first.kills if first is not None else 0
        self._used: dict[int, int] = {}
        self._biggest = 0
        self.waiting = False

    def look(self, used: Mapping[int, int]) -> None:
        """Takes in what each slot's worker uses now, in bytes, and reads the machine's memory."""
        self._reading, self._used = self._read(), dict(used)
        self._biggest = max(self._biggest, *used.values(), 0)

    @property
    def floor(self) -> int:
        """Bytes to leave free."""
        if self._floor is not None:
            return self._floor
        total = self._reading.total if self._reading is not None else 0
        return min(_MARGIN_LIMIT, int(_MARGIN_SHARE * total))

    def room(self, slot: int, device: str, busy: Mapping[int, str]) -> bool:
        """Whether a slot may take a cell.

        Args:
            slot: Its number.
            device: Its device.
            busy: Device by slot of the cells that run now; ``slot`` is not among them.
        """
        self.waiting = False
        if not busy:
            return True
        if not self.allowed(device, busy.values()):
            return False
        if self._reading is None or self._floor == 0:
            return True
        growth = sum(max(0, self._biggest - self._used.get(one, 0)) for one in (*busy, slot))
        self.waiting = self._reading.available < self.floor + growth
        return not self.waiting

    def allowed(self, device: str, busy: Collection[str]) -> bool:
        """Whether the limits admit one more cell on a device beside those on ``busy``."""
        here = sum(place == device for place in busy)
        return len(busy) < self.limits[HOST] and here < self.limits.get(device, 1)

    def single_slot(self, device: str) -> bool:
        """Whether a cell on a device has all of its memory to itself."""
        return min(self.limits.get(device, 1), self.limits[HOST]) <= 1

    def lower(self, device: str, busy: Collection[str]) -> str:
        """One cell fewer at once for the rest of the run.

        Args:
            device: Where memory was used up; ``cpu`` or ``memory`` mean the machine's.
            busy: Devices of the cells that ran, the failed one among them.

        Returns:
            The new limit in words; empty where one cell ran alone already.
        """
        place = device if device.startswith("cuda") else HOST
        running = len(busy) if place == HOST else sum(one == place for one in busy)
        old = min(self.limits.get(place, 1), max(1, running))
        if self.limits.get(place, 1) <= 1:
            return ""
        self.limits[place] = max(1, old - 1)
        where = "" if place == HOST else f" on {place}"
        cells = "1 cell" if self.limits[place] == 1 else f"{self.limits[place]} cells"
        return f"at most {cells} at once{where} from now on"

    def killed_by_oom(self, code: int) -> bool:
        """Whether a worker's exit code is the kernel's answer to a lack of memory: SIGKILL while
        memory was short, or while the kernel's count of such kills went up."""
        if code != -signal.SIGKILL:
            return False
        before, self._reading = self._reading, self._read()
        readings = [one for one in (before, self._reading) if one is not None]
        kills = max((one.kills for one in readings), default=0)
        risen, self._kills = kills > self._kills, max(kills, self._kills)
        # Its own memory is free again by now: what was seen before counts.
        return risen or any(one.available < self.floor for one in readings[:1])

    def shortage(self) -> str:
        """Why cells wait, in one line."""
        left = self._reading.available / GIB if self._reading is not None else 0.0
        return (
            f"memory is short ({left:.1f} GiB available, cells take up to "
            f"{self._biggest / GIB:.1f} GiB): fewer cells at once while it is"
        )
