"""Runs fewer cells at once where memory runs short, before the kernel kills some."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GIB = float(1 << 30)
HOST = "memory"
_FLOOR_SHARE, _FLOOR_LIMIT = 0.05, 1 << 30
_KIB = 1024


@dataclass(frozen=True)
class Reading:
    """Memory of a machine, or of the control group around this process, whichever is tighter.

    Attributes:
        available: Bytes that can be used without swapping; page cache counts as free.
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
        None where the system does not provide them.
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
    as packed images, are left out. 0 where the system does not provide it."""
    facts = _table(proc / str(pid) / "status")
    used = (facts.get("RssAnon", 0) + facts.get("RssShmem", 0)) * _KIB
    for tasks in (proc / str(pid) / "task").glob("*/children"):
        with suppress(OSError):
            used += sum(used_memory(int(child), proc) for child in tasks.read_text().split())
    return used


class MemoryGuard:
    """Decides whether one more job may run on a machine.

    The largest worker of the run so far is the estimate for what a new job will use, and for what
    each running job may still grow to. The memory that is left then must not be less than a
    floor. One job may always run: otherwise no memory would ever become free.

    Args:
        slots: Jobs at once by device.
        busy: Gives the device of every slot that runs a job or starts a worker.
        floor: Bytes to leave free; None means 5 % of the memory, at most 1 GiB; 0 turns the
            waiting off, but a worker that is killed for lack of memory still lowers the limit.
        read: Reads the memory of the machine.

    Attributes:
        limits: Jobs at once by device, and by ``HOST`` for the whole machine.
        short: Whether the last job was refused because memory is short.
    """

    def __init__(
        self,
        slots: Mapping[str, int],
        busy: Callable[[], Mapping[int, str]],
        floor: int | None = None,
        read: Callable[[], Reading | None] = read_memory,
    ) -> None:
        self.limits = {**slots, HOST: sum(slots.values())}
        self._busy, self._floor, self._read = busy, floor, read
        self._reading = first = read()
        self._kills = first.kills if first is not None else 0
        self._used: dict[int, int] = {}
        self._largest = 0
        self.short = False

    def update(self, used: Mapping[int, int]) -> None:
        """Reads the machine's memory.

        Args:
            used: Bytes that each slot's worker uses now.
        """
        self._reading, self._used = self._read(), dict(used)
        self._largest = max(self._largest, *used.values(), 0)

    @property
    def floor(self) -> int:
        """Bytes to leave free."""
        if self._floor is not None:
            return self._floor
        total = self._reading.total if self._reading is not None else 0
        return min(_FLOOR_LIMIT, int(_FLOOR_SHARE * total))

    def has_room(self, slot: int, device: str) -> bool:
        """Whether a slot may start a job beside those that run."""
        self.short = False
        others = self._others(slot)
        if not others:
            return True
        here = sum(one == device for one in others.values())
        if len(others) >= self.limits[HOST] or here >= self.limits.get(device, 1):
            return False
        if self._reading is None or self._floor == 0:
            return True
        growth = sum(max(0, self._largest - self._used.get(one, 0)) for one in (*others, slot))
        self.short = self._reading.available < self.floor + growth
        return not self.short

    def single_slot(self, device: str) -> bool:
        """Whether a job on a device has all of its memory to itself."""
        return min(self.limits.get(device, 1), self.limits[HOST]) <= 1

    def lower_limit(self, slot: int, place: str) -> str:
        """Allows one job fewer at once for the rest of the run.

        Args:
            slot: Whose job ran out of memory.
            place: The device whose memory was used up; ``cpu`` or ``HOST`` for the machine's.

        Returns:
            The new limit in words; empty where only one job was allowed already.
        """
        place = place if place.partition(":")[0] == "cuda" else HOST
        if self.limits.get(place, 1) <= 1:
            return ""
        others = self._others(slot).values()
        running = 1 + sum(place in (HOST, one) for one in others)
        self.limits[place] = limit = max(1, min(self.limits[place], running) - 1)
        where = "" if place == HOST else f" on {place}"
        return f"at most {limit} cell{'' if limit == 1 else 's'} at once{where} from now on"

    def killed_by_oom(self, code: int) -> bool:
        """Whether the kernel killed a worker for lack of memory: its exit code is SIGKILL, and
        memory was short or the kernel's count of such kills has gone up."""
        if code != -signal.SIGKILL:
            return False
        before, self._reading = self._reading, self._read()
        kills = max((one.kills for one in (before, self._reading) if one is not None), default=0)
        risen, self._kills = kills > self._kills, max(kills, self._kills)
        # Its memory is free again by now, so the reading from before decides.
        known = before or self._reading
        return risen or (known is not None and known.available < self.floor)

    def shortage(self) -> str:
        """Why jobs wait, in one line."""
        left = self._reading.available / GIB if self._reading is not None else 0.0
        return (
            f"memory is short ({left:.1f} GiB available, cells take up to "
            f"{self._largest / GIB:.1f} GiB): fewer cells at once while it is"
        )

    def _others(self, slot: int) -> dict[int, str]:
        return {number: device for number, device in self._busy().items() if number != slot}
