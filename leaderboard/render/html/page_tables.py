"""The page's tables: what each cell shows, sorts by and explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prunebench.leaderboard.board.labels import decimals, setting_word
from prunebench.leaderboard.board.model import Row, Summary, Table, TableCell
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.inference.compare import Comparison
from prunebench.leaderboard.inference.rankings import Module, Modules
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.about import methods_of
from prunebench.leaderboard.render.html.page_table import (
    DOWN,
    NONE,
    Difference,
    PageCell,
    PageColumn,
    PageRow,
    PageTable,
    bars,
    ends_of,
    figure,
    record,
    wins,
)
from prunebench.leaderboard.render.html.tooltips import (
    TableFacts,
    Tips,
    column_facts,
    comparison_facts,
    corrected,
    group_facts,
)
from prunebench.leaderboard.render.legend import rank_words
from prunebench.leaderboard.render.method_years import years
from prunebench.leaderboard.render.prediction_text import HEADS, prediction_cells
from prunebench.leaderboard.render.row_text import (
    better_or_worse,
    bold,
    chooses,
    epoch_heads,
    epochs,
    flags,
    further,
    further_heads,
    has_diagnostics,
    interval,
    kept,
    letters,
    lossless,
    missing,
    number,
    p_text,
    ran_by,
    rank,
    realised,
    signs,
    span,
    summary_rank,
    time,
)
from prunebench.leaderboard.render.score_share import PARTS, parts_of, share_text, shares_of

COSTS = (
    PageColumn("ratio", "cost", about="share of training saved, as realised", more=True),
    PageColumn("compute", "cost", first=DOWN, more=True,
               about="share saved, a forward-only pass counted as a third"),
)  # fmt: skip


def accuracy_table(
    table: Table, protocol: ProtocolFile, noises: Sequence[str], tips: Tips
) -> PageTable:
    """The table of one (data set, ratio).

    Args:
        table: The table.
        protocol: Its protocol.
        noises: Noise settings of the whole board, whose place names a column's switch.
        tips: Receives the tooltips.
    """
    return _AccuracyTable(table, protocol, noises, tips).page_table()


class _AccuracyTable:
    def __init__(
        self, table: Table, protocol: ProtocolFile, noises: Sequence[str], tips: Tips
    ) -> None:
        self.table, self.protocol, self.tips = table, protocol, tips
        self.words = words_of(protocol.metric)
        self.group = [f"n{noises.index(noise)}" for noise in table.noises]
        self.facts = TableFacts(table, protocol)
        self.digits = decimals(table.shared.test_size)
        self.ranking = table.tests.ranking
        self.ranks = self.ranking.mean_ranks if self.ranking else {}
        groups = self.ranking.groups if self.ranking else None
        self.groups = None if groups is None or groups.underpowered else groups
        self.apart = group_facts(self.groups) if self.groups else {}
        everyone = (*table.rows, *table.incomplete)
        self.against = self.ranking.reference if self.ranking else {}
        known = {row.label: self._ends(row) for row in everyone}
        self.bars = dict(zip(known, bars(known.values()), strict=True))
        self.years, self.methods = years(table), methods_of(table)
        self.several = len(table.noises) > 1
        self.clean = any(row.clean_labels for row in everyone)
        self.timed = any(row.time for row in everyone)
        self.named = any(row.ran_by for row in everyone)
        self.chosen = chooses(everyone)
        cells = [[row.cells[place] for row in everyone] for place in range(len(table.noises))]
        self.spread = [any(c and c.accuracy.half_width is not None for c in cs) for cs in cells]

    def page_table(self) -> PageTable:
        return PageTable(
            "method",
            tuple(self._columns()),
            tuple(self._line(row) for row in self.table.rows),
            tuple(self._line(row) for row in self.table.incomplete),
        )

    def _columns(self) -> list[PageColumn]:
        """What a first look needs, then the accuracies by noise setting, wins and costs."""
        reference = self.protocol.reference
        columns = [PageColumn("year", "year", about="of the method's paper")] * bool(self.years)
        columns.append(rank_column(self.protocol))
        if self.several:
            columns.append(PageColumn("mean", first=DOWN, about="mean over the noise settings"))
        columns.append(PageColumn(f"difference to {reference} [95\u00a0%]", first=DOWN,
                                  about="mean paired difference over these cells"))  # fmt: skip
        if self.groups:
            columns.append(PageColumn("group", text=True, about="a shared letter: not separable"))
        columns += [PageColumn("missing", text=True)] * bool(self.table.incomplete)
        columns += [self._noise(place) for place in range(len(self.table.noises))]
        columns += [*win_columns(reference), *COSTS]
        columns += [PageColumn("time", "cost", about="over full training's", more=True)] * (
            self.timed)  # fmt: skip
        columns += [PageColumn("choice s", "cost", about="of a static subset", more=True)] * (
            self.chosen)  # fmt: skip
        columns.append(PageColumn("n", first=DOWN, about="seeds per noise setting", more=True))
        columns += [PageColumn("clean labels", "cost", text=True, more=True)] * self.clean
        return columns + [PageColumn("ran by", text=True)] * self.named

    def _noise(self, place: int) -> PageColumn:
        noise, found = self.table.noises[place], self.table.tests.columns[place]
        note = f"⚠ n = {found.seeds}" if found is not None and not found.best else ""
        tip = self.tips.add(noise, column_facts(found))
        return PageColumn(noise, self.group[place], first=DOWN, note=note, tip=tip,
                          more=self.several)  # fmt: skip

    def _line(self, row: Row) -> PageRow:
        against, table = self.against.get(row.label), self.table
        entries: list[PageCell] = []
        if self.years:
            year = self.years.get(row.label)
            entries.append(NONE if year is None else PageCell(str(year), float(year)))
        entries.append(self._rank(row))
        entries += [figure(row.mean, self.digits)] * self.several
        entries.append(self._difference(row, against))
        if self.groups:
            group = letters(table, row)
            tip = self.tips.add(f"{row.label}: {group}", self.apart.get(row.label, []))
            entries.append(PageCell(group, group, tip=tip) if group else NONE)
        if table.incomplete:
            entries.append(PageCell(missing(row), tone="prose") if row.missing else NONE)
        entries += [self._accuracy(row, place) for place in range(len(table.noises))]
        entries += [*wins(against), PageCell(realised(row), row.realised), figure(row.compute, 2)]
        entries += [self._time(row)] * self.timed + [figure(row.choice_s, 1)] * self.chosen
        entries.append(PageCell(span(*row.seeds), float(row.seeds[0])))
        clean = row.clean_labels + " §" * row.leaks or "none"
        entries += [PageCell(clean, tone="prose")] * self.clean
        entries += [PageCell(ran_by(row) or "-", tone="prose")] * self.named
        tip = self.tips.add(row.label, self.facts.row(row))
        reference = row.label == self.protocol.reference
        method = self.methods.get(row.label, "")
        return PageRow(row.label, row.kind, _flags(row), tuple(entries), tip, reference, method)

    def _rank(self, row: Row) -> PageCell:
        place = self.ranks.get(row.label)
        tip = self.tips.add(f"{row.label}: rank", [
            (f"mean {self.words}, by which rows are ranked", number(row.mean, 2)),
            ("mean rank over the noise settings, controls included", number(place, 2)),
        ]) if place is not None else None  # fmt: skip
        if row.rank is None:
            return PageCell("-", tone="none", tip=tip)
        return PageCell(rank(row), float(row.rank), tip=tip)

    def _accuracy(self, row: Row, place: int) -> PageCell:
        cell, table = row.cells[place], self.table
        tip = self.tips.cell(self.facts, row, place)
        if cell is None:
            return PageCell("-", tone="none", tip=tip)
        half, raised = cell.accuracy.half_width, cell.difference
        return PageCell(
            number(cell.accuracy.mean, self.digits),
            cell.accuracy.mean,
            bold=bold(table, row, place),
            raised=number(raised.mean, self.digits, signed=True) if raised else "",
            spread=("" if half is None else f"±{number(half, self.digits)}")
            if self.spread[place]
            else None,
            signs=signs(table, row, place),
            tone={"*": "good", "†": "bad"}.get(better_or_worse(table, row, place), ""),
            tip=tip,
        )

    def _difference(self, row: Row, against: Comparison | None) -> PageCell:
        if row.label == self.protocol.reference:
            return PageCell("reference", tone="none", bar=self.bars[row.label])
        if against is None:
            text = number(row.difference, self.digits, signed=True)
            tone = "" if row.difference is not None else "none"
            return PageCell(text, row.difference, tone=tone, bar=self.bars[row.label])
        pooled = against.pooled
        facts = comparison_facts(against, self.protocol) + self.facts.lossless(row.label)
        return PageCell(
            interval(pooled.mean, pooled.low, pooled.high, self.digits),
            pooled.mean,
            lead=lossless(self.table, row),
            tip=self.tips.add(f"{against.a} - {against.b}", facts),
            bar=self.bars[row.label],
        )

    def _ends(self, row: Row) -> Difference | None:
        if row.label == self.protocol.reference:
            return 0.0, None, None
        alone = None if row.difference is None else (row.difference, None, None)
        return ends_of(self.against.get(row.label)) or alone

    def _time(self, row: Row) -> PageCell:
        found = row.time
        if found is None:
            return NONE
        ends = "" if found.low is None else (
            f"{number(found.low, 2)} to {number(found.high, 2)}")  # fmt: skip
        spread = "" if found.spread is None else number(found.spread, 1) + " ⚠" * found.unsteady
        tip = self.tips.add(f"{row.label}: training time", [
            ("over full training's", number(found.ratio, 2)), ("95 % interval", ends),
            ("pairs", str(found.n)), ("measured on", found.machine),
            ("longest over shortest epoch", spread)])  # fmt: skip
        return PageCell(time(row), found.ratio, tip=tip)


def rank_column(protocol: ProtocolFile) -> PageColumn:
    """The one rank, and what it is by."""
    return PageColumn("rank", note="by mean", about=rank_words(protocol))


def win_columns(reference: str) -> list[PageColumn]:
    """Heads of ``wins``."""
    return [
        PageColumn("W/T/L", first=DOWN, more=True,
                   about=f"cells won, tied and lost against {reference}"),
        PageColumn("P(better)", first=DOWN, more=True,
                   about=f"paired runs that beat {reference}'s"),
    ]  # fmt: skip


def diagnostics_table(table: Table, noises: Sequence[str]) -> PageTable | None:
    """Noise among the kept samples, AUROC, worst class, steps; None where nothing is known."""
    columns = [PageColumn(n, f"n{noises.index(n)}", first="ascending") for n in table.noises]
    shown = [row for row in (*table.rows, *table.incomplete) if has_diagnostics(row)]
    heads = epoch_heads(shown)
    more = further_heads(shown)
    columns += [PageColumn(name, first=DOWN) for name in more]
    columns += [*map(PageColumn, heads), PageColumn("steps")]
    lines = []
    for row in shown:
        entries = [PageCell(kept(cell), _rate(cell)) for cell in row.cells]
        entries += [figure(further(row, name), 1) for name in more]
        entries += [*(figure(epochs(row, name), 1) for name in heads), figure(row.steps, 0)]
        lines.append(PageRow(row.label, row.kind, _flags(row), tuple(entries)))
    return PageTable("method", tuple(columns), tuple(lines)) if lines else None


def _rate(cell: TableCell | None) -> float | None:
    """By which a column of diagnostics is sorted: noise, else corrupted images, among the kept."""
    if cell is None:
        return None
    found = cell.kept_noise or (cell.corrupted and cell.corrupted.rate)
    return found.mean if found else None


def _flags(row: Row) -> tuple[str, ...]:
    return (*["control"] * (row.kind == "control"), *flags(row))


def summary_table(
    summary: Summary, protocol: ProtocolFile, digits: int, tips: Tips
) -> PageTable | None:
    """Rows that are complete at every ratio; None where there are none."""
    found = summary.ranking
    if found is None:
        return None
    groups = found.groups if found.groups and not found.groups.underpowered else None
    apart = group_facts(groups) if groups else {}
    columns = [
        rank_column(protocol),
        PageColumn("mean", first=DOWN, about=f"mean {words_of(protocol.metric)} over all cells"),
        PageColumn("difference [these cells]", first=DOWN, about="95 % interval for new seeds"),
        *[PageColumn("group", text=True, about="a shared letter: not separable")] * bool(groups),
        PageColumn("difference [such settings]", first=DOWN, more=True,
                   about="95 % interval for another noise setting of this kind"),
        *win_columns(protocol.reference),
    ]  # fmt: skip
    ends = {label: ends_of(found.reference.get(label)) for label in found.labels}
    if protocol.reference in ends:
        ends[protocol.reference] = 0.0, None, None
    scaled = dict(zip(ends, bars(ends.values()), strict=True))
    lines = []
    for label in found.labels:
        against = found.reference.get(label)
        letters = groups.letters_of(label) if groups else ""
        tip = tips.add(f"{label}: {letters}", apart.get(label, []))
        these, settings = _claims(against, label, protocol, digits, tips)
        place, _ = summary.ranks.get(label, (None, False))
        entries = [
            NONE if place is None else PageCell(summary_rank(summary, label), float(place)),
            figure(found.means[label], digits),
            replace(these, bar=scaled[label]),
            *[PageCell(letters or "-", letters, tip=tip)] * bool(groups),
            settings,
            *wins(against),
        ]
        kind = summary.series[label].kind
        flags = ("control",) if kind == "control" else ()
        reference = label == protocol.reference
        lines.append(PageRow(label, kind, flags, tuple(entries), reference=reference))
    return PageTable("method", tuple(columns), tuple(lines))


def _claims(
    against: Comparison | None, label: str, protocol: ProtocolFile, digits: int, tips: Tips
) -> list[PageCell]:
    if against is None:
        first = PageCell("reference", tone="none") if label == protocol.reference else NONE
        return [first, NONE]
    pooled, cluster = against.pooled, against.cluster
    tip = tips.add(f"{against.a} - {against.b}", comparison_facts(against, protocol))
    return [
        PageCell(interval(pooled.mean, pooled.low, pooled.high, digits), pooled.mean, tip=tip),
        PageCell(interval(cluster.mean, cluster.low, cluster.high, digits), cluster.mean,
              tone="none" if cluster.too_few else "", tip=tip),
    ]  # fmt: skip


def shares_table(summary: Summary) -> PageTable | None:
    """What scores, samplers and both together explain; None without a grid of them."""
    lines = [
        PageRow(noise, "method", (), (
            PageCell(f"{ratio:g}", ratio),
            *(PageCell(share_text(share), share.value) for share in parts_of(found)),
        ))
        for noise, ratio, found in shares_of(summary)
    ]  # fmt: skip
    columns = [PageColumn("ratio"), *(PageColumn(part, first=DOWN) for part in PARTS)]
    word = setting_word(summary.noises)
    return PageTable(word, tuple(columns), tuple(lines)) if lines else None


def predictions_table(summary: Summary) -> PageTable:
    """What was predicted of variants, beside what the rows show."""
    columns = tuple(PageColumn(head, text=place > 3) for place, head in enumerate(HEADS))
    return PageTable("variant", columns, tuple(
        PageRow(found.prediction.variant, "method", (), tuple(
            PageCell(text, found.mean if head.startswith("found") else None)
            for head, text in zip(HEADS, prediction_cells(found), strict=True)
        ))
        for found in summary.predictions
    ))  # fmt: skip


def modules_table(found: Modules, protocol: ProtocolFile, tips: Tips) -> PageTable:
    """Base methods with and without AlignPrune, and planned pairs."""
    columns = (
        PageColumn("difference [95\u00a0%]", first=DOWN,
                   about="over the common cells, for new seeds"),
        PageColumn("p", about="paired sign-flip over (noise, seed) units"),
        PageColumn("p, Holm", about="corrected over the pairs of this table"),
        PageColumn("p over settings, Holm", about="noise settings as the sample"),
        PageColumn("W/T/L", first=DOWN, about="cells won, tied and lost"),
        PageColumn("within ROPE", about=f"cells within ±{protocol.rope:g} points"),
        PageColumn("P(better)", first=DOWN, about="of paired runs"),
        PageColumn("better/same/worse", first=DOWN, note="exploratory",
               about="Bayesian signed-rank probabilities"),
    )  # fmt: skip
    return PageTable("pair", columns, tuple(_module(m, found, protocol, tips) for m in found.pairs))


def _module(module: Module, found: Modules, protocol: ProtocolFile, tips: Tips) -> PageRow:
    c, bayes = module.comparison, module.bayes
    name = f"{c.a} - {c.b}"
    pooled = next(m for m in found.family.members if m.name == name)
    cluster = next(m for m in found.by_cluster.members if m.name == name)
    tip = tips.add(name, comparison_facts(c, protocol))
    sign, tone = ("*", "good") if c.pooled.mean > 0 else ("†", "bad")
    p_tip = tips.add(f"{name}: these cells", corrected(pooled, found.family))
    s_tip = tips.add(f"{name}: noise settings as a sample", corrected(cluster, found.by_cluster))
    reading = NONE
    if bayes:
        shares = "/".join(number(x, 2) for x in (bayes.better, bayes.equivalent, bayes.worse))
        facts = [("verdict", bayes.verdict), ("region", f"±{bayes.rope:g} points")]
        reading = PageCell(shares, bayes.better, tip=tips.add(f"{name}: exploratory", facts))
    entries = (
        PageCell(interval(c.pooled.mean, c.pooled.low, c.pooled.high, 2), c.pooled.mean,
              tone=f"{tone} whole" if pooled.rejected else "", tip=tip),
        PageCell(p_text(pooled.p) if pooled.p is not None else "underpowered", pooled.p,
              tone="" if pooled.p is not None else "none", tip=p_tip),
        *(
            PageCell("underpowered", tone="none", tip=link) if m.adjusted is None
            else PageCell(p_text(m.adjusted), m.adjusted,
                          signs=sign if m.rejected else None, tip=link)
            for m, link in ((pooled, p_tip), (cluster, s_tip))
        ),
        record(c),
        PageCell(str(c.equivalent), float(c.equivalent)),
        figure(c.improvement, 2),
        reading,
    )  # fmt: skip
    return PageRow(name, "method", (), entries)
