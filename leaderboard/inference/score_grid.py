"""Rows of a board as a grid of scores by samplers: differences, marks, and what explains them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from prunebench.leaderboard.inference.marks import Marks, cell_marks
from prunebench.leaderboard.inference.series import Cell, Series, differences
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.stats import TwoWay, two_way
from prunebench.leaderboard.stats.exact import Number, mean, mean_of, numbers

#: What the grid is compared with where the board holds it: a choice without score and sampler.
RANDOM = "random"
#: (score, sampler).
Pair = tuple[str, str]


@dataclass(frozen=True)
class ScoreGrid:
    """Rows that cross at least two scores with at least two samplers, without a gap.

    Attributes:
        scores, samplers: By mean accuracy over the grid and all cells that it is complete in, best
            first.
        labels: Label of the row of each pair.
        reference: Label of the row that differences refer to; empty where the board has none.
        differences: Mean paired difference to it by pair and cell; a cell without common seeds is
            missing.
        marks: Exploratory tests against the reference by ratio.
        shares: What explains the variance between the pairs, by cell; cells in which pairs have
            different seeds, or fewer than two, are missing.
        left_out: Scores under several samplers that lack one of these, and pairs with several rows.
    """

    scores: tuple[str, ...]
    samplers: tuple[str, ...]
    labels: Mapping[Pair, str]
    reference: str
    differences: Mapping[Pair, Mapping[Cell, float]]
    marks: Mapping[float, Marks]
    shares: Mapping[Cell, TwoWay]
    left_out: tuple[str, ...]

    def mark(self, pair: Pair, cell: Cell) -> str:
        """``*`` better, ``†`` worse than the reference; empty where not separated."""
        noise, ratio = cell
        found, label = self.marks.get(ratio), self.labels[pair]
        return found.mark(label, noise) if found and (label, noise) in found.cells else ""


def score_grid(
    rows: Mapping[str, Series], pairs: Mapping[str, Pair], protocol: ProtocolFile, name: str
) -> ScoreGrid | None:
    """Lays rows out by score and sampler.

    The grid is the largest that some scores fill with all of its samplers.

    Args:
        rows: Rows of one design over all ratios.
        pairs: (score, sampler) by label, for the rows that have them.
        protocol: The protocol.
        name: Of the design, for the names of families.

    Returns:
        The grid; None where fewer than two scores or two samplers cross.
    """
    by_pair: dict[Pair, list[str]] = defaultdict(list)
    for label, pair in sorted(pairs.items()):
        by_pair[pair].append(label)
    single = {pair: labels[0] for pair, labels in by_pair.items() if len(labels) == 1}
    samplers_of: dict[str, set[str]] = defaultdict(set)
    for score, sampler in single:
        samplers_of[score].add(sampler)
    scores, samplers = _crossed(samplers_of)
    if not scores:
        return None
    labels = {pair: label for pair, label in single.items()
              if pair[0] in scores and pair[1] in samplers}  # fmt: skip
    cells = sorted({cell for label in labels.values() for cell in rows[label].values})
    full = [cell for cell in cells if _seeds([rows[label] for label in labels.values()], cell)]
    values = {pair: {cell: list(rows[label].values[cell].values()) for cell in full}
              for pair, label in labels.items()}  # fmt: skip
    scores = _by_mean(scores, {s: [values[s, m] for m in samplers] for s in scores})
    samplers = _by_mean(samplers, {m: [values[s, m] for s in scores] for m in samplers})
    reference = rows.get(RANDOM) or rows.get(protocol.reference)
    own = [rows[labels[score, sampler]] for score in scores for sampler in samplers]
    shares = {
        cell: parts for cell in full
        if len(next(iter(values.values()))[cell]) > 1
        and (parts := two_way([[values[s, m][cell] for m in samplers] for s in scores]))
    }  # fmt: skip
    lacking = sorted(s for s, own in samplers_of.items() if len(own) > 1 and s not in scores)
    return ScoreGrid(
        scores=scores,
        samplers=samplers,
        labels=labels,
        reference=reference.label if reference else "",
        differences={
            pair: {cell: float(mean(numbers(list(d.values()))))
                   for cell, d in differences(rows[label], reference).items()}
            for pair, label in labels.items()
        } if reference else {},
        marks=_marks(own, reference, protocol, name) if reference else {},
        shares=shares,
        left_out=(*lacking, *(f"{s}@{m}" for (s, m), several in sorted(by_pair.items())
                              if len(several) > 1)),
    )  # fmt: skip


def _marks(
    rows: Sequence[Series], reference: Series, protocol: ProtocolFile, name: str
) -> dict[float, Marks]:
    """Tests of all rows against the reference, a family for each ratio."""
    found: dict[float, Marks] = {}
    for ratio in sorted({ratio for row in rows for _, ratio in row.values}):
        family = f"score x sampler against {reference.label}, {name}, ratio {ratio:g}"
        own = [_at(row, ratio) for row in rows]
        marks = cell_marks(own, _at(reference, ratio), protocol, family)
        if marks is not None:
            found[ratio] = marks
    return found


def _crossed(samplers_of: Mapping[str, set[str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The scores and samplers of the largest grid without a gap; of equally large ones the one
    with more samplers, then the first by name."""
    found = {frozenset(samplers_of[a] & samplers_of[b])
             for a, b in combinations(sorted(samplers_of), 2)}  # fmt: skip
    grids = [
        (tuple(sorted(s for s, own in samplers_of.items() if own >= samplers)),
         tuple(sorted(samplers)))
        for samplers in found if len(samplers) > 1
    ]  # fmt: skip
    return min(
        grids, key=lambda grid: (-len(grid[0]) * len(grid[1]), -len(grid[1]), grid),
        default=((), ()),
    )  # fmt: skip


def _by_mean(
    names: Sequence[str], values: Mapping[str, Sequence[Mapping[Cell, Sequence[Number]]]]
) -> tuple[str, ...]:
    """Names by the mean of their cells, best first; as they are where no cell is complete."""
    means = {name: mean_of([cells for by_cell in values[name] for cells in by_cell.values()])
             for name in names if any(values[name])}  # fmt: skip
    return tuple(sorted(names, key=lambda name: (-means.get(name, 0), name)))


def _seeds(rows: Sequence[Series], cell: Cell) -> bool:
    """Whether all rows have the same seeds in a cell."""
    found = [set(row.values.get(cell, {})) for row in rows]
    return bool(found[0]) and all(seeds == found[0] for seeds in found)


def _at(row: Series, ratio: float) -> Series:
    """The cells of one ratio."""
    return replace(row, values={c: seeds for c, seeds in row.values.items() if c[1] == ratio})
