"""Names, marks and cells as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # tables use this module, and every run does: without scipy it starts sooner
    from prunebench.leaderboard.board.model import Row, Summary, Table, TableCell
    from prunebench.leaderboard.inference.compare import Comparison
    from prunebench.leaderboard.published.numbers import PrintedRow
    from prunebench.leaderboard.stats import MeanInterval

from prunebench.leaderboard.number_text import interval as interval
from prunebench.leaderboard.number_text import number as number
from prunebench.leaderboard.number_text import p_text as p_text
from prunebench.leaderboard.number_text import span as span
from prunebench.registry import ALIGN, SUFFIXES

#: Head of the rank, which is by one number everywhere: the mean beside it.
RANK = "rank by mean"
#: Realised ratio this far off the nominal one is flagged.
OFF_RATIO = 0.02


def scores_named(labels: Iterable[str]) -> str:
    """The scores that suffixes of some rows put in place of a method's own: ``AlignPrune or BLS``;
    AlignPrune where no row has one."""
    rows = list(labels)
    return " or ".join(
        title for suffix, title in SUFFIXES.items() if any(suffix in row for row in rows)
    ) or SUFFIXES[ALIGN]  # fmt: skip


def record_of(found: Comparison | None) -> str:
    """Wins, ties and losses over cells."""
    return "-" if found is None else f"{found.wins}/{found.ties}/{found.losses}"


def rank(row: Row) -> str:
    """Rank by mean, ``=`` where it is shared."""
    return "-" if row.rank is None else f"{row.rank}{'=' if row.tied else ''}"


def summary_rank(summary: Summary, label: str) -> str:
    """As ``rank``, over all ratios."""
    place, tied = summary.ranks.get(label, (None, False))
    return "-" if place is None else f"{place}{'=' if tied else ''}"


def realised(row: Row) -> str:
    """Realised ratio, ``≈`` where it is off the nominal one."""
    return "≈" * off_ratio(row) + number(row.realised, 2)


def reference_words(reference: str) -> str:
    """The label of the reference row in running text."""
    return "full training" if reference == "full" else reference


def difference_head(table: Table) -> str:
    """Head of the column of mean differences."""
    name = "mean difference" if table.reference == "full" else f"difference to {table.reference}"
    return f"{name} [95 %]"


def flags(row: Row) -> tuple[str, ...]:
    """Flags beside a row's name: § clean labels of the test split, oracle, missing cells."""
    cells = f"{row.present}/{row.expected} cells"
    return (*["§"] * row.leaks, *["oracle"] * (row.kind == "oracle"), *[cells] * (not row.complete))


def bold(table: Table, row: Row, place: int) -> bool:
    """Whether a cell is the best of its column, or not separated from the best."""
    column = table.tests.columns[place]
    return row.complete and column is not None and row.label in column.best


def better_or_worse(table: Table, row: Row, place: int) -> str:
    """``*`` or ``†`` against the reference row, empty where a cell is not separated."""
    marks = table.tests.marks
    return marks.mark(row.label, table.noises[place]) if marks else ""


def underpowered(table: Table, row: Row, place: int) -> str:
    """``?`` behind the best by the same amount in every seed, with too few seeds to test that."""
    column = table.tests.columns[place]
    known = row.complete and column is not None and row.label in column.underpowered
    return "?" if known else ""


def signs(table: Table, row: Row, place: int) -> str:
    """All signs behind a cell's numbers; ``‡`` for diverged runs."""
    cell = row.cells[place]
    marks = better_or_worse(table, row, place) + underpowered(table, row, place)
    return marks + "‡" * bool(cell and cell.diverged)


def lossless(table: Table, row: Row) -> str:
    """``≥`` where a row is shown to lose less than the margin against full training."""
    found = table.tests.lossless
    return "≥" if found is not None and row.label in found.family.rejected else ""


def letters(table: Table, row: Row) -> str:
    """A row's group; empty where nothing could have been separated."""
    ranking = table.tests.ranking
    return ranking.groups.letters_of(row.label) if ranking and ranking.groups else ""


def lettered(table: Table) -> bool:
    """Whether a table has groups to show."""
    groups = table.tests.ranking.groups if table.tests.ranking else None
    return groups is not None and not groups.underpowered


def off_ratio(row: Row) -> bool:
    """Whether the realised ratio is not the nominal one."""
    return row.realised is not None and round(abs(row.realised - row.nominal), 9) > OFF_RATIO


def ran_by(row: Row) -> str:
    """Who ran a row of a submission, and when; empty for all other rows."""
    return "; ".join(map(str, row.ran_by))


def missing(row: Row) -> str:
    """What an incomplete row lacks."""
    return ", ".join(f"{count} {reason}" for reason, count in row.missing)


