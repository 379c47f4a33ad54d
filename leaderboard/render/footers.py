"""Lines under a table: families, corrections, what the design could have seen."""

from __future__ import annotations

from collections import Counter

from prunebench.leaderboard.board.labels import setting_word
from prunebench.leaderboard.board.model import Board, Summary, Table
from prunebench.leaderboard.board.time_ratio import UNSTEADY
from prunebench.leaderboard.contributed import history_lines
from prunebench.leaderboard.filters import shown
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.inference.compare import POWER
from prunebench.leaderboard.inference.groups import Groups
from prunebench.leaderboard.inference.marks import MIN_T, Marks
from prunebench.leaderboard.inference.rankings import Modules, Ranking
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.legend import used
from prunebench.leaderboard.render.row_text import chooses, number, p_text, span
from prunebench.record import USUAL_SEVERITY


def protocol_line(protocol: ProtocolFile) -> str:
    """Name, version and hash of the protocol, and its levels."""
    words = words_of(protocol.metric)
    return (
        f"Protocol `{protocol.name}` v{protocol.version} (hash `{protocol.digest}`): "
        f"alpha {protocol.alpha:g}, non-inferiority margin {protocol.margin:g} points, "
        f"ROPE ±{protocol.rope:g} points, diverged runs count "
        + ("as chance" if protocol.diverged == "chance" else f"with their final {words}")
        + f", reference row {protocol.reference}"
        + f", headline metric {words}" * (protocol.metric != "accuracy")
    )


def filter_lines(protocol: ProtocolFile) -> list[str]:
    """What the protocol keeps of the records; nothing where it keeps all."""
    said = []
    for name, values in protocol.given.items():
        parts = values.items() if name == "where" else [(name, values)]
        said += [f"{field} {' or '.join(map(shown, kept))}" for field, kept in parts]
    return [f"Only records with {'; '.join(said)}"] if said else []


def groups_line(groups: Groups | None) -> str | None:
    """The letters' family, or why there are none."""
    if groups is None:
        return None
    family = groups.pairwise.family
    design = (
        f"paired sign-flip with {groups.units} (noise, seed) units, smallest p "
        f"{p_text(groups.smallest_p)}"
    )
    if groups.underpowered:
        return (
            f"Groups: underpowered: {design} > {p_text(groups.needed_p)} = alpha over "
            f"{family.size} pairs; no letters, nobody separated"
        )
    return (
        f"Groups: {design}; Holm over m = {family.size} pairs at {family.alpha:g}. Rows that "
        "share a letter are not separable, which is not the same as equal"
    )


def table_lines(table: Table) -> list[str]:
    """Every family of one table, and what else a reader has to know of it."""
    return [*row_lines(table), *cell_lines(table), *closing_lines(table)]


def closing_lines(table: Table) -> list[str]:
    """What the design could have seen, and the table's own notes."""
    line = detectable_line(table.tests.ranking)
    return [*([line] if line else []), *table.notes]


def row_lines(table: Table) -> list[str]:
    """The families behind the signs of whole rows; a sign is named where it occurs."""
    tests = table.tests
    lines = [groups_line(tests.ranking.groups if tests.ranking else None)]
    if tests.lossless is not None:
        family = tests.lossless.family
        claim = f"less than {tests.lossless.margin:g} points against full training"
        how = f"(non-inferiority): Holm over m = {family.size} rows at {family.alpha:g}"
        lines.append(f"≥ loses {claim} {how}" if "≥" in used(table)
                     else f"No row is shown to lose {claim} {how}")  # fmt: skip
    return [line for line in lines if line]


def cell_lines(table: Table) -> list[str]:
    """The same of the cells by noise setting, and of the times."""
    tests, shown = table.tests, used(table)
    lines = [] if tests.marks is None else [_marks_line(tests.marks, shown)]
    tested = [(n, c) for n, c in zip(table.noises, tests.columns, strict=True) if c is not None]
    bold = [c for _, c in tested if c.best]
    few = [(noise, c) for noise, c in tested if not c.best]
    if bold:
        size = max(c.size for c in bold)
        kinds = " or ".join(sorted({c.test for c in bold}))
        lines.append(
            f"Bold: best of its column and every row not separated from it (paired {kinds}, Holm "
            f"over {size} pairs)"
        )
    if few:
        seeds = span(min(c.seeds for _, c in few), max(c.seeds for _, c in few))
        where = f" in {', '.join(noise for noise, _ in few)}" if bold else ""
        lines.append(
            f"⚠ n = {seeds}{where}: too few seeds to separate rows in one cell; nothing is bold"
            + " there" * bool(bold)
        )
    if "?" in shown:
        lines.append(
            "? underpowered: behind the best of its column by the same amount in every seed, with "
            "too few seeds for the exact test; not separated, not bold and not among the best"
        )
    if "busy" in shown:
        lines.append(
            f"⚠ in the time column: epoch times of the row, or of full training, differ by more "
            f"than a factor of {UNSTEADY:g}; the machine was busy, and the ratio says little"
        )
    if chooses((*table.rows, *table.incomplete)):
        lines.append(
            "choice s: seconds in which a static method chose its subset from recorded evidence, "
            "mean over runs, beside its training; - where none is recorded"
        )
    return lines


