"""What the designs of a board could not have seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

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
    return limits_over([block], block.scope)


def limits_over(blocks: Sequence[Block], scope: str) -> Finding | None:
    """The same over several designs.

    Args:
        blocks: The designs; those without a ranking are left out.
        scope: What the sentence calls them.
    """
    ranked = [block for block in blocks if block.summary.ranking is not None]
    if not ranked:
        return None
    seeds = [size for block in ranked for table in block.tables for row in table.rows
             for size in row.seeds]  # fmt: skip
    least, most = min(seeds), max(seeds)
    noises = [len({draws_of(noise) for noise in block.summary.noises}) for block in ranked]
    said = _detectable(ranked, span(least, most))
    if most < MIN_FOR_INTERVAL:
        said.append(f"With {counted(most, 'seed')} a cell there are no intervals.")
    few = [count for count in noises if count < MIN_CLUSTERS]
    if few:
        verb = "setting of label noise is" if max(few) == 1 else "settings of label noise are"
        said.append(f"{span(min(few), max(few))} {verb} too few to say anything of another one.")
    incomplete = list(dict.fromkeys(x for block in ranked for x in block.summary.incomplete))
    if incomplete:
        said.append(f"Rows that lack runs are in no ranking test: {listed(incomplete)}.")
    diverged = _diverged(ranked)
    if diverged:
        protocol = ranked[0].protocol
        value = "at the level of chance" if protocol.diverged == "chance" else (
            f"with their last {ranked[0].words}")  # fmt: skip
        runs = [f"{counted(count, 'run')} of {label}" for label, count in diverged.items()]
        if not said:
            said.append("How small a difference could be found is not known: no row that prunes "
                        f"is compared with {_reference(ranked[0])}.")  # fmt: skip
        said.append(f"Diverged runs count {value}: {listed(runs)}.")
    return Finding("limits", scope, said[0], " ".join(said[1:])) if said else None


def _detectable(blocks: Sequence[Block], seeds: str) -> list[str]:
    """The difference to the reference row that a test of one row that prunes would find."""
    by_design = []
    for block in blocks:
        assert block.summary.ranking is not None
        against = block.summary.ranking.reference
        own = [against[label].detectable for label in block.pruning() if label in against]
        by_design.append([value for value in own if value is not None])
    known = [own for own in by_design if own]
    if not known:
        return []
    medians = [number(value, DIGITS) for value in sorted(median(own) for own in known)]
    largest = number(max(max(own) for own in known), DIGITS)
    usual = " to ".join(dict.fromkeys((medians[0], medians[-1])))
    points = blocks[0].points
    size = f"{usual} {points}"
    if usual != largest:
        by = ", by design," if medians[0] != medians[-1] else ""
        size += f"{by} for the median row and {largest} for the row of widest spread"
    return [f"Smaller differences can go unseen: with {seeds} seeds, one uncorrected test finds a "
            f"difference to {_reference(blocks[0])} in {100 * POWER:g} % of such boards if it is "
            f"{size}."]  # fmt: skip


def _reference(block: Block) -> str:
    reference = block.protocol.reference
    return "full training" if reference == "full" else reference


def _diverged(blocks: Sequence[Block]) -> dict[str, int]:
    """Runs that diverged and count, by row; those of full training once."""
    found: dict[str, set[str]] = defaultdict(set)
    for block in blocks:
        for table in block.tables:
            for label, slots in table.runs.items():
                found[label] |= {
                    r.record.key for r in slots.values() if r.record.status == "diverged"
                }
    return {label: len(keys) for label, keys in sorted(found.items()) if keys}