def time(row: Row, digits: int = 2) -> str:
    """Time ratio to full training on one machine class, ``⚠`` where epoch times vary much."""
    return "-" if row.time is None else number(row.time.ratio, digits) + "⚠" * row.time.unsteady


def choice(row: Row) -> str:
    """Seconds of a static method's choice."""
    return number(row.choice_s, 1)


def chooses(rows: Iterable[Row]) -> bool:
    """Whether a row says how long its choice took; boards of earlier records have none."""
    return any(row.choice_s is not None for row in rows)


def epoch_heads(rows: Iterable[Row]) -> tuple[str, ...]:
    """The columns of epochs that some rows need: runs of the first set of metrics know only how
    many epochs were begun."""
    shown = tuple(rows)
    heads = {"epochs": any(row.whole_epochs is not None for row in shown),
             "epochs begun": any(row.whole_epochs is None for row in shown)}  # fmt: skip
    return tuple(name for name, wanted in heads.items() if wanted)


def epochs(row: Row, head: str) -> float | None:
    """What a row has in a column of ``epoch_heads``; never both counts in one column."""
    if head == "epochs":
        return row.whole_epochs
    return row.epochs_begun if row.whole_epochs is None else None


def share(found: MeanInterval | None) -> str:
    """A share in percent with its half-width."""
    if found is None:
        return "-"
    text = number(100 * found.mean, 1)
    if found.half_width is not None:
        text += f" ± {number(100 * found.half_width, 1)}"
    return text


#: Columns of further accuracies with the field of a row or cell that fills them.
_FURTHER = (
    ("balanced", "balanced"),
    ("worst class", "worst_class"),
    ("worst group", "worst_group"),
)


def further_heads(rows: Iterable[Row]) -> tuple[str, ...]:
    """The columns of further accuracies: the worst class, and balanced accuracy and the worst group
    where a row has them."""
    shown = tuple(rows)
    return tuple(
        head for head, field in _FURTHER
        if head == "worst class" or any(getattr(row, field) is not None for row in shown)
    )  # fmt: skip


def further(row: Row, head: str) -> float | None:
    """What a row has in a column of ``further_heads``, in percent."""
    value: float | None = getattr(row, dict(_FURTHER)[head])
    return None if value is None else 100 * value


def further_words(rows: Iterable[Row]) -> str:
    """What these columns hold, in running text."""
    heads = further_heads(rows)
    words = ["balanced accuracy (mean over the classes)"] * ("balanced" in heads)
    words += ["accuracy of the worst class"]
    words += ["accuracy of the worst group of test samples"] * ("worst group" in heads)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def has_diagnostics(row: Row) -> bool:
    """Whether anything but accuracy and cost is known of a row."""
    return row.worst_class is not None or any(
        cell is not None
        and (cell.kept_noise is not None or cell.auroc is not None or cell.corrupted is not None)
        for cell in row.cells
    )


def kept(cell: TableCell | None) -> str:
    """Noise rate among the kept samples in percent, in brackets that of the loss weight where it
    is known, and AUROC of the score; then the same of corrupted images where there are any."""
    if cell is None:
        return "-"
    noise, found = _kept(cell.kept_noise, cell.kept_weight, cell.auroc), cell.corrupted
    if found is None:
        return noise
    return f"{noise}; {_kept(found.rate, found.weight, found.auroc)}"


def _kept(rate: MeanInterval | None, weight: MeanInterval | None, auroc: float | None) -> str:
    brackets = "" if weight is None else f" ({share(weight)})"
    return f"{share(rate)}{brackets} / {number(auroc, 3)}"


def has_corrupted(rows: Iterable[Row]) -> bool:
    """Whether a setting of some rows has corrupted images."""
    return any(cell is not None and cell.corrupted is not None
               for row in rows for cell in row.cells)  # fmt: skip


def weighs(rows: Iterable[Row]) -> bool:
    """Whether a row says what share of the loss weight wrong labels had; boards of earlier
    records have none."""
    return any(cell is not None and cell.kept_weight is not None
               for row in rows for cell in row.cells)  # fmt: skip


def kept_words(rows: Iterable[Row]) -> str:
    """What the cells of the diagnostics table hold (see ``kept``)."""
    rows = tuple(rows)
    weight = ", in brackets the share of the loss weight that wrong labels had,"
    corrupted = (
        "; behind a semicolon share of corrupted images among the kept samples in percent, in "
        "brackets their share of the loss weight, / AUROC of the score against them"
    )
    return (
        f"noise rate among the kept samples in percent{weight * weighs(rows)} / AUROC of the score "
        f"against the true noise mask{corrupted * has_corrupted(rows)}"
    )


def printed_cells(row: PrintedRow) -> list[str]:
    """Cells of a row copied from a paper: one decimal, as printed."""
    return [
        "-" if v is None else number(v[0], 1) + (f" ±{number(v[1], 1)} sd" if v[1] else "")
        for v in row.values
    ]
