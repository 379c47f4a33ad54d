"""Which job runs next: one that others wait for, then one whose data a worker has loaded."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from prunebench.bench.executors.base import Job
from prunebench.errors import InputError


class JobQueue:
    """Jobs that have not ended, in the order in which slots should take them.

    Args:
        jobs: Distinct keys; ``after`` keys that are no jobs count as ended.

    Raises:
        InputError: A key occurs twice, or jobs wait for one another in a cycle.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = list(jobs)
        self._order = {job.key: number for number, job in enumerate(self._jobs)}
        if len(self._order) < len(self._jobs):
            counts = Counter(job.key for job in self._jobs)
            twice = next(key for key, count in counts.items() if count > 1)
            raise InputError(f"job {twice} occurs twice")
        after = {job.key: {key for key in job.after if key in self._order} for job in self._jobs}
        self._needed = frozenset().union(*after.values())
        self._sorter = TopologicalSorter(after)
        try:
            self._sorter.prepare()
        except CycleError as error:
            raise InputError(
                f"jobs wait for one another in a cycle: {', '.join(sorted({*error.args[1]}))}"
            ) from None
        self._open = set(self._order)
        self._ready: set[int] = set()
        # Heaps of job numbers by rank (0 = others wait for it) and by (rank, group); an entry
        # whose number is no longer ready is dropped when it comes first.
        self._heaps: dict[tuple[int, str | None], list[int]] = defaultdict(list)
        self._groups: dict[int, str] = {}
        self._delayed: list[tuple[float, int]] = []
        self._push_freed()

    @property
    def open(self) -> int:
        """Number of jobs that have not ended, running ones included."""
        return len(self._open)

    def ready(self, now: float) -> int:
        """Number of jobs that may be taken now."""
        while self._delayed and self._delayed[0][0] <= now:
            self._push(heapq.heappop(self._delayed)[1])
        return len(self._ready)

    def take(self, slot: int, now: float) -> Job | None:
        """The next job for a slot, or None when none is ready."""
        if not self.ready(now):
            return None
        loaded = self._groups.get(slot)
        for rank in (0, 1):
            for group in (loaded, None) if loaded else (None,):
                number = self._pop(rank, group)
                if number is not None:
                    job = self._jobs[number]
                    self._groups[slot] = job.group
                    return job
        return None

    def put_back(self, job: Job, until: float = 0.0) -> None:
        """Returns a taken job, not to be taken again before a time."""
        if until:
            heapq.heappush(self._delayed, (until, self._order[job.key]))
        else:
            self._push(self._order[job.key])

    def finish(self, key: str) -> None:
        """Marks a job as ended and frees those that waited for it."""
        self._open.discard(key)
        self._sorter.done(key)
        self._push_freed()

    def next_time(self) -> float | None:
        """When the earliest put-back job may be taken; None without one."""
        return self._delayed[0][0] if self._delayed else None

    def _push_freed(self) -> None:
        for key in self._sorter.get_ready():
            self._push(self._order[key])

    def _push(self, number: int) -> None:
        job = self._jobs[number]
        rank = 0 if job.key in self._needed else 1
        self._ready.add(number)
        heapq.heappush(self._heaps[rank, None], number)
        heapq.heappush(self._heaps[rank, job.group], number)

    def _pop(self, rank: int, group: str | None) -> int | None:
        heap = self._heaps[rank, group]
        while heap:
            number = heapq.heappop(heap)
            if number in self._ready:
                self._ready.discard(number)
                return number
        return None
