"""What the sentences of a board speak of: a design over its ratios, or recipes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prunebench.leaderboard.board.model import Board, Summary, Table
from prunebench.leaderboard.findings.level import Level, tested
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.inference.groups import Groups
from prunebench.leaderboard.inference.rankings import Ranking
from prunebench.leaderboard.protocol_file import ProtocolFile

#: Kinds of methods as their records name them, with the name of the family here.
KINDS = {"static": "static", "dynamic": "dynamic", "batch": "batch-level"}


@dataclass(frozen=True)
class Block:
    """One summary with its tables.

    Attributes:
        summary: The summary: its ranking, letters and modules are over all its ratios.
        tables: Its tables.
        protocol: The protocol.
        level: At which the sentences of the whole board claim a difference.
        methods: Name of the method of each row.
        kinds: Kind of method of each row: a value of ``KINDS``, or empty where no record says it.
    """

    summary: Summary
    tables: tuple[Table, ...]
    protocol: ProtocolFile
    level: Level
    methods: Mapping[str, str]
    kinds: Mapping[str, str]

    @property
    def scope(self) -> str:
        """Label of the design or the designs."""
        return self.summary.dataset

    @property
    def words(self) -> str:
        """The headline metric in running text."""
        return words_of(self.protocol.metric)

    @property
    def points(self) -> str:
        """Its unit."""
        return "points" if self.protocol.metric == "accuracy" else f"points of {self.words}"

    @property
    def groups(self) -> Groups | None:
        """The test of all pairs of complete rows."""
        return self.summary.ranking.groups if self.summary.ranking else None

    def pruning(self) -> list[str]:
        """Complete rows of pruning methods, best mean first."""
        ranking = self.summary.ranking
        labels = ranking.labels if ranking else ()
        return [label for label in labels if self.summary.series[label].kind == "method"]


def blocks_of(board: Board) -> tuple[Block, ...]:
    """A block for each design; those that differ in recipe alone have one together, and tables one
    each where their rows are too different for one over all of them."""
    joined = {label for summary in board.recipe_summaries for label in summary.designs}
    shown = [s for s in board.summaries if s.dataset not in joined]
    found = []
    for summary in (*board.recipe_summaries, *shown):
        names = summary.designs or (summary.dataset,)
        tables = [table for table in board.tables if table.dataset in names]
        if _ranked(summary.ranking, summary) > 1 or not any(
            _ranked(table.tests.ranking, table) > 1 for table in tables
        ):
            found.append((summary, tables))
        else:
            found += [(_alone(table), [table]) for table in tables]
    families = sum(_families(summary) for summary, _ in found)
    families += sum(tested(own) for one in board.transfers for own in (one.leads, one.changes))
    level = Level(board.protocol.alpha, families)
    return tuple(
        Block(summary, tuple(tables), board.protocol, level, *_facts(tables))
        for summary, tables in found
    )


def _ranked(ranking: Ranking | None, rows: Summary | Table) -> int:
    """Pruning rows that are compared over all runs."""
    labels = ranking.labels if ranking else ()
    return sum(rows.series[label].kind == "method" for label in labels)


def _alone(table: Table) -> Summary:
    """One table as a summary, without modules: their tests are over all ratios."""
    return Summary(
        dataset=f"{table.dataset}, ratio {table.ratio:g}",
        ratios=(table.ratio,),
        noises=table.noises,
        ranking=table.tests.ranking,
        incomplete=tuple(row.label for row in table.incomplete if row.kind != "oracle"),
        series=table.series,
        modules=None,
    )


def _families(summary: Summary) -> int:
    """Families with a test that can be significant; the others claim nothing in any case."""
    groups = summary.ranking.groups if summary.ranking else None
    letters = groups is not None and not groups.underpowered
    return letters + (summary.modules is not None and tested(summary.modules.family))


def _facts(tables: list[Table]) -> tuple[dict[str, str], dict[str, str]]:
    methods: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for table in tables:
        for label, slots in table.runs.items():
            for run in slots.values():
                methods[label] = run.method
                kinds[label] = KINDS.get(str(run.record.info.get("kind")), "")
                break
    return methods, kinds