def _marks_line(marks: Marks, shown: set[str]) -> str:
    """The family of ``*`` and ``†``, and what could not be tested."""
    family = marks.family
    refused = sum(bool(member.refused) for member in family.members)
    said = {"*": "* better", "†": "† worse"}
    signs = ", ".join(words for sign, words in said.items() if sign in shown)
    start = f"{signs} than {marks.reference} in one cell" if signs else (
        f"No cell is separated from {marks.reference}")  # fmt: skip
    text = (
        f"{start}: Benjamini-Hochberg over m = {family.size} cells at {family.alpha:g}, exploratory"
    )
    if refused:
        text += f"; {refused} cells underpowered and not tested"
        if refused == family.size:
            text += f" (a cell needs {MIN_T} seeds, and 6 without assuming normality)"
    return text + "; paired t, too few seeds for an exact test" * marks.t_only


def detectable_line(found: Ranking | None) -> str | None:
    """What the comparisons with the reference could have seen."""
    if found is None:
        return None
    values = sorted(c.detectable for c in found.reference.values() if c.detectable is not None)
    if not values:
        return None
    low, high = number(values[0], 2), number(values[-1], 2)
    return (
        f"Differences to the reference that these runs detect with {POWER:.0%} power "
        f"(uncorrected): {low if low == high else f'{low} to {high}'} points"
    )


def summary_lines(summary: Summary) -> list[str]:
    """Families and the omnibus tests of a summary."""
    found = summary.ranking
    if found is None:
        return []
    lines = [recipes_line(summary), groups_line(found.groups), detectable_line(found)]
    if found.friedman is not None and found.iman_davenport is not None:
        test, f = found.friedman, found.iman_davenport
        text = (
            f"Mean ranks over {test.blocks} noise settings as blocks (ratios averaged): Friedman "
            f"chi2({test.df}) = {test.statistic:.2f}, p {p_text(test.p)}; Iman-Davenport "
            f"F({f.df1}, {f.df2}) = "
            f"{'infinite' if f.statistic == float('inf') else f'{f.statistic:.2f}'}, "
            f"p {p_text(f.p)}"
        )
        if test.p_permutation is not None:
            text += f"; by permutation p {p_text(test.p_permutation)}"
        lines.append(text)
    clusters = {c.cluster.clusters for c in found.reference.values()}
    if clusters and max(clusters) < 6:
        lines.append(
            f"{max(clusters)} noise settings are too few to generalise to another one: claims hold "
            "for these settings, with new seeds"
        )
    if summary.incomplete:
        lines.append(f"Incomplete, left out: {', '.join(summary.incomplete)}")
    return [line for line in lines if line]


def recipes_line(summary: Summary) -> str | None:
    """What a summary over several recipes joins, and how they count."""
    if not summary.designs:
        return None
    return (
        f"Over {'; '.join(summary.designs)}. Recipes count as further cells of a noise setting, as "
        "ratios do: they share its labels and seeds"
    )


def module_lines(found: Modules, protocol: ProtocolFile) -> list[str]:
    """The confirmatory family, and how to read the exploratory columns."""
    size = found.family.size
    refused = [m.name for m in found.by_cluster.members if m.refused]
    lines = [
        f"p: paired sign-flip over (noise, seed) units on these cells, Holm over m = {size}",
        "p over settings: sign-flip with noise settings as the sample, Holm over the same pairs"
        + ("; underpowered for " + ", ".join(refused) if refused else ""),
        f"better/same/worse: Bayesian signed-rank over cells with a region of ±{protocol.rope:g} "
        "points, exploratory",
    ]
    return lines


_SETTINGS = (
    "Settings: columns name the label noise and, after +, what else differs from the usual "
    "training split: class imbalance by the ratio of the largest to the smallest class, corrupted "
    f"images by their share (severity {USUAL_SEVERITY} where none is named). Settings of one label "
    "noise share the random draws of a seed: in tests over several cells they count as one noise "
    "setting, as ratios do"
)


def board_lines(board: Board) -> list[str]:
    """Records used, records left out and why, environments, protocol."""
    excluded = ", ".join(f"{count} {reason}" for reason, count in board.excluded)
    total = sum(count for _, count in board.excluded)
    return [
        f"Records: {board.used} used (digest `{board.digest}`), {total} excluded"
        + (f": {excluded}" if excluded else ""),
        *(
            f"{name.replace('_', ' ').capitalize()}: {', '.join(values)}"
            for name, values in board.environments
        ),
        *([line] if (line := metrics_line(board)) else []),
        *(
            [_SETTINGS]
            if setting_word(n for t in board.tables for n in t.noises) != "noise"
            else []
        ),
        protocol_line(board.protocol),
        *filter_lines(board.protocol),
        *history_lines(board.history),
    ]


def metrics_line(board: Board) -> str | None:
    """Which sets of metrics the records hold, where some hold the first, whose epochs are others.

    Nothing is said where every run of the first set has a fixed number of whole epochs.
    """
    runs = [run for table in board.tables for slots in table.runs.values()
            for run in slots.values() if run.accuracy is not None]  # fmt: skip
    sets = Counter(
        run.record.info.get("metrics", 1) for run in {run.record.key: run for run in runs}.values()
    )
    if not sets[1] or all(t.shared.budget != "samples" for t in board.tables):
        return None
    counts = ", ".join(f"{count} records of set {name}" for name, count in sorted(sets.items()))
    return (
        f"Metrics: {counts}. Set 1 knows epochs begun only, the last of which may be cut to a few "
        "samples; from set 2 on epochs count the last by the share of its plan"
    )
