"""What a user sees while a grid runs: a live line (terminal, notebook), or plain lines."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TextIO

from prunebench.bench.executors.base import Event, Job
from prunebench.bench.grids.notebook_line import NotebookLine, in_notebook
from prunebench.errors import spelled
from prunebench.terminal import terminal

if TYPE_CHECKING:
    from rich.live import Live

Mode = Literal["auto", "live", "notebook", "plain", "quiet"]
_PLAIN_EVERY_S = 5.0
#: Columns that the name of a cell has in the narrowest terminal.
_LEAST = 20


class Tally:
    """Counts and the time left, from events alone.

    Args:
        jobs: All jobs of the run.
        slots: Workers in use.
        clock: Monotonic seconds.
        recorded: Keys of scoring runs that are recorded, and are jobs in case their evidence is
            gone; they are not counted.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        slots: int,
        clock: Callable[[], float] = time.monotonic,
        recorded: Collection[str] = (),
    ) -> None:
        self._jobs = {job.key: job for job in jobs}
        self._slots, self._clock, self._recorded = max(1, slots), clock, frozenset(recorded)
        self.total = sum(job.key not in self._recorded for job in jobs)
        self.finished = self.waiting = 0
        self.counts: Counter[str] = Counter()
        self.running: dict[int, tuple[str, float]] = {}
        self._open_cost = sum(job.cost for job in jobs)
        self._seconds = self._cost = 0.0

    def __call__(self, event: Event) -> None:
        """Takes in one event."""
        if event.kind == "notice":
            return
        job = self._jobs[event.key]
        if event.kind in ("started", "progress"):
            self.running[event.slot] = (event.key, event.fraction)
            return
        if self.running.get(event.slot, ("", 0.0))[0] == event.key:
            del self.running[event.slot]
        if event.kind == "finished" and event.outcome is not None:
            self._open_cost -= job.cost
            if event.key not in self._recorded:
                self.finished += 1
                self.counts[event.outcome.status] += 1
            # Cells that were skipped or recorded elsewhere say nothing about how long one takes.
            if event.outcome.status in ("done", "diverged") and event.outcome.attempts:
                self._seconds += event.outcome.seconds
                self._cost += job.cost

    def seconds_left(self) -> float | None:
        """Estimated seconds to the end; None until a cell has been run."""
        if not self._cost:
            return None
        begun = sum(self._jobs[key].cost * share for key, share in self.running.values())
        left = max(0.0, self._open_cost - begun)
        workers = min(self._slots, max(1, self.total - self.finished))
        return left * self._seconds / self._cost / workers

    def label(self, key: str) -> str:
        """Short text for a job."""
        return self._jobs[key].label or key

    def line(self) -> str:
        """Counts and the time left as one line of text."""
        named = {name: self.counts[name] for name in ("failed", "killed", "diverged", "skipped")}
        parts = [f"{self.finished}/{self.total} cells"]
        parts += [f"{count} {name}" for name, count in named.items() if count]
        left = self.seconds_left()
        if left is not None and self.finished < self.total:
            parts.append(f"about {clock_text(left)} left")
        return ", ".join(parts)


