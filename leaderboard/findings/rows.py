"""Which row leads, what beats random choice and shorter training, and what loses nearly nothing."""

from __future__ import annotations

from collections import defaultdict

from prunebench.leaderboard.findings.blocks import Block
from prunebench.leaderboard.findings.model import Claim, Finding, Ground
from prunebench.leaderboard.findings.phrases import (
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


def lead(block: Block) -> Finding:
    """The row with the highest mean among those that prune, and which rows it is separated from."""
    ranking = block.summary.ranking
    rows = block.pruning()
    which = "rows that prune" if rows else "rows"
    if ranking is None:
        count = counted(len(block.summary.incomplete), "row")
        text = f"No row has every run: nothing is ranked, and nothing is claimed of {count}."
        return Finding("lead", block.scope, text)
    rows = rows or list(ranking.labels)
    top, others = rows[0], rows[1:]
    mean = f"{number(ranking.means[top], 1)} %"
    groups = block.groups
    if not others or groups is None:
        text = (f"{top} is the only {which.replace('rows', 'row').replace('prune', 'prunes')} "
                f"with every run: mean {block.words} {mean}, "
                "and nothing to compare it with.")  # fmt: skip
        return Finding("lead", block.scope, text)
    level = [label for label in others if ranking.means[label] == ranking.means[top]]
    head = f"{top} has the highest mean {block.words} of {len(rows)} {which} ({mean})"
    if level:
        head = (f"{joined([top, *level[:3]])} have the same highest mean {block.words} of "
                f"{len(rows)} {which} ({mean})")  # fmt: skip
    refusal = _refusal(groups)
    if refusal:
        text = f"{head}, but {refusal}: the order of the rows is no finding."
        return Finding("lead", block.scope, text)
    tests = {label: _test(block, groups, top, label) for label in others}
    behind = [label for label, ground in tests.items() if ground.claimed]
    alone = [label for label in others if label not in behind and _rejected(groups, top, label)]
    open_ = [label for label in others if label not in behind and label not in alone]
    largest = max((tests[label].p or 0.0 for label in behind), default=None)
    it = f"and {top}" if level else "and"
    if not behind:
        none = "claimed to differ from" if alone else "separated from"
        said = f"{it} is {none} none of the others: no winner is shown"
    elif len(behind) == len(others):
        said = f"{it} is separated from {'the other one' * (len(others) == 1)}"
        said += f"all of the {len(others)} others" * (len(others) > 1)
    else:
        said = f"{it} is separated from {len(behind)} of the {len(others)} others"
    if behind and open_:
        said += f" but not from {listed(open_)}"
    if alone:
        said += f"; {listed(alone)} differ{'s' * (len(alone) == 1)} at the level of the letters "
        said += "alone, which is not claimed here"
    size = groups.pairwise.family.size
    ps = "" if largest is None else f", corrected p up to {p_text(largest)}"
    text = f"{head}, {said} (paired sign-flip, Holm over {counted(size, 'pair')}{ps})."
    return Finding("lead", block.scope, text, "difference" if behind else "", block.level,
                   tuple(tests.values()))  # fmt: skip


def random_choice(block: Block) -> Finding | None:
    """Whether a row beats random choice, and full training that ends early, on as many samples."""
    ranking, groups = block.summary.ranking, block.groups
    rows = [label for label in block.pruning() if block.methods.get(label) not in RANDOM_CHOICE]
    if ranking is None or not rows:
        return None
    budgets = {table.shared.budget for table in block.tables}
    if budgets != {"samples"}:
        text = (f"Rows of one ratio do not train on equally many samples here (budget "
                f"{joined(sorted(budgets))}): whether one beats random choice of as many is not "
                "among the tests.")  # fmt: skip
        return Finding("random choice", block.scope, text)
    controls = [label for label in ranking.labels
                if block.methods.get(label) in (*RANDOM_CHOICE, SHORTER)]  # fmt: skip
    lacking = [
        name for name, methods in (("short-full", (SHORTER,)), ("random choice", RANDOM_CHOICE))
        if not any(block.methods.get(label) in methods for label in controls)
    ]  # fmt: skip
    if len(lacking) == 2 or groups is None:
        text = ("Neither short-full nor random choice has every run here: whether a row beats them "
                "on as many samples is not known.")  # fmt: skip
        return Finding("random choice", block.scope, text)
    absent = "".join(f"; {name} has not every run here" for name in lacking)
    names, best, strongest = joined(controls), rows[0], controls[0]
    gap = averaged([(block.summary.series[best], block.summary.series[strongest])],
                   f"{best} - {strongest}")  # fmt: skip
    of_gap = () if gap is None else (gap,)
    sized = "" if gap is None else (
        f"{best} minus {strongest}, the best mean of each kind, is {points(gap)} "
        f"{block.points} ({interval_words([gap])})"
    )  # fmt: skip
    refusal = _refusal(groups)
    if refusal:
        text = (f"Whether a row beats {names} on as many samples could not be tested: {refusal}"
                f"{absent}{f'; {sized}' * bool(sized)}.")  # fmt: skip
        return Finding("random choice", block.scope, text, grounds=of_gap)
    tests = {(row, c): _test(block, groups, row, c) for row in rows for c in controls}
    above = [row for row in rows if all(
        tests[row, c].claimed and (tests[row, c].mean or 0) > 0 for c in controls)]  # fmt: skip
    low = [tests[row, strongest] for row in rows]
    below = [ground for ground in low if ground.claimed and (ground.mean or 0) < 0]
    grounds = tuple(tests.values())
    claim: Claim = "difference" if above or below else ""
    how = f"(paired sign-flip, Holm over {counted(groups.pairwise.family.size, 'pair')})"
    under = (f"; {len(below)} of {counted(len(rows), 'row')} {'is' if len(below) == 1 else 'are'} "
             f"separated below {strongest}") * bool(below)  # fmt: skip
    if above:
        verb = "is" if len(above) == 1 else "are"
        text = (f"On as many samples {listed(above)} {verb} separated above {names} "
                f"{how}{under}{absent}.")  # fmt: skip
        return Finding("random choice", block.scope, text, claim, block.level, grounds)
    each = "each of " * (len(controls) > 1)
    alone = [row for row in rows if all(
        _rejected(groups, row, c) and (tests[row, c].mean or 0) > 0 for c in controls)]  # fmt: skip
    none = "claimed to be" if alone else "separated"
    letters = (f"; {listed(alone)} {'is' if len(alone) == 1 else 'are'} so at the level of the "
               "letters alone, which is not claimed here") * bool(alone)  # fmt: skip
    text = (f"On as many samples no row that prunes is {none} above {each}"
            f"{names} {how}{letters}{under}{absent}{f'; {sized}' * bool(sized)}.")  # fmt: skip
    return Finding("random choice", block.scope, text, claim, block.level, grounds + of_gap)


def no_loss(block: Block) -> Finding | None:
    """Rows that are shown to lose less than the margin against full training, by ratio."""
    margin = f"{block.protocol.margin:g} {block.points}"
    if not any(s.kind == "method" for s in block.summary.series.values()):
        return None
    tested = [table for table in block.tables if table.tests.lossless is not None]
    if not tested:
        text = (f"Full training is missing or incomplete: whether a row loses less than {margin} "
                "against it was not tested.")  # fmt: skip
        return Finding("no loss", block.scope, text)
    shown: dict[str, list[str]] = defaultdict(list)
    grounds: list[Ground] = []
    least = sizes = 0
    for table in tested:
        found = table.tests.lossless
        assert found is not None
        place = f"ratio {table.ratio:g}"
        if len({t.dataset for t in block.tables}) > 1:
            place = f"{table.dataset}, {place}"
        for member in found.family.members:
            if block.summary.series[member.name].kind != "method":
                continue
            sizes += 1
            least += bool(member.refused)
            grounds.append(Ground("test", member.name, found.family.name, member.adjusted,
                                  mean=found.tests[member.name].mean,
                                  low=found.tests[member.name].bound,
                                  claimed=member.rejected))  # fmt: skip
            if member.rejected:
                shown[place].append(member.name)
    how = "non-inferiority, Holm within each ratio"
    refused = f"; {least} of {counted(sizes, 'test')} could not be run" * bool(least)
    if not shown:
        text = (f"No row that prunes is shown to lose less than {margin} against full training "
                f"({how}){refused}.")  # fmt: skip
        return Finding("no loss", block.scope, text, "", block.protocol.alpha, tuple(grounds))
    parts = [f"{listed(rows)} at {place}" for place, rows in shown.items()]
    if len(parts) > 4:
        parts = [*parts[:3], f"rows of {len(parts) - 3} more tables"]
    text = (f"Shown to lose less than {margin} against full training: {'; '.join(parts)} "
            f"({how}){refused}.")  # fmt: skip
    return Finding("no loss", block.scope, text, "no loss", block.protocol.alpha, tuple(grounds))


def _refusal(groups: Groups) -> str:
    """Why no pair of rows can be separated, whatever their values; empty where one can."""
    if not groups.underpowered:
        return ""
    return (f"no pair of rows could be separated with these runs (smallest p "
            f"{p_text(groups.smallest_p)}, needed {p_text(groups.needed_p)})")  # fmt: skip


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
                  claimed=block.claims(member))  # fmt: skip
