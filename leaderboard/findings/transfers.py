"""Whether the lead of subsets over random choice stays with another network."""

from __future__ import annotations

from collections import Counter, defaultdict

from prunebench.leaderboard.findings.level import Level, tested
from prunebench.leaderboard.findings.model import Claim, Finding, Ground
from prunebench.leaderboard.findings.phrases import counted, joined, listed
from prunebench.leaderboard.inference.compare import Comparison
from prunebench.leaderboard.inference.transfer import (
    BEHIND,
    LARGER,
    NO_LEAD,
    NOT_SHOWN,
    SMALLER,
    STAYS,
    TOO_FEW,
    TURNS,
    Carried,
    Transfer,
    member,
)
from prunebench.leaderboard.number_text import p_text
from prunebench.leaderboard.stats import Family

#: What the tests of a pair of method and network say, in order of display, with its words.
SAID = {
    "loss": "Turned into a loss by test",
    "smaller": "Smaller there by test",
    "larger": "Larger there by test",
    "gained": "Above random there alone, by test",
    "below": "Below random there, by test",
    "lost": "No longer shown, which is no proof that it is gone",
}

#: What the verdicts of a table say in a sentence.
BY_INTERVAL = {
    STAYS: "the lead stays",
    SMALLER: "the lead stays and is smaller",
    LARGER: "the lead stays and is larger",
    NOT_SHOWN: "the lead is no longer shown",
    TURNS: "the lead turns into a loss",
    NO_LEAD: "there is no lead to keep",
    BEHIND: "the method lies behind random already",
    TOO_FEW: "there are too few seeds",
}


def transfer(found: Transfer, level: Level) -> Finding | None:
    """Leads over random choice with the scoring network and with the others, by the tests of
    ``Transfer.leads``, and their changes by those of ``Transfer.changes``."""
    if found.leads is None or not found.carried:
        return None
    chosen, others = f"Subsets that {found.scored} chose", _others(found)
    if not (tested(found.leads) or tested(found.changes)):
        smallest = min((lead.pooled.sign_flip.smallest_p for one in found.carried
                        for lead in (one.home, one.away) if lead is not None),
                       default=1.0)  # fmt: skip
        return Finding("transfer", found.dataset,
                       f"Whether subsets that {found.scored} chose keep a lead over random with "
                       f"{others} could not be tested: too few runs.",
                       f"{_by_intervals(found)}{_refusal(found.leads, smallest)}",
                       needed_p=found.leads.alpha / found.leads.size,
                       smallest_p=smallest)  # fmt: skip
    grounds: list[Ground] = []
    pairs: dict[str, list[str]] = defaultdict(list)
    for one in found.carried:
        home, away, change = _grounds(found, one, level)
        grounds += [ground for ground in (home, away, change) if ground is not None]
        for said in _said(_side(home), _side(away), _side(change)):
            pairs[said].append(f"{one.method} with {one.network}")
    if pairs["stays"] and found.home:
        short = f"{chosen} keep a lead over random by test: {listed(pairs['stays'])}."
    elif found.home and any(_side(ground) > 0 for ground in grounds if _of_home(found, ground)):
        short = f"{chosen} are not shown to keep a lead over random with {others}."
    elif found.home:
        short = (f"{chosen} are not shown to lead over random with {found.scored} itself: there is "
                 "no lead to keep.")  # fmt: skip
    elif pairs["gained"]:
        short = f"{chosen} lead over random by test: {listed(pairs.pop('gained'))}."
    else:
        short = f"{chosen} are not shown to lead over random with {others}."
    more = [f"{words}: {listed(pairs[said])}." for said, words in SAID.items() if pairs[said]]
    if not found.home:
        more.append(f"{found.scored} trains nothing here, so no lead can stay or go.")
    sizes = [counted(found.leads.size, "lead")]
    if found.changes is not None:
        sizes.append(counted(found.changes.size, "change"))
    more.append(f"(Paired sign-flip, Holm over {' and over '.join(sizes)}.)")
    grounds = list(dict.fromkeys(grounds))
    claim: Claim = "difference" if any(ground.claimed for ground in grounds) else ""
    return Finding("transfer", found.dataset, short, " ".join(more), claim, level.p,
                   tuple(grounds))  # fmt: skip


def _others(found: Transfer) -> str:
    return joined([name for name in found.networks if name != found.scored])


def _said(home: int, away: int, change: int) -> list[str]:
    """What the sides of a lead here, a lead there and its change amount to."""
    if home <= 0:
        return ["gained"] if away > 0 else ["below"] if away < 0 else []
    moved = {-1: ["smaller"], 0: [], 1: ["larger"]}[change]
    return {-1: ["loss"], 0: ["lost", *moved], 1: ["stays", *moved]}[away]


def _side(ground: Ground | None) -> int:
    """Side of 0 that is claimed; 0 where none is."""
    if ground is None or not ground.claimed or ground.mean is None:
        return 0
    return (ground.mean > 0) - (ground.mean < 0)


def _grounds(
    found: Transfer, one: Carried, level: Level
) -> tuple[Ground | None, Ground | None, Ground | None]:
    """Tests of the lead with the scoring network, with the other one, and of its change."""
    name = member(one.method, one.network)
    return (
        _ground(found.leads, member(one.row, found.scored), one.home, level),
        _ground(found.leads, name, one.away, level),
        _ground(found.changes, name, one.change, level),
    )


def _ground(
    family: Family | None, name: str, comparison: Comparison | None, level: Level
) -> Ground | None:
    if family is None or comparison is None:
        return None
    (own,) = [one for one in family.members if one.name == name]
    pooled = comparison.pooled
    return Ground("test", name, family.name, own.adjusted, pooled.mean, pooled.low, pooled.high,
                  level.claims(own))  # fmt: skip


def _of_home(found: Transfer, ground: Ground) -> bool:
    """Whether it is of a lead with the scoring network."""
    return found.leads is not None and ground.family == found.leads.name and ground.what in {
        member(one.row, found.scored) for one in found.carried
    }  # fmt: skip


def _by_intervals(found: Transfer) -> str:
    """How many leads stay by the intervals, which are not corrected for their number."""
    verdicts = Counter(one.verdict for one in found.carried if one.verdict)
    if not verdicts:
        return ""
    said = [f"{words} in {verdicts[verdict]}" for verdict, words in BY_INTERVAL.items()
            if verdicts[verdict]]  # fmt: skip
    pairs = counted(sum(verdicts.values()), "pair")
    return (f"By uncorrected 95 % intervals alone, of {pairs} of method and network "
            f"{joined(said)}. ")  # fmt: skip


def _refusal(leads: Family, smallest: float) -> str:
    return (f"(One of {counted(leads.size, 'lead')} needs p {p_text(leads.alpha / leads.size)}; "
            f"these runs reach {p_text(smallest)} at best.)")  # fmt: skip
