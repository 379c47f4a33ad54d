"""What another score in place of a method's own adds, and what noise, imbalance and corruption take
from each family."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from prunebench.leaderboard.findings.blocks import KINDS, Block
from prunebench.leaderboard.findings.model import Claim, Finding, Ground
from prunebench.leaderboard.findings.phrases import (
    DIGITS,
    averaged,
    counted,
    interval_words,
    joined,
    listed,
    points,
)
from prunebench.leaderboard.findings.rows import RANDOM_CHOICE
from prunebench.leaderboard.inference.rankings import Module, Modules
from prunebench.leaderboard.inference.series import Cell, Series, draws_of
from prunebench.leaderboard.number_text import number, p_text
from prunebench.leaderboard.stats import Member
from prunebench.leaderboard.stats.exact import exact, mean
from prunebench.record import AND
from prunebench.registry import SUFFIXES, own_scored

CLEAN = "clean"
#: Noise settings that are named one by one; of more, those without noise and the others.
MOST_SETTINGS = 4


def modules(block: Block) -> list[Finding]:
    """For each suffix: the bases that it changes by the confirmatory tests, and its mean effect
    in every noise setting."""
    found = block.summary.modules
    if found is None:
        return []
    by_suffix: dict[str, list[Module]] = defaultdict(list)
    for module in found.pairs:
        suffix = next((s for s in SUFFIXES if s in module.comparison.a
                       and own_scored(module.comparison.a) == module.comparison.b), "")  # fmt: skip
        by_suffix[suffix].append(module)
    return [_module(block, found, suffix, by_suffix[suffix])
            for suffix in (*SUFFIXES, "") if suffix in by_suffix]  # fmt: skip


def _module(block: Block, found: Modules, suffix: str, own: Sequence[Module]) -> Finding:
    members = {member.name: member for member in found.family.members}
    grounds = [_ground(block, found, module, members) for module in own]
    name = {g.what: module.comparison.b if suffix else g.what
            for g, module in zip(grounds, own, strict=True)}  # fmt: skip
    up = [g for g in grounds if g.claimed and (g.mean or 0) > 0]
    down = [g for g in grounds if g.claimed and (g.mean or 0) < 0]
    refused = [g for g in grounds if g.p is None]

    def sized(some: Sequence[Ground]) -> list[str]:
        return [f"{name[g.what]} ({points(g)} points, p {p_text(g.p)})" for g in some]

    open_ = [g for g in grounds if not g.claimed and g.p is not None]
    alone = [g for g in open_ if members[g.what].rejected]
    rest = [g for g in open_ if g not in alone]
    subject = f"{SUFFIXES[suffix]} ({suffix})" if suffix else "Planned pairs"
    words = block.words
    more = []
    if (up or down) and suffix:
        parts = [f"adds {words} to {listed(sized(up))}"] * bool(up)
        parts += [f"takes {words} from {listed(sized(down))}"] * bool(down)
        short = f"By test {subject} {' and '.join(parts)}."
    elif up or down:
        sides = [(side, some) for side, some in (("above 0", up), ("below 0", down)) if some]
        parts = [f"{side}: {listed([g.what for g in some])}" for side, some in sides]
        short = f"{subject}, by test {'; '.join(parts)}."
        more += [f"{side.capitalize()}: {'; '.join(sized(some))}." for side, some in sides]
    elif rest or alone:
        names = listed([name[g.what] for g in (*rest, *alone)])
        short = f"{subject} is not shown to change the {words} of {names}." if suffix else (
            f"{subject}: no difference is shown for {names}.")  # fmt: skip
    else:
        what = f"What {subject} adds to" if suffix else f"{subject}:"
        names = listed([name[g.what] for g in refused])
        short = f"{what} {names} could not be tested: too few runs."
    if rest:
        shown = listed(sized(rest))
        more.append(f"No difference is shown for {shown}." if up or down else f"Means: {shown}.")
    if alone:
        shown = listed(sized(alone))
        more.append(f"A difference at the level of this family alone, which is not claimed here: "
                    f"{shown}.")  # fmt: skip
    needed = reach = None
    if refused:
        reach = min(m.comparison.pooled.sign_flip.smallest_p
                       for m, g in zip(own, grounds, strict=True) if g.p is None)  # fmt: skip
        names = listed([name[g.what] for g in refused])
        needed = found.family.alpha / found.family.size
        more.append(f"Not tested: {names} (needs p {p_text(needed)}; these runs reach "
                    f"{p_text(reach)} at best).")  # fmt: skip
    extra = _by_setting(block, own) if suffix else []
    if extra:
        mean = "Mean of these rows" if len(own) > 1 else "By setting"
        more.append(f"{mean}: {'; '.join(f'{points(g)} under {g.what}' for g in extra)}.")
    how = []
    if len(refused) < len(grounds):
        how.append(f"Paired sign-flip, Holm over {counted(found.family.size, 'pair')}")
    if any(ground.low is not None for ground in (*grounds, *extra)):
        how.append("brackets: 95 % intervals for new seeds, uncorrected" if how else
                   "Brackets: 95 % intervals for new seeds, uncorrected")  # fmt: skip
    if any(_apart(ground) and not members[ground.what].rejected for ground in open_):
        how.append("where an interval leaves out 0 and the test does not reject, the test decides")
    more += [f"({'; '.join(how)}.)"] * bool(how)
    claim: Claim = "difference" if up or down else ""
    level = None if len(refused) == len(grounds) else block.level.p
    return Finding("module", block.scope, short, " ".join(more), claim, level,
                   (*grounds, *extra), needed_p=needed, smallest_p=reach)  # fmt: skip


def _apart(ground: Ground) -> bool:
    """Whether the interval leaves out 0."""
    return ground.low is not None and ground.high is not None and (
        ground.low > 0 or ground.high < 0)  # fmt: skip


def _ground(block: Block, found: Modules, module: Module, members: dict[str, Member]) -> Ground:
    c = module.comparison
    what = f"{c.a} - {c.b}"
    return Ground("test", what, found.family.name, members[what].adjusted, c.pooled.mean,
                  c.pooled.low, c.pooled.high, block.level.claims(members[what]))  # fmt: skip


def _by_setting(block: Block, own: Sequence[Module]) -> list[Ground]:
    series = block.summary.series
    pairs = [(series[m.comparison.a], series[m.comparison.b]) for m in own]
    found = (averaged(pairs, name, wanted) for name, wanted in _settings(block.summary.noises))
    return [ground for ground in found if ground is not None]


def _settings(noises: Sequence[str]) -> list[tuple[str, Callable[[Cell], bool]]]:
    """Settings one by one where they are few, else by what is in them."""
    if len(noises) <= MOST_SETTINGS:
        return [(noise, _is({noise})) for noise in noises]
    return _kinds(noises)


def _kinds(noises: Sequence[str]) -> list[tuple[str, Callable[[Cell], bool]]]:
    """The usual training split with clean labels, label noise, imbalance or corruption with
    noise-free labels, and both: each where there is one, by name where it is one setting."""
    beside = any(AND in noise for noise in noises)
    words = {
        (True, False): "settings of label noise alone" if beside else "noise settings",
        (False, True): "settings of imbalance or corruption with noise-free labels",
        (True, True): "settings of label noise with imbalance or corruption",
    }
    found = [(CLEAN, _is({CLEAN}))] * (CLEAN in noises)
    for (noisy, both), name in words.items():
        own = {noise for noise in noises if noise != CLEAN
               and (draws_of(noise) != CLEAN, AND in noise) == (noisy, both)}  # fmt: skip
        if own:
            found.append((f"{len(own)} {name}" if len(own) > 1 else min(own), _is(own)))
    return found


def _is(names: set[str]) -> Callable[[Cell], bool]:
    return lambda cell: cell[0] in names


def noise(block: Block) -> Finding | None:
    """Mean difference of every family to the reference row: with clean labels on the usual training
    split, and under label noise, imbalance or corruption, and both."""
    series, noises = block.summary.series, block.summary.noises
    rows = [label for label in block.pruning() if block.methods.get(label) not in RANDOM_CHOICE]
    reference = series.get(block.protocol.reference)
    ranked = block.summary.ranking
    if ranked is not None and not rows and not block.pruning() and len(noises) > 1:
        return _settings_of(block, ranked.labels[0])
    if reference is None or ranked is None or reference.label not in ranked.labels or not rows:
        return None
    if CLEAN not in noises or len(noises) == 1:
        only = f"{noises[0]} alone"
        if len(noises) > 1:
            labels = any(draws_of(name) == CLEAN for name in noises)
            only = f"no setting {CLEAN} to compare with" if labels else (
                "no setting without label noise")  # fmt: skip
        other = any(AND in name for name in noises)
        takes = "noise, imbalance and corruption take" if other else "noise takes"
        return Finding("noise", block.scope,
                       f"What {takes} from a family of methods cannot be seen here.",
                       f"The board has {only}.")  # fmt: skip
    kinds = _kinds(noises)
    grounds: list[Ground] = []
    sizes: dict[str, str] = {}
    by_setting: dict[str, list[str]] = defaultdict(list)
    spans: dict[str, list[str]] = defaultdict(list)
    for kind in KINDS.values():
        own = [label for label in rows if block.kinds.get(label) == kind
               and label != reference.label]  # fmt: skip
        pairs: list[tuple[Series, Series]] = [(series[label], reference) for label in own]
        found = [averaged(pairs, f"{kind} rows under {name}", wanted) for name, wanted in kinds]
        known = [ground for ground in found if ground is not None]
        if not pairs or len(known) < len(kinds):
            continue
        grounds += known
        sizes[kind] = counted(len(own), f"{kind} row")
        for (setting, _), ground in zip(kinds, known, strict=True):
            by_setting[setting].append(f"{kind} {number(ground.mean, DIGITS, signed=True)}")
            if ground.low is not None:
                spans[setting].append(f"{kind} {_ends(ground)}")
    if not sizes:
        return None
    name = "full training" if reference.kind == "full" else reference.label
    said = "; ".join(f"{', '.join(own)} under {setting}" for setting, own in by_setting.items())
    ends = "; ".join(f"{', '.join(own)} under {setting}" for setting, own in spans.items())
    return Finding("noise", block.scope, f"Mean gap to {name} in {block.points}: {said}.",
                   f"({joined(list(sizes.values()))}; random choice is left out; "
                   f"{interval_words(grounds)}{': ' * bool(ends)}{ends}.)",
                   grounds=tuple(grounds))  # fmt: skip


def _settings_of(block: Block, label: str) -> Finding:
    """Under which setting a row of a board without pruning is best and worst, by its means."""
    means = []
    for setting in block.summary.noises:
        own = [exact(value) for (name, _), seeds in block.summary.series[label].values.items()
               if name == setting for value in seeds.values()]  # fmt: skip
        if own:
            means.append(Ground("mean", f"{label} under {setting}", mean=float(mean(own))))
    best, worst = (pick(means, key=lambda g: g.mean or 0.0) for pick in (max, min))
    ends = [f"{ground.what.removeprefix(f'{label} ')} ({number(ground.mean, 1)} %)"
            for ground in (best, worst)]  # fmt: skip
    return Finding("noise", block.scope, f"Mean {block.words} of {label} is highest {ends[0]} and "
                   f"lowest {ends[1]}, of {len(means)} settings.",
                   "(No row prunes here; settings are not tested against each other.)",
                   grounds=tuple(means))  # fmt: skip


def _ends(ground: Ground) -> str:
    low, high = (number(end, DIGITS, signed=True) for end in (ground.low, ground.high))
    return f"[{low}, {high}]"
