"""The report as plain data that every form of it reads."""

from __future__ import annotations

from dataclasses import dataclass

from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.stats import Family, MeanInterval, MedianInterval, PooledCells


@dataclass(frozen=True)
class Estimate:
    """A mean or median with its 95 % interval.

    Attributes:
        mean: The number itself.
        low, high: Ends of the interval; None where there are too few seeds for one.
        n: Values behind it.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, found: MeanInterval) -> Estimate:
        """A mean over seeds."""
        half = found.half_width
        if half is None:
            return cls(found.mean, None, None, found.n)
        return cls(found.mean, found.mean - half, found.mean + half, found.n)

    @classmethod
    def median(cls, found: MedianInterval, times: float = 1) -> Estimate:
        """A median over seeds, in another unit."""
        low, high = (None if end is None else times * end for end in (found.low, found.high))
        return cls(times * found.median, low, high, found.n)

    @classmethod
    def pooled(cls, found: PooledCells) -> Estimate:
        """A mean over cells, with new seeds."""
        return cls(found.mean, found.low, found.high, found.n)

    def scaled(self, times: float) -> Estimate:
        """The same in another unit."""
        low, high = (None if end is None else times * end for end in (self.low, self.high))
        return Estimate(times * self.mean, low, high, self.n)


Value = str | int | float | Estimate | None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: In the CSV file, where an estimate takes four columns (``_low``, ``_high``, ``_n``).
        head: On the page.
        digits: Decimals on the page.
        signed: Whether numbers carry their sign.
    """

    name: str
    head: str
    digits: int = 1
    signed: bool = False


@dataclass(frozen=True)
class ReportTable:
    """A table of a section; its first column names the row.

    Attributes:
        stem: Name of its CSV file without ending.
        caption: What it shows, units and n among it.
        columns, rows: What it holds.
    """

    stem: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Statement:
    """A sentence that rests on tests or intervals.

    Attributes:
        text: The sentence; names are as in the records.
        claims: Names of the members of ``family`` whose difference it claims; empty where it
            claims none.
        family: The family that they belong to.
    """

    text: str
    claims: tuple[str, ...] = ()
    family: Family | None = None


@dataclass(frozen=True)
class Lacking:
    """Something that a section would show, and what gives it.

    Attributes:
        why: What is not there.
        option: What a grid file or a command needs for it; empty where the command says all.
        command: A command that works here and now.
    """

    why: str
    option: str
    command: str

    @property
    def line(self) -> str:
        """Both in one line."""
        option = f"; {self.option}" if self.option else ""
        return f"{self.why}{option}; for example `{self.command}`"


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        stem: File name without ending.
        title, caption: Text of it.
        svg: Its source.
    """

    stem: str
    title: str
    caption: str
    svg: bytes


@dataclass(frozen=True)
class ReportSection:
    """One question.

    Attributes:
        id: Anchor.
        title: The question.
        about: What is measured and how it is tested, in a sentence or two.
        statements: Answers.
        tables, pictures: Behind them.
        lacking: What would be shown and is not there.
        notes: Lines for the reader.
    """

    id: str
    title: str
    about: str
    statements: tuple[Statement, ...] = ()
    tables: tuple[ReportTable, ...] = ()
    pictures: tuple[Picture, ...] = ()
    lacking: tuple[Lacking, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The page.

    Attributes:
        board: Of the same records.
        title: Data sets, networks and seeds.
        sections: In order.
        level: Corrected p up to which a section claims a difference.
        families: Families of tests that could claim one.
    """

    board: Board
    title: str
    sections: tuple[ReportSection, ...]
    level: float
    families: int
