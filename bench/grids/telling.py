"""As many cells of a grid as fit into a time, the most telling first, paired over seeds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from prunebench.bench.grids.driver import Report, make_executor, run_cells
from prunebench.bench.results.names import STATE
from prunebench.bench.results.store import Store, final_record
from prunebench.bench.runs.cell import Cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.record import Record

#: Methods that say most of a card and of AlignPrune, in this order, at this ratio.
METHODS, RATIO = ("full", "random-dynamic", "infobatch", "infobatch+align"), 0.5
#: What runs that compare share, seed and ratio aside.
_SETTING = ("dataset", "noise", "imbalance", "corrupt", "recipe", "criterion")


def by_telling(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells in groups that compare with one another: one setting and one seed each.

    The methods above at the ratio next to theirs come first, seed by seed, so that what there is
    of a grid at any time is paired; everything else follows in the same order.
    """
    ratios = {cell.spec.ratio for cell in cells if cell.spec.ratio > 0}
    nearest = min(ratios, key=lambda ratio: abs(ratio - RATIO), default=RATIO)
    settings: dict[str, int] = {}
    groups: dict[tuple[bool, int, int], list[Cell]] = {}
    for cell in cells:
        spec = cell.spec
        setting = str([spec.content.get(name) for name in _SETTING])
        place = settings.setdefault(setting, len(settings))
        tells = spec.method.name in METHODS and spec.ratio in (0.0, nearest)
        groups.setdefault((not tells, spec.seed, place), []).append(cell)
    return [sorted(groups[slot], key=_rank) for slot in sorted(groups)]


def _rank(cell: Cell) -> tuple[int, float]:
    name, ratio = cell.spec.method.name, cell.spec.ratio
    return METHODS.index(name) if name in METHODS else len(METHODS), abs(ratio - RATIO)


@dataclass(frozen=True)
class Begun:
    """A cell that is about to be run, or one that was.

    Attributes:
        cell: The cell.
        expected_s: Seconds that it is expected to take; None where nothing is known.
        left_s: Seconds that are left for it.
        record: What became of it; None before, and where the time was over.
        report: Of the call; likewise.
    """

    cell: Cell
    expected_s: float | None
    left_s: float
    record: Record | None = None
    report: Report | None = None

    @property
    def fits(self) -> bool:
        """Whether it is expected to end in time."""
        return self.expected_s is None or self.expected_s <= self.left_s


def run_while(
    groups: Sequence[Sequence[Cell]],
    store: Store,
    options: ExecutionOptions,
    seconds: float,
    expected: Callable[[Cell], float | None],
    told: Callable[[Begun], None],
    grid: str = "",
    least_s: float = 20.0,
) -> None:
    """Runs cells until the time is over, group by group.

    Of a group, one that has a checkpoint comes first, then the first that is expected to fit. Where
    none fits the first is begun all the same: at the end of the time it saves itself, and a later
    call goes on with it.

    Args:
        groups: As ``by_telling`` gives them.
        store: The results folder.
        options: How to run; several lanes take as many cells of a group at once.
        seconds: The time.
        expected: Seconds that a cell takes alone; None where nothing is known.
        told: Called before and after each cell.
        grid: Name of the grid.
        least_s: With less time left nothing is begun.

    Raises:
        InputError, FolderError: As ``run_cells``.
        KeyboardInterrupt: Stopped by the user; cells under way are saved.
    """
    end = time.monotonic() + seconds
    executor = make_executor(store, options, keep=True)
    try:
        with _stopped_at(end):
            for group in groups:
                waiting = [c for c in group if final_record(store, c.spec.key) is None]
                while waiting and end - time.monotonic() > least_s:
                    left = end - time.monotonic()
                    times = {cell.spec.key: expected(cell) for cell in waiting}
                    waiting.sort(key=lambda c: _order(c, store, times[c.spec.key], left))
                    batch, waiting = waiting[: options.lanes], waiting[options.lanes :]
                    begun = [Begun(cell, times[cell.spec.key], left) for cell in batch]
                    for one in begun:
                        told(one)
                    report = run_cells(batch, store, options, executor, grid)
                    for one in begun:
                        record = final_record(store, one.cell.spec.key)
                        told(Begun(one.cell, one.expected_s, one.left_s, record, report))
    except KeyboardInterrupt:
        if time.monotonic() < end:
            raise
    finally:
        executor.close()


def _order(cell: Cell, store: Store, seconds: float | None, left: float) -> int:
    """Those that are begun, those that fit, the others; a stable sort keeps the rest."""
    if (store.checkpoint_path(cell.spec.key) / STATE).exists():
        return 0
    return 1 if seconds is None or seconds <= left else 2


@contextmanager
def _stopped_at(end: float) -> Iterator[None]:
    """Asks this process to stop, as a user would, when the time is over.

    The executor then lets the cells under way save themselves.

    Raises:
        KeyboardInterrupt: It was asked, by whomever.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def ring(number: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # the executor's handler, where it is at work

    handlers: dict[int, Any] = {signal.SIGTERM: stop, signal.SIGALRM: ring}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    signal.setitimer(signal.ITIMER_REAL, max(0.001, end - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
