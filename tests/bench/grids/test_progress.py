"""What the display says, fed with events only."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from prunebench.bench.executors.base import Event, Job, Outcome, Status
from prunebench.bench.grids.progress import Mode, Progress, ShareLine, Tally, clock_text

JOBS = [Job(f"k{number}", {}, label=f"cell {number}", cost=1.0 + number) for number in range(4)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def finished(
    number: int, status: Status = "done", seconds: float = 0.0, reason: str = "", attempts: int = 1
) -> Event:
    outcome = Outcome(f"k{number}", status, reason, seconds, attempts)
    return Event("finished", f"k{number}", 0, 1.0, outcome)


def test_the_time_left_follows_costs_slots_and_shares() -> None:
    tally = Tally(JOBS, 2)  # costs 1, 2, 3, 4
    assert tally.seconds_left() is None
    tally(Event("started", "k0", 0))
    tally(finished(0, seconds=10.0))
    assert tally.seconds_left() == pytest.approx(9 * 10.0 / 2)
    tally(Event("started", "k3", 1))
    tally(Event("progress", "k3", 1, 0.5))
    assert tally.seconds_left() == pytest.approx(7 * 10.0 / 2)
    tally(finished(1, "skipped"))
    tally(finished(2, "done", attempts=0))  # recorded by another driver
    assert tally.seconds_left() == pytest.approx(2 * 10.0 / 1)
    assert tally.line() == "3/4 cells, 1 skipped, about 20 s left"
    tally(finished(3, "failed"))
    assert tally.line() == "4/4 cells, 1 failed, 1 skipped"


def test_waiting_and_requeued_cells_are_not_running() -> None:
    tally = Tally(JOBS, 2)
    for kind in ("waiting", "requeued"):
        tally(Event("started", "k0", 1))
        assert tally.running == {1: ("k0", 0.0)}
        tally(Event(kind, "k0", 1))
        assert not tally.running
    assert tally.finished == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (18420, "5 h 07 min"),
    ],
)
def test_clock_text(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def feed(progress: Progress) -> None:
    with progress as show:
        show(Event("started", "k0", 0))
        show(Event("progress", "k0", 0, 0.5))
        show(finished(0))
        show(Event("requeued", "k1", 0, outcome=Outcome("k1", "killed", "SIGKILL")))
        show(finished(1, "failed", reason="ValueError: [x]\nTraceback"))
        show(finished(2))
        show(finished(3))


def test_plain_lines_are_few_and_tell_failures() -> None:
    stream = io.StringIO()
    feed(Progress(JOBS, 1, stream=stream))
    assert stream.getvalue().splitlines() == [
        "cell 1 is started again: SIGKILL",
        "cell 1 failed: ValueError: [x]",
        "4/4 cells, 1 failed",
    ]
    stream = io.StringIO()
    feed(Progress(JOBS, 1, stream=stream, every_s=0.0))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "0/4 cells"
    assert len(lines) == len(set(lines))


def test_quiet_says_nothing() -> None:
    stream = Terminal()
    feed(Progress(JOBS, 1, "quiet", stream))
    assert stream.getvalue() == ""


@pytest.mark.parametrize("mode", ["auto", "live"])
def test_a_terminal_gets_the_same_messages(mode: Mode) -> None:
    stream = Terminal()
    feed(Progress(JOBS, 1, mode, stream))
    text = stream.getvalue()
    assert "cell 1 failed: ValueError: [x]" in text
    assert text.rstrip().endswith("4/4 cells, 1 failed")


def test_a_notebook_gets_a_bar_and_keeps_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []

    class Handle:
        def display(self, bundle: dict[str, str], raw: bool) -> None:
            assert not shown
            assert raw
            shown.append(bundle)

        def update(self, bundle: dict[str, str], raw: bool) -> None:
            assert raw
            shown.append(bundle)

    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr("IPython.display.DisplayHandle", Handle)
    monkeypatch.setattr("prunebench.bench.grids.notebook_line._EVERY_S", 0.0)
    stream = io.StringIO()
    feed(Progress([*JOBS[:3], Job("k3", {}, label="<b>")], 1, stream=stream))
    assert stream.getvalue().splitlines() == [
        "cell 1 is started again: SIGKILL",
        "cell 1 failed: ValueError: [x]",
    ]
    assert '<progress value="0" max="4">' in shown[0]["text/html"]
    assert not any("<b>" in bundle["text/html"] for bundle in shown)
    assert shown[-1]["text/plain"] == "4/4 cells, 1 failed"
    assert "<progress" not in shown[-1]["text/html"]


def test_nothing_to_do_is_no_line() -> None:
    stream = io.StringIO()
    with Progress([], 1, stream=stream):
        pass
    assert stream.getvalue() == ""


@pytest.mark.parametrize("width", [60, 100, 160])
def test_names_have_the_width_of_the_terminal(width: int) -> None:
    from rich.console import Console

    name = "dynamic-uncertainty+align, symmetric:0.4, ratio 0.7, seed 3, a long recipe"
    progress = Progress([Job("k", {}, label=name)], 1, "quiet")
    progress(Event("started", "k", slot=3))
    screen = Console(file=io.StringIO(), width=width)
    screen.print(progress._render(width))
    (line,) = [x for x in screen.file.getvalue().splitlines() if x.startswith("3: ")]
    assert len(line.rstrip()) <= width
    assert (name in line) == (width >= len(name) + 7)
    assert "0%" in line


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("plain", ["craig chooses: 10%", "craig chooses: done"]),
        ("live", ["\rcraig chooses: 10%", "\rcraig chooses: 60%", "\rcraig chooses: done", "\n"]),
        ("quiet", []),
    ],
)
def test_a_share_is_one_line_from_the_first_report_on(mode: Mode, expected: list[str]) -> None:
    stream = io.StringIO()
    with ShareLine("craig chooses", mode, stream) as line:
        assert stream.getvalue() == ""
        line(0.1)
        line(0.6)
    for text in expected:
        assert text in stream.getvalue()
    assert bool(expected) == bool(stream.getvalue())
    assert ("60%" in stream.getvalue()) == (mode == "live")
    silent = io.StringIO()
    with ShareLine("craig chooses", mode, silent):
        pass
    assert silent.getvalue() == ""
