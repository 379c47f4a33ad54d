"""What a site is made of: boards, cards of methods and data sets, guides, printed numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.published.papers import Paper


@dataclass(frozen=True)
class PublishedBoard:
    """One board.

    Attributes:
        name: Name of its folder.
        board: Built from its records.
        files: What readers may download, by file name; ``leaderboard.html`` and
            ``records.jsonl.gz`` among them.
    """

    name: str
    board: Board
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class OptionAbout:
    """One option of a method, as text."""

    name: str
    default: str
    accepted: str
    meaning: str


@dataclass(frozen=True)
class MethodAbout:
    """What this installation knows of a method.

    Attributes:
        name, title, kind, version: ``kind`` as in records: static, dynamic, batch, baseline.
        keeps, signals, cost: In words.
        clean_data: What clean labels it uses; empty for none.
        oracle: Whether it reads the clean labels of what it trains.
        provisional: Why it may not be the published method; empty where it is.
        paper, year, repository: Empty or None where there is none.
        options: Its options.
        guides: Paths of the guides that describe it, from the folder of guides; the first one is
            shown on its page.
    """

    name: str
    title: str
    kind: str
    version: str
    keeps: str
    signals: str
    cost: str
    clean_data: str
    oracle: bool
    provisional: str
    paper: str
    year: int | None
    repository: str
    options: tuple[OptionAbout, ...] = ()
    guides: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetAbout:
    """What this installation knows of a data set."""

    name: str
    usage: str
    summary: str
    recipe: str


@dataclass(frozen=True)
class SiteContent:
    """Everything that the pages say.

    Attributes:
        title: Of the whole site.
        boards: The boards; their names differ.
        methods: By name; methods of boards that are not here are shown without a card.
        datasets: By name.
        guides: Markdown by path (``protocol.md``, ``methods/el2n.md``); may be empty.
        papers: Whose printed numbers are shown beside ours.
    """

    title: str
    boards: Sequence[PublishedBoard]
    methods: Mapping[str, MethodAbout] = field(default_factory=dict)
    datasets: Mapping[str, DatasetAbout] = field(default_factory=dict)
    guides: Mapping[str, str] = field(default_factory=dict)
    papers: Sequence[Paper] = ()
