"""What the design of a board could not have seen."""

from __future__ import annotations

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
    if most < MIN_FOR_INTERVAL:
        verb = "is" if most == 1 else "are"
        said.append(f"{counted(most, 'seed')} a cell {verb} too few for an interval")
    detectable = sorted(c.detectable for c in ranking.reference.values()
                        if c.detectable is not None)  # fmt: skip
    if detectable:
        low, high = (number(value, DIGITS) for value in (detectable[0], detectable[-1]))
        reference = block.protocol.reference
        name = "full training" if reference == "full" else reference
        said.append(
            f"with {span(least, most)} seeds a difference to {name} is found in "
            f"{POWER:.0%} of such boards, by one uncorrected test, where it is "
            f"{low if low == high else f'{low} to {high}'} {block.points}"
            f"{', depending on the row' * (low != high)}"
        )
    noises = len({draws_of(noise) for noise in block.summary.noises})
    if noises < MIN_CLUSTERS:
        said.append(f"{counted(noises, 'noise setting')} {'is' if noises == 1 else 'are'} too few "
                    "to say anything of another one")  # fmt: skip
    if block.summary.incomplete:
        names = listed(block.summary.incomplete)
        said.append(f"rows that lack runs are left out of all ranking tests ({names})")
    if not said:
        return None
    return Finding("limits", block.scope, f"Limits of the design: {'; '.join(said)}.")
