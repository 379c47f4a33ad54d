"""Holds the sentences of a board against the tests that they name."""

from __future__ import annotations

import re

from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import Finding, findings
from prunebench.leaderboard.findings.blocks import blocks_of
from prunebench.leaderboard.number_text import p_text
from prunebench.leaderboard.stats import Family

#: Signed numbers with two decimals: every one has to be a number that the sentence rests on.
SIGNED = re.compile(r"[+-]\d+\.\d\d\b")
#: Words that claim a difference; no sentence that claims none has them.
DIFFER = re.compile(r"\btests separate\b|\b[Bb]y test\b")


def families_of(shown: Board) -> dict[str, Family]:
    """All families that a sentence may rest on, by name."""
    found: dict[str, Family] = {}
    for summary in (*shown.summaries, *shown.recipe_summaries):
        if summary.ranking and summary.ranking.groups:
            family = summary.ranking.groups.pairwise.family
            found[family.name] = family
        if summary.modules:
            found[summary.modules.family.name] = summary.modules.family
    for table in shown.tables:
        if table.tests.lossless:
            found[table.tests.lossless.family.name] = table.tests.lossless.family
        if table.tests.ranking and table.tests.ranking.groups:
            family = table.tests.ranking.groups.pairwise.family
            found[family.name] = family
    for transfer in shown.transfers:
        for family in (transfer.leads, transfer.changes):
            if family is not None:
                found[family.name] = family
    return found


def check(shown: Board) -> tuple[Finding, ...]:
    """The findings of a board, after every one was held against the tests it names."""
    said, known = findings(shown), families_of(shown)
    protocol = shown.protocol
    for finding in said:
        claimed = [ground for ground in finding.grounds if ground.claimed]
        assert bool(claimed) == bool(finding.claim), finding
        for ground in finding.grounds:
            if ground.kind != "test":
                assert (ground.family, ground.p, ground.claimed) == ("", None, False)
                continue
            family = known[ground.family]
            turned = " - ".join(reversed(ground.what.split(" - ")))
            (member,) = [m for m in family.members if m.name in (ground.what, turned)]
            assert ground.p == member.adjusted
            if ground.claimed:
                assert member.rejected
                assert member.adjusted is not None
                assert finding.level is not None
                assert member.adjusted <= finding.level <= protocol.alpha
        assert bool(DIFFER.search(finding.text)) == (finding.claim == "difference"), finding.text
        assert (finding.text.startswith("Shown to lose less")) == (finding.claim == "no loss")
        numbers = {f"{round(value, 2) + 0.0:+.2f}" for ground in finding.grounds
                   for value in (ground.mean, ground.low, ground.high)
                   if value is not None}  # fmt: skip
        assert set(SIGNED.findall(finding.text)) <= numbers, finding.text
        if "[" in finding.text:
            assert "uncorrected" in finding.text, finding.text
        for p in re.findall(r"(?:points, p|p up to) ([^)]+?)\.?\)", finding.text):
            assert p in {p_text(ground.p) for ground in finding.grounds}, finding.text
        for word in ("equal to", "the same as", "significant", "proves", "lossless", "best row"):
            assert word not in finding.text
        if finding.short.startswith("No winner can") or " does not separate " in finding.short:
            for scope in finding.scopes or (finding.scope,):
                assert not separates_the_leader(shown, scope), finding.text
        if any(member.p is not None for family in known.values() for member in family.members):
            assert not re.search(r"\bno test [a-z]", finding.text, re.IGNORECASE), finding.text
        run = [g for g in finding.grounds if g.kind == "test" and g.p is not None]
        assert (finding.level is not None) == bool(run), finding
        if " at best" in finding.text and not finding.scopes:
            assert finding.needed_p is not None, finding.text
            assert finding.smallest_p is not None, finding.text
            assert finding.smallest_p > finding.needed_p, finding.text
        for part in (finding.short, finding.more)[: 1 + bool(finding.more)]:
            assert re.fullmatch(r"\S[^\n]*\.\)?", part), part
        assert 20 < len(finding.short) < 420, finding.short
    return said


def separates_the_leader(shown: Board, scope: str) -> bool:
    """Whether the letters separate the leader among the rows that prune from another such row."""
    (block,) = [block for block in blocks_of(shown) if block.scope == scope]
    groups, rows = block.groups, set(block.pruning())
    return groups is not None and any(
        set(name.split(" - ")) <= rows and block.pruning()[0] in name.split(" - ")
        for name in groups.pairwise.family.rejected
    )
