"""What another score in place of a method's own adds, and what noise, imbalance and corruption take
from each family."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from prunebench.leaderboard.findings.blocks import KINDS, Block
from prunebench.leaderboard.findings.model import Claim, Finding, Ground
from prunebench.leaderboard.findings.phrases import (
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
from prunebench.leaderboard.number_text import p_text
from prunebench.leaderboard.stats import Member
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
    size = counted(found.family.size, "pair")
    name = {g.what: module.comparison.b if suffix else g.what
            for g, module in zip(grounds, own, strict=True)}  # fmt: skip
    up = [_sized(name[g.what], g) for g in grounds if g.claimed and (g.mean or 0) > 0]
    down = [_sized(name[g.what], g) for g in grounds if g.claimed and (g.mean or 0) < 0]
    refused = [g for g in grounds if g.p is None]
    open_ = [g for g in grounds if not g.claimed and g.p is not None]
    alone = [name[g.what] for g in open_ if members[g.what].rejected]
    subject = f"{SUFFIXES[suffix]} ({suffix})" if suffix else "Planned pairs"
    said = []
    if up:
        said.append(f"{'adds to' if suffix else 'above 0:'} {listed(up)}")
    if down:
        said.append(f"{'takes from' if suffix else 'below 0:'} {listed(down)}")
    rest = [g for g in open_ if name[g.what] not in alone]
    if rest:
        shown = [_sized(name[g.what], g) for g in rest]
        verb = "shows no separated difference" if suffix else "no separated difference"
        said.append(f"{verb} for {listed(shown)}")
    if alone:
        shown = [_sized(name[g.what], g) for g in open_ if name[g.what] in alone]
        said.append(f"differs for {listed(shown)} at the level of its own family alone, which is "
                    "not claimed here")  # fmt: skip
    if refused:
        smallest = min(m.comparison.pooled.sign_flip.smallest_p
                       for m, g in zip(own, grounds, strict=True) if g.p is None)  # fmt: skip
        names = listed([name[g.what] for g in refused])
        needed = p_text(found.family.alpha / found.family.size)
        said.append(f"could not be tested for {names} (smallest p {p_text(smallest)}, needed "
                    f"{needed})")  # fmt: skip
    how = f" (paired sign-flip, Holm over {size})" if len(refused) < len(grounds) else ""
    extra = _by_setting(block, own) if suffix else []
    text = f"{subject} {', and '.join(said)}{how}"
    if extra:
        mean = "on average over these rows" if len(own) > 1 else "by setting"
        parts = [f"{points(g)} under {g.what}" for g in extra]
        text += f"; {mean} {joined(parts)}, without a test"
    if any(ground.low is not None for ground in (*grounds, *extra)):
        text += "; brackets: 95 % intervals for new seeds, uncorrected"
    claim: Claim = "difference" if up or down else ""
    return Finding("module", block.scope, f"{text}.", claim, block.level, (*grounds, *extra))


def _ground(block: Block, found: Modules, module: Module, members: dict[str, Member]) -> Ground:
    c = module.comparison
    what = f"{c.a} - {c.b}"
    return Ground("test", what, found.family.name, members[what].adjusted, c.pooled.mean,
                  c.pooled.low, c.pooled.high, block.claims(members[what]))  # fmt: skip


def _sized(name: str, ground: Ground) -> str:
    return f"{name} ({points(ground)}, p {p_text(ground.p)})"


def _by_setting(block: Block, own: Sequence[Module]) -> list[Ground]:
    series = block.summary.series
    pairs = [(series[m.comparison.a], series[m.comparison.b]) for m in own]
    found = (averaged(pairs, name, wanted) for name, wanted in _settings(block.summary.noises))
    return [ground for ground in found if ground is not None]


def _settings(noises: Sequence[str]) -> list[tuple[str, Callable[[Cell], bool]]]:
    """Settings one by one where they are few, else those of clean labels and the others."""
    if len(noises) <= MOST_SETTINGS:
        return [(noise, _is({noise})) for noise in noises]
    return _halves(noises)


def _halves(noises: Sequence[str]) -> list[tuple[str, Callable[[Cell], bool]]]:
    """The usual training split with clean labels, and everything else; each where there is one."""
    others = [noise for noise in noises if noise != CLEAN]
    word = "setting" if any(AND in noise for noise in noises) else "noise setting"
    found = [(CLEAN, _is({CLEAN}))] * (CLEAN in noises)
    name = others[0] if len(others) == 1 else f"the {'other ' * (CLEAN in noises)}"
    if len(others) > 1:
        name += counted(len(others), word)
    return [*found, *[(name, _is(set(others)))] * bool(others)]


def _is(names: set[str]) -> Callable[[Cell], bool]:
    return lambda cell: cell[0] in names


def noise(block: Block) -> Finding | None:
    """Mean difference of every family to the reference row, on the usual training split with clean
    labels and in all other settings."""
    series, noises = block.summary.series, block.summary.noises
    rows = [label for label in block.pruning() if block.methods.get(label) not in RANDOM_CHOICE]
    reference = series.get(block.protocol.reference)
    ranked = block.summary.ranking
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
        text = f"The board has {only}: what {takes} from a family of methods cannot be seen."
        return Finding("noise", block.scope, text)
    grounds: list[Ground] = []
    said = []
    for kind in KINDS.values():
        own = [label for label in rows if block.kinds.get(label) == kind
               and label != reference.label]  # fmt: skip
        pairs: list[tuple[Series, Series]] = [(series[label], reference) for label in own]
        found = [(name, averaged(pairs, f"{kind} rows under {name}", wanted))
                 for name, wanted in _halves(noises)]  # fmt: skip
        known = [(name, ground) for name, ground in found if ground is not None]
        if pairs and known:
            grounds += [ground for _, ground in known]
            parts = [f"{points(ground)} under {name}" for name, ground in known]
            said.append(f"{counted(len(own), f'{kind} row')} {joined(parts)}")
    if not said:
        return None
    name = "full training" if reference.kind == "full" else reference.label
    text = (f"Against {name}, in {block.points} on average: {'; '.join(said)} (random choice left "
            f"out; {interval_words(grounds)}).")  # fmt: skip
    return Finding("noise", block.scope, text, grounds=tuple(grounds))
