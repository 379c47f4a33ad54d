"""What is new: boards, submissions, first results of methods and new versions, by date."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.findings.phrases import counted
from prunebench.leaderboard.render.about import counts
from prunebench.leaderboard.site.model import PublishedBoard
from prunebench.leaderboard.site.rows import day, versions_of


@dataclass(frozen=True)
class Event:
    """One line of what is new.

    Attributes:
        date: ISO date (UTC) on which the last run behind it ended, or on which a submission was
            accepted; empty where none says it.
        kind: ``board``, ``submission``, ``first results`` or ``new version``.
        board: Name of the board.
        methods: Methods that it speaks of; empty for a board.
        text: What there is to say beside these names.
    """

    date: str
    kind: str
    board: str
    methods: tuple[str, ...]
    text: str


def events(boards: Sequence[PublishedBoard]) -> list[Event]:
    """All lines, the latest first, those without a date last.

    A method's first results are on the board whose run of it ended first. A new version is a later
    one of a method that some board has results of an earlier version of.
    """
    runs = {published.name: list(_runs(published)) for published in boards}
    found = [_board(published, runs[published.name]) for published in boards]
    firsts: dict[tuple[str, str], list[str]] = defaultdict(list)
    renewed: list[Event] = []
    for method, by_version in _by_method(runs).items():
        for place, (date, board, version) in enumerate(by_version):
            if place == 0:
                firsts[date, board].append(method)
            else:
                earlier = ", ".join(v for _, _, v in by_version[:place])
                text = f"version {version}, after {earlier}"
                renewed.append(Event(date, "new version", board, (method,), text))
    found += [Event(date, "first results", board, tuple(sorted(methods)), "")
              for (date, board), methods in firsts.items()]  # fmt: skip
    found += renewed
    found += [
        Event(one.date.isoformat(), "submission", published.name, one.methods,
              f"{counted(len(one.keys), 'run')} by {one.by}")
        for published in boards for one in published.board.history.contributions
    ]  # fmt: skip
    order = {"board": 0, "submission": 1, "first results": 2, "new version": 3}
    found.sort(key=lambda event: (order[event.kind], event.board, event.methods))
    return sorted(found, key=lambda event: event.date, reverse=True)


def _runs(published: PublishedBoard) -> Iterable[Run]:
    seen: set[str] = set()
    for table in published.board.tables:
        for slots in table.runs.values():
            for run in slots.values():
                if run.record.key not in seen:
                    seen.add(run.record.key)
                    yield run


def _board(published: PublishedBoard, runs: Sequence[Run]) -> Event:
    days = sorted(filter(None, map(day, runs)))
    text = counts(published.board)
    return Event(days[-1] if days else "", "board", published.name, (), text)


def _by_method(runs: Mapping[str, Sequence[Run]]) -> dict[str, list[tuple[str, str, str]]]:
    """Of each method: date, board and version of the first result of every version, in order; runs
    without a date come after all others."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for board, own in runs.items():
        for run in own:
            slot = run.method, versions_of([run])[0]
            new = day(run) or "~", board
            first[slot] = min(first.get(slot, new), new)
    found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for (method, version), (date, board) in first.items():
        found[method].append((date, board, version))
    return {
        method: [(date.strip("~"), board, version) for date, board, version in sorted(own)]
        for method, own in sorted(found.items())
    }
