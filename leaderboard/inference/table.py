"""Everything that is tested inside one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunebench.leaderboard.inference.bold import BoldColumn, bold_column
from prunebench.leaderboard.inference.marks import Lossless, Marks, cell_marks, lossless
from prunebench.leaderboard.inference.rankings import Ranking, ranking
from prunebench.leaderboard.inference.series import Series, matrix
from prunebench.leaderboard.protocol_file import ProtocolFile


@dataclass(frozen=True)
class Tests:
    """Tests of one table.

    Attributes:
        ranking: Order, letters and comparisons with the reference over the complete rows.
        marks: Exploratory marks per cell against the reference.
        lossless: Non-inferiority against full training.
        columns: Bold of each noise setting, in the table's order; None without complete rows.
    """

    ranking: Ranking | None
    marks: Marks | None
    lossless: Lossless | None
    columns: tuple[BoldColumn | None, ...]


def table_tests(
    complete: Sequence[Series],
    incomplete: Sequence[Series],
    noises: Sequence[str],
    full: str,
    protocol: ProtocolFile,
    name: str,
) -> Tests:
    """Runs every family of one table.

    Args:
        complete: Rows with every run, oracles left out.
        incomplete: The others, oracles left out; they get marks only.
        noises: Noise settings in the table's order.
        full: Label of full training.
        protocol: The protocol.
        name: Table, for the families' names.
    """
    everyone = {row.label: row for row in (*complete, *incomplete)}
    reference = everyone.get(protocol.reference)
    whole = next((row for row in complete if row.label == protocol.reference), None)
    others = [row for row in everyone.values() if row.label != protocol.reference]
    baseline = next((row for row in complete if row.label == full), None)
    losing = [row for row in complete if row.label != full]
    return Tests(
        ranking=ranking(complete, whole, protocol, f"letters, {name}", omnibus=False),
        marks=cell_marks(others, reference, protocol, f"cells against {reference.label}, {name}")
        if reference
        else None,
        lossless=lossless(losing, baseline, protocol, f"lossless, {name}") if baseline else None,
        columns=tuple(_columns(complete, noises, protocol.alpha)),
    )


def _columns(
    rows: Sequence[Series], noises: Sequence[str], alpha: float
) -> list[BoldColumn | None]:
    if not rows:
        return [None] * len(noises)
    table = matrix(rows)
    names = [cell[0] for cell in sorted(rows[0].values)]
    found: list[BoldColumn | None] = []
    for noise in noises:
        if noise not in names:
            found.append(None)
            continue
        own = table.cell == names.index(noise)
        y = [[value for value, mine in zip(row, own, strict=True) if mine] for row in table.y]
        found.append(bold_column(table.labels, y, alpha))
    return found
