"""The one entry: a board and the artifacts of its runs in, the report out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from prunebench.errors import InputError
from prunebench.leaderboard.board.labels import noise_order
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.style import figure_settings
from prunebench.leaderboard.findings import findings
from prunebench.leaderboard.learning_curves.to_target import TargetTable
from prunebench.leaderboard.number_text import span
from prunebench.leaderboard.report import (
    cost,
    hard_wrong,
    kept_noise,
    pictures,
    power,
    reference_effects,
    trajectories,
)
from prunebench.leaderboard.report.model import Picture, Report, ReportSection, Statement
from prunebench.leaderboard.report.sample_files import SampleFiles
from prunebench.leaderboard.report.tested import open_families


def report(
    material: Material,
    targets: Sequence[TargetTable],
    faults: list[InputError],
    figures: bool = True,
) -> Report:
    """Measures, tests and words all sections.

    A section claims differences by corrected p at alpha over the number of families of the whole
    report, so that of results without any difference at most alpha have a section that claims one.

    Args:
        material: Board, and artifacts where they are at hand.
        targets: Samples to an accuracy of the same board.
        faults: Takes artifacts that cannot be used, each once.
        figures: Whether figures are drawn, for which matplotlib is needed.
    """
    board, files = material.board, SampleFiles(material, faults)
    alpha = board.protocol.alpha
    kept = kept_noise.measured(board)
    stored, fit = trajectories.measured(files), trajectories.fitted(board)
    groups = hard_wrong.measured(files)
    variants, shifts = reference_effects.variants(board), reference_effects.shifts(board)
    seen = power.measured(board)

    of_kept = kept_noise.families(kept, alpha)
    of_losses = trajectories.loss_families(stored, alpha)
    of_fit = trajectories.fitted_families(fit, alpha)
    of_rows, of_events = (
        hard_wrong.families(groups, alpha),
        hard_wrong.event_families(groups, alpha),
    )
    of_reference = reference_effects.families(variants, shifts, alpha)
    of_cost = cost.reached(board, targets, material.read, faults)
    of_power = power.families(board, seen)
    pooled = (*of_kept, *of_losses, *of_fit, *of_rows, *of_events, *of_reference, *of_power)
    count = open_families(pooled) + sum(one.open for one in of_cost)

    sections = (
        kept_noise.section(kept, of_kept, count),
        trajectories.section(stored, fit, of_losses, of_fit, count),
        hard_wrong.section(groups, of_rows, of_events, count),
        reference_effects.section(board, variants, shifts, of_reference, count),
        cost.section(targets, of_cost, count),
        power.section(board, seen, of_power, count),
    )
    drawn: dict[str, tuple[Picture, ...]] = {}
    with figure_settings() if figures else nullcontext():
        if figures:
            drawn = {
                "noise-kept": pictures.made(pictures.kept_noise(kept)),
                "trajectories": pictures.made(pictures.memorised(material))
                + pictures.of_board(material, "loss-trajectories")
                + pictures.of_board(material, "detection")[-1:],
                "hard-and-wrong": pictures.made(pictures.hard_and_wrong(groups)),
                "reference": pictures.made(pictures.reference_set(variants)),
                "cost": pictures.of_board(material, "accuracy-by-samples"),
                "power": pictures.of_board(material, "seeds-needed"),
            }
    shown = [replace(one, pictures=drawn.get(one.id, ())) for one in sections]
    return Report(board, title_of(material), (_found(material), *shown),
                  alpha / max(1, count), count)  # fmt: skip


def _found(material: Material) -> ReportSection:
    """The sentences of the board, which stand above its tables too."""
    about = (
        "The sentences of the leaderboard of these records; they share one level among "
        "themselves, apart from that of the sections below."
    )
    said = tuple(Statement(f"{one.scope}. {one.text}") for one in findings(material.board))
    return ReportSection("found", "What was found?", about, said)


def title_of(material: Material) -> str:
    """Data sets, networks and seeds of the tables."""
    tables = material.board.tables
    data = ", ".join(dict.fromkeys(table.dataset for table in tables))
    sizes = [size for t in tables for row in (*t.rows, *t.incomplete) for size in row.seeds if size]
    noises = sorted({noise for table in tables for noise in table.noises}, key=noise_order)
    settings = f"{len(noises)} setting" + "s" * (len(noises) != 1)
    seeds = span(min(sizes), max(sizes)) if sizes else "0"
    return f"{data}: {settings}, {seeds} seed{'s' * (seeds != '1')} a cell"
