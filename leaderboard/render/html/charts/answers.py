"""What the tests of a board say to the question of a picture."""

from __future__ import annotations

from prunebench.leaderboard.findings.model import Finding, Topic
from prunebench.leaderboard.render.html.charts.design import Design, Sentence

NOTHING = "No sentence of the board answers this: it has no test or interval for it."


def answer(design: Design, *topics: Topic) -> tuple[Sentence, ...]:
    """The sentences of a design about one of several topics, the first that it has any of.

    A sentence that speaks of one table or of several designs together says so.
    """
    for topic in topics:
        own = [f for f in design.found if f.topic == topic and _about(design, f)]
        if own:
            return tuple(
                (f.short if f.scope == design.summary.dataset else f"{f.scope}: {f.short}", f.more)
                for f in own
            )
    return untested(NOTHING)


def untested(text: str) -> tuple[Sentence, ...]:
    """An answer that no sentence of the board gives."""
    return (("", text),)


def _about(design: Design, finding: Finding) -> bool:
    name = design.summary.dataset
    return any(
        scope in (name, *design.together) or scope.startswith(f"{name}, ratio ")
        for scope in finding.scopes or (finding.scope,)
    )
