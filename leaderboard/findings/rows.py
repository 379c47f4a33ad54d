"""Which row leads, what beats random choice and shorter training, and what loses nearly nothing."""

from __future__ import annotations

from collections import defaultdict

from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.findings.blocks import Block
from prunebench.leaderboard.findings.model import Claim, Finding, Ground
from prunebench.leaderboard.findings.phrases import (
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

#: Methods that choose at random, and full training that ends as early.
RANDOM_CHOICE = ("random", "random-dynamic", "random-batch")
SHORTER = "short-full"
#: Why no pair of rows can be separated, whatever their values.
TOO_FEW_RUNS = "with so few runs no test could tell two rows apart"
NON_INFERIORITY = "(Non-inferiority test, Holm within each ratio.)"


def lead(block: Block) -> Finding:
    """The row with the highest mean accuracy among those that prune, and which rows it is
    separated from."""
    ranking = block.summary.ranking
    rows = block.pruning()
    which = "pruning row" if rows else "row"
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
        return Finding("lead", block.scope, text)
    level = [label for label in others if ranking.means[label] == ranking.means[top]]
    head = f"{top} has the highest mean {block.words} of {counted(len(rows), which)} ({mean})"
    if level:
        head = (f"{joined([top, *level[:MOST]])} share the highest mean {block.words} of "
                f"{counted(len(rows), which)} ({mean})")  # fmt: skip
    if groups.underpowered:
        return Finding("lead", block.scope, f"No winner can be named: {TOO_FEW_RUNS}.",
                       f"{head}; that may be chance. {_refusal(groups)}")  # fmt: skip
    tests = {label: _test(block, groups, top, label) for label in others}
    behind = [label for label, ground in tests.items() if ground.claimed]
    alone = [label for label in others if label not in behind and _rejected(groups, top, label)]
    open_ = [label for label in others if label not in behind and label not in alone]
    largest = max((tests[label].p or 0.0 for label in behind), default=None)
    it = top if level else "it"
    if not behind:
        none = "no test is claimed to separate" if alone else "no test separates"
        short = f"No winner is shown: {head}, and {none} {it} from another."
    elif len(behind) == len(others):
        every = "the other one" if len(others) == 1 else f"all {len(others)} others"
        short = f"{head}; tests separate {it} from {every}."
    else:
        short = f"{head}; tests separate {it} from {len(behind)} of the {len(others)} others."
    more = []
    if behind and open_:
        more.append(f"Not separated: {listed(open_)}.")
    if alone:
        more.append(f"Separated at the level of the letters alone, which is not claimed here: "
                    f"{listed(alone)}.")  # fmt: skip
    ps = "" if largest is None else f", corrected p up to {p_text(largest)}"
    more.append(_how(groups, ps))
    return Finding("lead", block.scope, short, " ".join(more), "difference" if behind else "",
                   block.level.p, tuple(tests.values()))  # fmt: skip


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
    absent = [f"Without every run here: {name}." for name in lacking]
    sized = [] if gap is None else [
        f"Highest means: {best} minus {strongest} is {points(gap)} {block.points} "
        f"({interval_words([gap])}; the highest is picked, which flatters it)."
    ]  # fmt: skip
    if groups.underpowered:
        return Finding("random choice", block.scope,
                       f"{question} could not be tested: too few runs.",
                       " ".join([*sized, *absent, _refusal(groups)]), grounds=of_gap)  # fmt: skip
    tests = {(row, c): _test(block, groups, row, c) for row in rows for c in controls}
    above = [row for row in rows if all(
        tests[row, c].claimed and (tests[row, c].mean or 0) > 0 for c in controls)]  # fmt: skip
    low = [tests[row, strongest] for row in rows]
    below = [ground for ground in low if ground.claimed and (ground.mean or 0) < 0]
    claim: Claim = "difference" if above or below else ""
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
    every = {1: "", 2: "both "}.get(len(controls), "all of ")
    letters = ["Above at the level of the letters alone, which is not claimed here: "
               f"{listed(alone)}."] * bool(alone)  # fmt: skip
    return Finding("random choice", block.scope,
                   f"No pruning row is shown to beat {every}{names} on as many samples.",
                   " ".join([*letters, *under, *absent, *sized, _how(groups)]), claim,
                   block.level.p, (*tests.values(), *of_gap))  # fmt: skip


def no_loss(block: Block) -> Finding | None:
    """Rows that are shown to lose less than the margin to full training, by ratio."""
    margin = f"{block.protocol.margin:g} {block.points}"
    if not any(s.kind == "method" for s in block.summary.series.values()):
        return None
    tested = [table for table in block.tables if table.tests.lossless is not None]
    if not tested:
        return Finding("no loss", block.scope,
                       f"Whether a row loses less than {margin} to full training is not known.",
                       "Full training is missing or incomplete.")  # fmt: skip
    other = [_place(block, table) for table in block.tables if table.tests.lossless is None]
    untested = f"; not tested at {listed(other)}, where full training lacks runs" if other else ""
    shown: dict[str, list[str]] = defaultdict(list)
    grounds: list[Ground] = []
    least = 0
    for table in tested:
        found = table.tests.lossless
        assert found is not None
        place = _place(block, table)
        for member in found.family.members:
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
                       "training could not be tested: too few runs.", NON_INFERIORITY, "",
                       block.protocol.alpha, tuple(grounds))  # fmt: skip
    refused = [f"{least} of {counted(len(grounds), 'test')} could not be run."] * bool(least)
    more = " ".join([*refused, NON_INFERIORITY])
    if not shown:
        return Finding("no loss", block.scope, "No pruning row is shown to lose less than "
                       f"{margin} to full training{untested}.", more, "", block.protocol.alpha,
                       tuple(grounds))  # fmt: skip
    parts = [f"{listed(rows)} at {place}" for place, rows in shown.items()]
    if len(parts) > MOST + 1:
        parts = [*parts[:MOST], f"rows of {len(parts) - MOST} more tables"]
    return Finding("no loss", block.scope, f"Shown to lose less than {margin} to full training: "
                   f"{'; '.join(parts)}{untested}.", more, "no loss", block.protocol.alpha,
                   tuple(grounds))  # fmt: skip


def _place(block: Block, table: Table) -> str:
    place = f"ratio {table.ratio:g}"
    several = len({other.dataset for other in block.tables}) > 1
    return f"{table.dataset}, {place}" if several else place


def _refusal(groups: Groups) -> str:
    """How far the test of one pair is from what the family needs."""
    return (f"(One of {counted(groups.pairwise.family.size, 'pair')} needs p "
            f"{p_text(groups.needed_p)}; these runs reach {p_text(groups.smallest_p)} at "
            "best.)")  # fmt: skip


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
