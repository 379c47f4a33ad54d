"""What the board's tests say about the question of a figure: the first words of its caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prunebench.leaderboard.board.model import Summary, Table
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.findings.blocks import Block
from prunebench.leaderboard.findings.model import Finding
from prunebench.leaderboard.findings.phrases import counted
from prunebench.leaderboard.inference.groups import Groups

#: Of a figure whose question no test of the protocol is about.
NOT_TESTED = "Not tested by the protocol."

Found = Finding | Sequence[Finding] | None


def sentence(material: Material, summary: Summary, find: Callable[[Block], Found]) -> str:
    """What the findings of a design say of one topic; empty where they say nothing.

    Args:
        material: With the board.
        summary: The design.
        find: One of the functions that write findings.
    """
    said = []
    for block in material.blocks:
        if not any(table.dataset == summary.dataset for table in block.tables):
            continue
        found = find(block)
        findings = [found] if isinstance(found, Finding) else list(found or ())
        own = " ".join(finding.text for finding in findings)
        if own and block.scope != summary.dataset:
            own = f"{block.scope}: {own}"
        said += [own] * bool(own)
    return " ".join(said)


def marked(tables: Sequence[Table], reference: str) -> str:
    """How many cells the exploratory tests find better and worse than the reference row."""
    found = [table.tests.marks for table in tables]
    marks = [test for one in found if one is not None for test in one.cells.values()]
    run = [test for test in marks if test.p is not None]
    if not run:
        count = len(marks)
        return (f"None of the {count} cells could be tested against {reference} with so few seeds."
                if count else f"No cell was tested against {reference}.")  # fmt: skip
    signs = [one.mark(*place) for one in found if one is not None for place in one.cells]
    rest = len(marks) - len(run)
    return (
        f"Of {len(run)} tested cells {signs.count('*')} are better and {signs.count('†')} worse "
        f"than {reference} at the exploratory level"
        + (f"; {rest} have too few seeds for a test." if rest else ".")
    )  # fmt: skip


def separated(groups: Groups | None) -> str:
    """How many pairs of rows the letters separate."""
    if groups is None:
        return "There are no two complete rows to test."
    if groups.underpowered:
        return f"{all_pairs(groups)} needs more runs than these to separate any pair."
    return f"{all_pairs(groups)} separates {len(groups.pairwise.family.rejected)}."


def all_pairs(groups: Groups) -> str:
    """The family of tests that letters rest on; other tests of a board are of other families."""
    size = groups.pairwise.family.size
    return f"The test of all pairs of rows (paired sign-flip, Holm over {counted(size, 'pair')})"
