"""Which row leads, what beats random choice and shorter training, and what loses nearly nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.findings.blocks import Block
from prunebench.leaderboard.findings.model import Claim, Finding, Ground
from prunebench.leaderboard.findings.phrases import (
    DIGITS,
    MOST,
    averaged,
    counted,
    interval_words,
    joined,
    listed,
    points,
)
from prunebench.leaderboard.inference.groups import Groups
from prunebench.leaderboard.number_text import number, p_text
from prunebench.leaderboard.stats import Member
from prunebench.leaderboard.stats.special import t_quantile

#: Methods that choose at random, and full training that ends as early.
RANDOM_CHOICE = ("random", "random-dynamic", "random-batch")
SHORTER = "short-full"
#: Why the letters separate no pair of rows, whatever their values; other families may.
TOO_FEW_RUNS = "the test of all pairs of rows needs more runs"
NON_INFERIORITY = "(Non-inferiority test, Holm within each ratio.)"


def lead(block: Block) -> Finding:
    """The row with the highest mean accuracy among those that prune, and which rows it is
    separated from."""
    ranking = block.summary.ranking
    rows = block.pruning()
    which = "pruning row" if rows else "row"
    if ranking is None and not block.summary.incomplete:
        held = listed(list(block.summary.series))
        return Finding("lead", block.scope, "No row prunes here: nothing is ranked.",
                       f"The board holds {held}." if held else "")  # fmt: skip
    if ranking is None:
        count = counted(len(block.summary.incomplete), "row")
        return Finding("lead", block.scope, "No row has every run: nothing is ranked.",
                       f"Nothing is claimed of {count}.")  # fmt: skip
    rows = rows or list(ranking.labels)
    top, others = rows[0], rows[1:]
    mean = f"{number(ranking.means[top], 1)} %"
    groups = block.groups
    if not others or groups is None:
        text = (f"{top} is the only {which} with every run (mean {block.words} {mean}): there is "
                "nothing to compare it with.")  # fmt: skip
        return Finding("lead", block.scope, text, grounds=_mean(block, top))
    level = [label for label in others if ranking.means[label] == ranking.means[top]]
    head = f"{top} has the highest mean {block.words} of {counted(len(rows), which)} ({mean})"
    if level:
        head = (f"{listed([top, *level])} share the highest mean {block.words} of "
                f"{counted(len(rows), which)} ({mean})")  # fmt: skip
    if groups.underpowered:
        return Finding("lead", block.scope, f"No winner can be named: {TOO_FEW_RUNS}.",
                       f"{head}; not tested. {_refusal(groups)}", grounds=_mean(block, top),
                       **_reach(groups))  # fmt: skip
    tests = {label: _test(block, groups, top, label) for label in others}
    behind = [label for label, ground in tests.items() if ground.claimed]
    alone = [label for label in others if label not in behind and _rejected(groups, top, label)]
    open_ = [label for label in others if label not in behind and label not in alone]
    largest = max((tests[label].p or 0.0 for label in behind), default=None)
    it = top if level else "it"
    if not behind:
        none = "is not claimed to" if alone else "does not"
        short = (f"No winner is shown: {head}, and the test of all pairs {none} separate {it} from "
                 "another.")  # fmt: skip
    else:
        below = len(others) - len(level)
        rest = "rows below" if level else "others"
        every = f"all {below} {rest}"
        if below == 1:
            every = "the row below" if level else "the other one"
        some = every if len(behind) == below else f"{len(behind)} of the {below} {rest}"
        short = f"{head}; tests separate {it} from {some}."
    more = []
    if behind and open_:
        more.append(f"Not separated: {listed(open_)}.")
    if alone:
        more.append(f"Separated at the level of the letters alone, which is not claimed here: "
                    f"{listed(alone)}.")  # fmt: skip
    ps = "" if largest is None else f", corrected p up to {p_text(largest)}"
    more.append(_how(groups, ps))
    return Finding("lead", block.scope, short, " ".join(more), "difference" if behind else "",
                   block.level.p, (*_mean(block, top), *tests.values()))  # fmt: skip


def random_choice(block: Block) -> Finding | None:
    """Whether a row beats random choice, and full training that ends early, on as many samples."""
    ranking, groups = block.summary.ranking, block.groups
    rows = [label for label in block.pruning() if block.methods.get(label) not in RANDOM_CHOICE]
    if ranking is None or not rows:
        return None
    question = "Whether a row beats random choice on as many samples"
    budgets = {table.shared.budget for table in block.tables}
    if budgets != {"samples"}:
        return Finding("random choice", block.scope, f"{question} is not tested here.",
                       "Rows of one ratio do not train on equally many samples (budget "
                       f"{joined(sorted(budgets))}).")  # fmt: skip
    controls = [label for label in ranking.labels
                if block.methods.get(label) in (*RANDOM_CHOICE, SHORTER)]  # fmt: skip
    lacking = [
        name for name, methods in (("short-full", (SHORTER,)), ("random choice", RANDOM_CHOICE))
        if not any(block.methods.get(label) in methods for label in controls)
    ]  # fmt: skip
    if len(lacking) == 2 or groups is None:
        return Finding("random choice", block.scope, f"{question} is not known.",
                       "Neither short-full nor random choice has every run here.")  # fmt: skip
    names, best, strongest = joined(controls), rows[0], controls[0]
    gap = averaged([(block.summary.series[best], block.summary.series[strongest])],
                   f"{best} - {strongest}")  # fmt: skip
    of_gap = () if gap is None else (gap,)
    absent = [_absent(block, name) for name in lacking]
    sized = [] if gap is None else [
        f"Highest means: {best} minus {strongest} is {points(gap)} {block.points} "
        f"({interval_words([gap])}; the highest is picked, which flatters it)."
    ]  # fmt: skip
    if groups.underpowered:
        return Finding("random choice", block.scope,
                       f"{question} could not be tested: too few runs.",
                       " ".join([*sized, *absent, _refusal(groups)]), grounds=of_gap,
                       **_reach(groups))  # fmt: skip
    tests = {(row, c): _test(block, groups, row, c) for row in rows for c in controls}
    above = [row for row in rows if all(
        tests[row, c].claimed and (tests[row, c].mean or 0) > 0 for c in controls)]  # fmt: skip
    low = [tests[row, strongest] for row in rows]
    below = [ground for ground in low if ground.claimed and (ground.mean or 0) < 0]
    claim: Claim = "difference" if any(test.claimed for test in tests.values()) else ""
    lies = "lies" if len(below) == 1 else "lie"
    under = [f"By test {len(below)} of {counted(len(rows), 'row')} {lies} below {strongest}."]
    under *= bool(below)
    if above:
        verb = "beats" if len(above) == 1 else "beat"
        return Finding("random choice", block.scope,
                       f"By test {listed(above)} {verb} {names} on as many samples.",
                       " ".join([*under, *absent, _how(groups)]), claim, block.level.p,
                       tuple(tests.values()))  # fmt: skip
    alone = [row for row in rows if all(
        _rejected(groups, row, c) and (tests[row, c].mean or 0) > 0 for c in controls)]  # fmt: skip
    over = [f"{n} above {c}" for c in controls if (n := sum(
        tests[row, c].claimed and (tests[row, c].mean or 0) > 0 for row in rows))]  # fmt: skip
    some = [f"By test, of {counted(len(rows), 'row')}: {joined(over)}."] * bool(over)
    every = {1: "", 2: "both "}.get(len(controls), "all of ")
    letters = ["Above at the level of the letters alone, which is not claimed here: "
               f"{listed(alone)}."] * bool(alone)  # fmt: skip
    return Finding("random choice", block.scope,
                   f"No pruning row is shown to beat {every}{names} on as many samples.",
                   " ".join([*some, *letters, *under, *absent, *sized, _how(groups)]), claim,
                   block.level.p, (*tests.values(), *of_gap))  # fmt: skip


def _above(block: Block, tables: list[Table]) -> list[Ground]:
    """Rows shown to lose less than the margin whose Bonferroni bounds over all tables lie above the
    reference."""
    members = [(table.tests.lossless.tests[member.name], member) for table in tables
               if table.tests.lossless is not None
               for member in table.tests.lossless.family.members
               if block.summary.series[member.name].kind == "method"]  # fmt: skip
    alpha = block.protocol.alpha
    found = []
    for test, member in members:
        if not member.rejected or test.bound is None or test.df is None:
            continue
        se = (test.mean - test.bound) / t_quantile(1 - alpha, test.df)
        low = test.mean - t_quantile(1 - alpha / len(members), test.df) * se
        if low > 0:
            found.append(Ground("interval", member.name, mean=test.mean, low=low))
    return found


def _absent(block: Block, name: str) -> str:
    """That a control is not there, or not with every run."""
    methods = (SHORTER,) if name == SHORTER else RANDOM_CHOICE
    some = any(method in methods for method in block.methods.values())
    return f"{'Without every run' if some else 'Not run'} here: {name}."


def no_loss(block: Block) -> Finding | None:
    """Rows that are shown to lose less than the margin to full training, by ratio."""
    margin = f"{block.protocol.margin:g} {block.points}"
    if not any(s.kind == "method" for s in block.summary.series.values()):
        return None
    tested = [table for table in block.tables if table.tests.lossless is not None]
    if not tested:
        why = "; ".join(dict.fromkeys(_no_test(table) for table in block.tables))
        return Finding("no loss", block.scope,
                       f"Whether a row loses less than {margin} to full training is not known.",
                       f"{why.capitalize()}.")  # fmt: skip
    without: dict[str, list[str]] = defaultdict(list)
    for table in block.tables:
        if table.tests.lossless is None:
            without[_no_test(table)].append(_place(block, table))
    untested = "".join(f"; not tested at {listed(places)}, where {why}"
                       for why, places in without.items())  # fmt: skip
    shown: dict[str, list[str]] = defaultdict(list)
    grounds: list[Ground] = []
    least = 0
    controls: set[str] = set()
    for table in tested:
        found = table.tests.lossless
        assert found is not None
        place = _place(block, table)
        for member in found.family.members:
            control = block.summary.series[member.name].kind == "control"
            if member.rejected and (control or block.methods.get(member.name) in RANDOM_CHOICE):
                controls.add(member.name)
            if block.summary.series[member.name].kind != "method":
                continue
            least += bool(member.refused)
            grounds.append(Ground("test", member.name, found.family.name, member.adjusted,
                                  mean=found.tests[member.name].mean,
                                  low=found.tests[member.name].bound,
                                  claimed=member.rejected))  # fmt: skip
            if member.rejected:
                shown[place].append(member.name)
    if grounds and least == len(grounds):
        return Finding("no loss", block.scope, f"Whether a row loses less than {margin} to full "
                       "training could not be tested: too few runs.", NON_INFERIORITY,
                       grounds=tuple(grounds))  # fmt: skip
    refused = [f"{least} of {counted(len(grounds), 'test')} could not be run."] * bool(least)
    more = " ".join([*refused, NON_INFERIORITY])
    if not shown:
        return Finding("no loss", block.scope, "No pruning row is shown to lose less than "
                       f"{margin} to full training{untested}.", more, "", block.protocol.alpha,
                       tuple(grounds))  # fmt: skip
    above = _above(block, tested)
    if above:
        low = sorted(ground.low or 0.0 for ground in above)
        ends = [number(end, DIGITS, signed=True) for end in (low[0], low[-1])]
        names = listed(list(dict.fromkeys(ground.what for ground in above)))
        more = (f"Above full training by one-sided bounds for {len(grounds)} rows at once: {names} "
                f"({' to '.join(dict.fromkeys(ends))} points at least; no family of the protocol "
                f"tests this, and no difference is claimed). {more}")  # fmt: skip
        grounds += above
    if controls:
        more = (
            f"Among those for which this is shown are controls: {listed(sorted(controls))}. {more}"
        )
    parts = [f"{listed(rows)} at {place}" for place, rows in shown.items()]
    if len(parts) > MOST + 1:
        parts = [*parts[:MOST], f"rows of {len(parts) - MOST} more tables"]
    return Finding("no loss", block.scope, f"Shown to lose less than {margin} to full training: "
                   f"{'; '.join(parts)}{untested}.", more, "no loss", block.protocol.alpha,
                   tuple(grounds))  # fmt: skip


def _no_test(table: Table) -> str:
    """Why no row of a table was tested against full training."""
    whole = {row.kind for row in table.rows}
    if {"full", "method"} <= whole:
        return "no row has two seeds of one setting beside full training"
    if "full" in whole:
        return "no pruning row has every run"
    some = any(row.kind == "full" for row in table.incomplete)
    return "full training lacks runs" if some else "full training was not run"


def _place(block: Block, table: Table) -> str:
    place = f"ratio {table.ratio:g}"
    several = len({other.dataset for other in block.tables}) > 1
    return f"{table.dataset}, {place}" if several else place


def _refusal(groups: Groups) -> str:
    """How far the test of one pair is from what the family needs."""
    return (f"(One of {counted(groups.pairwise.family.size, 'pair')} needs p "
            f"{p_text(groups.needed_p)}; these runs reach {p_text(groups.smallest_p)} at "
            "best.)")  # fmt: skip


def _reach(groups: Groups) -> dict[str, Any]:
    """The same as fields of a finding."""
    return {"needed_p": groups.needed_p, "smallest_p": groups.smallest_p}


def _mean(block: Block, label: str) -> tuple[Ground, ...]:
    ranking = block.summary.ranking
    assert ranking is not None
    return (Ground("mean", label, mean=ranking.means[label]),)


def _how(groups: Groups, p: str = "") -> str:
    """The test of pairs of rows."""
    return f"(Paired sign-flip, Holm over {counted(groups.pairwise.family.size, 'pair')}{p}.)"


def _member(groups: Groups, a: str, b: str) -> Member:
    pairs = groups.pairwise
    name = f"{a} - {b}" if (a, b) in pairs.tests else f"{b} - {a}"
    return next(m for m in pairs.family.members if m.name == name)


def _rejected(groups: Groups, a: str, b: str) -> bool:
    return _member(groups, a, b).rejected


def _test(block: Block, groups: Groups, a: str, b: str) -> Ground:
    """The letters' test of two rows; its mean is a - b."""
    pairs, member = groups.pairwise, _member(groups, a, b)
    mean = pairs.tests[a, b].statistic if (a, b) in pairs.tests else -pairs.tests[b, a].statistic
    return Ground("test", f"{a} - {b}", pairs.family.name, member.adjusted, mean=mean,
                  claimed=block.level.claims(member))  # fmt: skip
