"""The board: tables of rows of cells, as plain data that every renderer reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from prunebench.leaderboard.board.collect import FULL, Run
from prunebench.leaderboard.board.shared_protocol import SharedProtocol
from prunebench.leaderboard.board.time_ratio import TimeRatio
from prunebench.leaderboard.contributed import History, RanBy
from prunebench.leaderboard.inference.align_controls import AlignControls
from prunebench.leaderboard.inference.judged import Judged
from prunebench.leaderboard.inference.rankings import Modules, Ranking
from prunebench.leaderboard.inference.score_grid import ScoreGrid
from prunebench.leaderboard.inference.series import Series
from prunebench.leaderboard.inference.table import Tests
from prunebench.leaderboard.inference.transfer import Transfer
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.published.numbers import PrintedRow
from prunebench.leaderboard.stats import MeanInterval, PairedDifference


@dataclass(frozen=True)
class CorruptedKept:
    """What training had of corrupted images.

    Attributes:
        rate, weight: Their share of the trained samples, and of the loss weight, over the seeds;
            ``weight`` None where a run does not know it.
        auroc: Of the score against them, mean over the seeds that have one.
    """

    rate: MeanInterval
    weight: MeanInterval | None
    auroc: float | None


@dataclass(frozen=True)
class TableCell:
    """One method under one noise setting.

    Attributes:
        accuracy: Percent over the seeds.
        difference: To the reference row by common seed; None for that row or without it.
        diverged: Runs that diverged and count with their value.
        kept_noise: Share of wrong labels among the kept samples, over the seeds; None where it
            is not known.
        auroc, worst_class: Means over the seeds that have them; shares.
        balanced, worst_group: Means over the seeds of the mean recall of the classes and of the
            accuracy of the worst group; None where no run has one.
        kept_weight: Share of the loss weight that wrong labels had, over the seeds; None where a
            record does not hold it (sets of metrics 1 and 2).
        corrupted: Of corrupted images; None where the setting has none.
    """

    accuracy: MeanInterval
    difference: PairedDifference | None
    diverged: int
    kept_noise: MeanInterval | None
    auroc: float | None
    worst_class: float | None
    kept_weight: MeanInterval | None = None
    corrupted: CorruptedKept | None = None
    balanced: float | None = None
    worst_group: float | None = None


@dataclass(frozen=True)
class Row:
    """One method, or one variant of it.

    Attributes:
        label: Its name here.
        kind: ``full``, ``control``, ``method`` or ``oracle``.
        cells: One per noise setting of the table; None where no run counts.
        present, expected: (noise, seed) cells that count, and that the table asks for.
        missing: (reason, count) of the cells that lack.
        mean: Mean of the noise settings' mean accuracies; None unless complete.
        difference: Mean of the noise settings' mean differences; None unless complete here
            and in the reference row.
        nominal, realised, compute: Saved shares of training: asked for, reached, and with
            forward-only passes counted.
        epochs_begun, steps, worst_class: Means over the runs.
        balanced, worst_group: As in a cell; ``balanced`` only where it is not plain accuracy in
            some run of the table: with equal test classes both are one number.
        seeds: Fewest and most seeds in a noise setting.
        clean_labels: What clean labels it used, if any.
        leaks: Whether the clean labels it used are those of the test split.
        whole_epochs: Mean of the epochs, one that the budget cut counted by the share of its plan;
            None unless all runs hold it (records of the first set of metrics do not).
        time: Training time over full training's on one device class; None where not comparable.
        choice_s: Seconds in which a static method chose its subset, mean over the runs; None where
            a record names none, as those of earlier versions and of other methods do.
        rank: 1 = best; None for reference rows, oracles and incomplete rows.
        tied: Whether another row has the same rank.
        ran_by: Who ran it, of runs that came from submissions; empty for all others.
    """

    label: str
    kind: str
    cells: tuple[TableCell | None, ...]
    present: int
    expected: int
    missing: tuple[tuple[str, int], ...]
    mean: float | None
    difference: float | None
    nominal: float
    realised: float | None
    compute: float | None
    epochs_begun: float | None
    steps: float | None
    worst_class: float | None
    seeds: tuple[int, int]
    clean_labels: str
    leaks: bool = False
    whole_epochs: float | None = None
    time: TimeRatio | None = None
    choice_s: float | None = None
    balanced: float | None = None
    worst_group: float | None = None
    rank: int | None = None
    tied: bool = False
    ran_by: tuple[RanBy, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every (noise, seed) cell of the table counts."""
        return self.present == self.expected