def clock_text(seconds: float) -> str:
    """Seconds as ``45 s``, ``3 min 20 s`` or ``5 h 07 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _mode(stream: TextIO) -> Mode:
    if stream.isatty():
        return "live"
    return "notebook" if in_notebook() else "plain"


class Progress:
    """The display of a run: a context manager, called with every event.

    Args:
        jobs: All jobs of the run.
        slots: Workers in use.
        mode: ``auto`` is live on a terminal, a bar in a notebook and plain elsewhere; ``quiet``
            prints nothing.
        stream: Default stderr, so that stdout stays free for results.
        every_s: Seconds between two plain lines at least.
        recorded: As in ``Tally``.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        slots: int,
        mode: Mode = "auto",
        stream: TextIO | None = None,
        every_s: float = _PLAIN_EVERY_S,
        recorded: Collection[str] = (),
    ) -> None:
        self.tally = Tally(jobs, slots, recorded=recorded)
        self._stream: TextIO = terminal(stream or sys.stderr)
        self.mode: Mode = _mode(self._stream) if mode == "auto" else mode
        self._every_s, self._printed_at, self._printed = every_s, time.monotonic(), ""
        self._live: Live | None = None
        self._notebook = NotebookLine()

    def __enter__(self) -> Progress:
        if self.mode == "live":
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                get_renderable=self._render,
                console=Console(file=self._stream),
                refresh_per_second=4,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self.mode == "notebook" and self.tally.total:
            self._show(last=True)
        elif self.mode != "quiet" and self.tally.total:
            self._print(self.tally.line())

    def __call__(self, event: Event) -> None:
        """Takes in one event; a failure is printed at once, anything else when it is time."""
        self.tally(event)
        if self.mode == "quiet":
            return
        outcome = event.outcome
        if event.kind == "notice":
            self._print(event.text)
        elif outcome is not None and outcome.status in ("failed", "killed"):
            if event.kind == "finished" and self.tally.total == 1:
                return  # the verb's last line says it
            word = "is started again" if event.kind == "requeued" else outcome.status
            first = outcome.reason.partition("\n")[0]
            self._print(f"{self.tally.label(event.key)} {word}: {first}")
        elif self.mode == "notebook":
            self._show()
        elif self.mode == "plain" and time.monotonic() - self._printed_at >= self._every_s:
            self._printed_at = time.monotonic()
            self._print(self.tally.line())

    def _show(self, last: bool = False) -> None:
        tally = self.tally
        running = sorted(tally.running.values())
        now = [] if last else [f"{tally.label(key)} {share:.0%}" for key, share in running]
        text = "; ".join([tally.line(), *now])
        self._notebook.show(spelled(text), tally.finished, tally.total, last)

    def _print(self, line: str) -> None:
        if self._live is not None:
            self._live.console.print(spelled(line), markup=False, highlight=False)
        elif line != self._printed:
            self._printed = line
            print(spelled(line), file=self._stream, flush=True)

    def _render(self, width: int | None = None) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally, width = self.tally, width or (self._live.console.width if self._live else 80)
        table = Table.grid(padding=(0, 1))
        table.add_row(ProgressBar(tally.total or 1, tally.finished, width=24), Text(tally.line()))
        lines = []
        for slot, (key, share) in sorted(tally.running.items()):
            head, tail = f"{slot}: ", f"  {share:.0%}"
            room = max(_LEAST, width - len(head) - len(tail))
            name = Text(spelled(tally.label(key)))
            name.truncate(room, overflow="ellipsis")
            lines.append(Text.assemble(head, name, tail))
        return Group(table, *lines)


class ShareLine:
    """The share of one piece of work that is done, as a line: a context manager, called with the
    share. Nothing is printed before the first call.

    Args:
        what: What is under way.
        mode: As of ``Progress``.
        stream: Default stderr.
    """

    def __init__(self, what: str, mode: Mode = "auto", stream: TextIO | None = None) -> None:
        self._what, self._stream = what, terminal(stream or sys.stderr)
        self.mode: Mode = _mode(self._stream) if mode == "auto" else mode
        self._printed_at, self._shown = -_PLAIN_EVERY_S, False
        self._notebook = NotebookLine()

    def __enter__(self) -> ShareLine:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown:
            self._show(f"{self._what}: done" if error[0] is None else self._what, 100, last=True)

    def __call__(self, share: float) -> None:
        """Shows a share, 0..1, where it is time."""
        now = time.monotonic()
        if self.mode == "quiet" or (
            self.mode == "plain" and now - self._printed_at < _PLAIN_EVERY_S
        ):
            return
        self._printed_at, self._shown = now, True
        self._show(f"{self._what}: {share:.0%}", round(100 * share))

    def _show(self, text: str, percent: int, last: bool = False) -> None:
        text = spelled(text)
        if self.mode == "notebook":
            self._notebook.show(text, percent, 100, last)
        elif self.mode == "live":
            print(f"\r{text:<79}", end="\n" if last else "", file=self._stream, flush=True)
        else:
            print(text, file=self._stream, flush=True)
