"""The page's tables over all ratios: ranking and module effect."""

from __future__ import annotations

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.inference.compare import Comparison
from prunebench.leaderboard.inference.summary import Module, Modules
from prunebench.leaderboard.protocol_file import Settings
from prunebench.leaderboard.render.html.parts import (
    DOWN,
    NONE,
    Column,
    Entry,
    Grid,
    Line,
    figure,
    record,
    wins,
)
from prunebench.leaderboard.render.html.tips import Tips, comparison_facts, corrected, group_facts
from prunebench.leaderboard.render.row_text import interval, number, p_text


def summary_grid(summary: Summary, settings: Settings, digits: int, tips: Tips) -> Grid | None:
    """Rows that are complete at every ratio; None where there are none."""
    found = summary.ranking
    if found is None:
        return None
    groups = found.groups if found.groups and not found.groups.underpowered else None
    apart = group_facts(groups) if groups else {}
    columns = [
        Column("mean", first=DOWN, about="mean accuracy over all cells"),
        Column("difference [these cells]", first=DOWN, about="95 % interval for new seeds"),
        Column("difference [such settings]", first=DOWN,
               about="95 % interval for another noise setting of this kind"),
        Column("mean rank", about="over noise settings, ratios averaged"),
        *[Column("group", text=True, about="a shared letter: not separable")] * bool(groups),
        Column("W/T/L", first=DOWN, about=f"cells won, tied and lost against {settings.reference}"),
        Column("P(better)", first=DOWN, about=f"paired runs that beat {settings.reference}'s"),
    ]  # fmt: skip
    lines = []
    for label in found.labels:
        against, ranks = found.reference.get(label), found.mean_ranks.get(label)
        letters = groups.letters_of(label) if groups else ""
        tip = tips.add(f"{label}: {letters}", apart.get(label, []))
        entries = [
            figure(found.means[label], digits),
            *_claims(against, label, settings, digits, tips),
            figure(ranks, 2),
            *[Entry(letters or "-", letters, tip=tip)] * bool(groups),
            *wins(against),
        ]
        kind = summary.series[label].kind
        flags = ("control",) if kind == "control" else ()
        reference = label == settings.reference
        lines.append(Line(label, kind, flags, tuple(entries), reference=reference))
    return Grid("method", tuple(columns), tuple(lines))


def _claims(
    against: Comparison | None, label: str, settings: Settings, digits: int, tips: Tips
) -> list[Entry]:
    if against is None:
        first = Entry("reference", tone="none") if label == settings.reference else NONE
        return [first, NONE]
    pooled, cluster = against.pooled, against.cluster
    tip = tips.add(f"{against.a} - {against.b}", comparison_facts(against, settings))
    return [
        Entry(interval(pooled.mean, pooled.low, pooled.high, digits), pooled.mean, tip=tip),
        Entry(interval(cluster.mean, cluster.low, cluster.high, digits), cluster.mean,
              tone="none" if cluster.too_few else "", tip=tip),
    ]  # fmt: skip


def modules_grid(found: Modules, settings: Settings, tips: Tips) -> Grid:
    """Base methods with and without AlignPrune, and planned pairs."""
    columns = (
        Column("difference [95\u00a0%]", first=DOWN, about="over the common cells, for new seeds"),
        Column("p", about="paired sign-flip over (noise, seed) units"),
        Column("p, Holm", about="corrected over the pairs of this table"),
        Column("p over settings, Holm", about="noise settings as the sample"),
        Column("W/T/L", first=DOWN, about="cells won, tied and lost"),
        Column("within ROPE", about=f"cells within ±{settings.rope:g} points"),
        Column("P(better)", first=DOWN, about="of paired runs"),
        Column("better/same/worse", first=DOWN, note="exploratory",
               about="Bayesian signed-rank probabilities"),
    )  # fmt: skip
    return Grid("pair", columns, tuple(_module(m, found, settings, tips) for m in found.pairs))


def _module(module: Module, found: Modules, settings: Settings, tips: Tips) -> Line:
    c, bayes = module.comparison, module.bayes
    name = f"{c.a} - {c.b}"
    pooled = next(m for m in found.family.members if m.name == name)
    cluster = next(m for m in found.by_cluster.members if m.name == name)
    tip = tips.add(name, comparison_facts(c, settings))
    sign, tone = ("*", "good") if c.pooled.mean > 0 else ("†", "bad")
    p_tip = tips.add(f"{name}: these cells", corrected(pooled, found.family))
    s_tip = tips.add(f"{name}: noise settings as a sample", corrected(cluster, found.by_cluster))
    reading = NONE
    if bayes:
        shares = "/".join(number(x, 2) for x in (bayes.better, bayes.equivalent, bayes.worse))
        facts = [("verdict", bayes.verdict), ("region", f"±{bayes.rope:g} points")]
        reading = Entry(shares, bayes.better, tip=tips.add(f"{name}: exploratory", facts))
    entries = (
        Entry(interval(c.pooled.mean, c.pooled.low, c.pooled.high, 2), c.pooled.mean,
              tone=f"{tone} whole" if pooled.rejected else "", tip=tip),
        Entry(p_text(pooled.p) if pooled.p is not None else "underpowered", pooled.p,
              tone="" if pooled.p is not None else "none", tip=p_tip),
        *(
            Entry("underpowered", tone="none", tip=link) if m.adjusted is None
            else Entry(p_text(m.adjusted), m.adjusted, signs=sign if m.rejected else None, tip=link)
            for m, link in ((pooled, p_tip), (cluster, s_tip))
        ),
        record(c),
        Entry(str(c.equivalent), float(c.equivalent)),
        figure(c.improvement, 2),
        reading,
    )  # fmt: skip
    return Line(name, "method", (), entries)