@dataclass(frozen=True)
class Table:
    """One (design, ratio): rows in order of display, incomplete ones apart.

    ``series`` holds the accuracies by row label, ``tests`` what was tested on them, ``notes``
    lines for the reader, ``reference`` the label of the row that differences refer to, and
    ``runs`` the runs behind each row by (noise, seed).
    """

    dataset: str
    ratio: float
    noises: tuple[str, ...]
    rows: tuple[Row, ...]
    incomplete: tuple[Row, ...]
    shared: SharedProtocol
    series: Mapping[str, Series]
    tests: Tests
    notes: tuple[str, ...] = ()
    printed: tuple[PrintedRow, ...] = ()
    runs: Mapping[str, Mapping[tuple[str, int], Run]] = field(default_factory=dict)
    reference: str = FULL


@dataclass(frozen=True)
class Summary:
    """One design over its ratios, or several that differ in recipe alone.

    Attributes:
        dataset: Label of the design, or name of them all.
        ratios, noises: What its tables hold.
        ranking: Rows that are complete in every table, oracles left out.
        incomplete: Labels of the others.
        series: Every row over all ratios.
        modules: Base methods with and without AlignPrune, and planned pairs.
        designs: Labels of the designs, where there are several.
        score_grid: Rows as a grid of scores by samplers; None where fewer than two of each cross.
        align_controls: Rows with AlignPrune beside random choice and other uses of the clean
            samples; None without such rows, and on boards of earlier records.
        predictions: What was predicted of variants of AlignPrune, beside what the rows show; empty
            where fewer than three variants are there.
    """

    dataset: str
    ratios: tuple[float, ...]
    noises: tuple[str, ...]
    ranking: Ranking | None
    incomplete: tuple[str, ...]
    series: Mapping[str, Series]
    modules: Modules | None
    designs: tuple[str, ...] = ()
    score_grid: ScoreGrid | None = None
    align_controls: AlignControls | None = None
    predictions: tuple[Judged, ...] = ()

    @property
    def shown(self) -> bool:
        """Whether it shows more than one table does."""
        return len(self.ratios) > 1 or bool(self.designs)

    @cached_property
    def ranks(self) -> Mapping[str, tuple[int, bool]]:
        """Rank by mean and whether it is shared, as in the tables: of the rows that prune alone."""
        found = self.ranking
        labels = [x for x in (found.labels if found else ()) if self.series[x].kind == "method"]
        means = [found.means[label] for label in labels] if found else []
        return {
            label: (1 + sum(other > mean for other in means), means.count(mean) > 1)
            for label, mean in zip(labels, means, strict=True)
        }


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        tables: By design, then ratio.
        summaries: By design.
        protocol: The protocol.
        used: Number of records behind the tables' numbers.
        digest: First 16 hex digits of the SHA-256 over their keys and digests.
        excluded: (reason, count) of all other records.
        environments: Device classes, code revisions and thread counts of the used records.
        recipe_summaries: Over designs that differ in recipe alone.
        transfers: Subsets that one recipe's scoring run chose and others train.
        history: Submissions that were accepted.
    """

    tables: tuple[Table, ...]
    summaries: tuple[Summary, ...]
    protocol: ProtocolFile
    used: int
    digest: str
    excluded: tuple[tuple[str, int], ...]
    environments: tuple[tuple[str, tuple[str, ...]], ...]
    recipe_summaries: tuple[Summary, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    history: History = field(default_factory=History)
