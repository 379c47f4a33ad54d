"""What the design of a board could not have seen."""

from __future__ import annotations

from collections import defaultdict

from prunebench.leaderboard.findings.blocks import Block
from prunebench.leaderboard.findings.model import Finding
from prunebench.leaderboard.findings.phrases import DIGITS, counted, listed
from prunebench.leaderboard.inference.compare import POWER
from prunebench.leaderboard.inference.series import draws_of
from prunebench.leaderboard.number_text import number, span
from prunebench.leaderboard.stats.clusters import MIN_CLUSTERS
from prunebench.leaderboard.stats.intervals import MIN_FOR_INTERVAL


def limits(block: Block) -> Finding | None:
    """Seeds, detectable differences, noise settings that are too few, rows that lack runs."""
    ranking = block.summary.ranking
    if ranking is None:
        return None
    seeds = [size for table in block.tables for row in table.rows for size in row.seeds]
    said = []
    least, most = min(seeds), max(seeds)
    detectable = sorted(c.detectable for c in ranking.reference.values()
                        if c.detectable is not None)  # fmt: skip
    noises = len({draws_of(noise) for noise in block.summary.noises})
    few = f"{counted(noises, 'noise setting')} {'is' if noises == 1 else 'are'} too few"
    if detectable:
        low, high = (number(value, DIGITS) for value in (detectable[0], detectable[-1]))
        reference = block.protocol.reference
        name = "full training" if reference == "full" else reference
        size = f"{low if low == high else f'{low} to {high}'} {block.points}"
        said.append(
            f"Smaller differences can go unseen: with {span(least, most)} seeds, one uncorrected "
            f"test finds a difference to {name} in {100 * POWER:g} % of such boards if it is {size}"
            f"{', depending on the row' * (low != high)}."
        )
    if most < MIN_FOR_INTERVAL:
        verb = "is" if most == 1 else "are"
        said.append(f"{counted(most, 'seed')} a cell {verb} too few for an interval.")
    if noises < MIN_CLUSTERS:
        said.append(f"{few} to say anything of another one.")
    if block.summary.incomplete:
        said.append(f"Rows that lack runs are in no ranking test: "
                    f"{listed(block.summary.incomplete)}.")  # fmt: skip
    diverged = _diverged(block)
    if diverged:
        value = "at the level of chance" if block.protocol.diverged == "chance" else (
            f"with their last {block.words}")  # fmt: skip
        runs = [f"{counted(count, 'run')} of {label}" for label, count in diverged.items()]
        said.append(f"Diverged runs count {value}: {listed(runs)}.")
    if not said:
        return None
    return Finding("limits", block.scope, said[0], " ".join(said[1:]))


def _diverged(block: Block) -> dict[str, int]:
    """Runs that diverged and count, by row; those of full training once."""
    found: dict[str, set[str]] = defaultdict(set)
    for table in block.tables:
        for label, slots in table.runs.items():
            found[label] |= {r.record.key for r in slots.values() if r.record.status == "diverged"}
    return {label: len(keys) for label, keys in sorted(found.items()) if keys}
