"""Summaries over several tables: one design at all its ratios, and several recipes together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from prunebench.leaderboard.board.align_rows import align_controls
from prunebench.leaderboard.board.designs import Design, label_designs
from prunebench.leaderboard.board.designs import base_of as design_base
from prunebench.leaderboard.board.labels import noise_order
from prunebench.leaderboard.board.model import Summary, Table
from prunebench.leaderboard.board.predicted_rows import judged_predictions
from prunebench.leaderboard.board.scored_with import scoring_recipe
from prunebench.leaderboard.inference.rankings import modules, ranking
from prunebench.leaderboard.inference.score_grid import Pair, score_grid
from prunebench.leaderboard.inference.series import Series
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.record import canonical

#: Recipes whose names a joint summary has.
MOST_NAMED = 4


def design_summary(
    tables: Sequence[Table], protocol: ProtocolFile, align_shown: bool | None = None
) -> Summary:
    """The rows of a design over its tables, by label.

    Args:
        tables: Of the design.
        protocol: The protocol.
        align_shown: See ``align_controls``.
    """
    name = tables[0].dataset
    made = _summary(name, tables, [t.series for t in tables], protocol)
    return replace(
        made,
        score_grid=score_grid(made.series, _pairs(tables), protocol, name),
        align_controls=align_controls(tables, protocol, align_shown),
        # They are about plain accuracy.
        predictions=judged_predictions(tables) if protocol.metric == "accuracy" else (),
    )


def _pairs(tables: Sequence[Table]) -> dict[str, Pair]:
    """Score and sampler of the rows whose records name them."""
    found: dict[str, Pair] = {}
    for table in tables:
        for label, slots in table.runs.items():
            info = next(iter(slots.values())).record.info
            if "score" in info and "sampler" in info:
                found[label] = info["score"], info["sampler"]
    return found


def recipe_summaries(
    designs: Sequence[Design], tables: Mapping[str, Sequence[Table]], protocol: ProtocolFile
) -> tuple[Summary, ...]:
    """One summary for designs that differ in recipe or network alone and hold the same cells.

    Recipes count as further cells of a noise setting, as ratios do: they share its labels and
    its seeds, so that (noise, seed) stays the unit of all tests.
    """
    frames = label_designs({canonical(d.frame): d.frame for d in designs})
    found: dict[str, Summary] = {}
    for own in _alike(designs, tables):
        name = first = f"{frames[canonical(own[0].frame)]}, {_recipes(own)}"
        number = 1
        while name in found:
            number += 1
            name = f"{first} ({number})"
        found[name] = _over(name, own, tables, protocol)
    return tuple(found.values())


def _recipes(designs: Sequence[Design]) -> str:
    """The recipes or networks of a few designs by name; of more their number."""
    base = design_base(designs[0].content)
    contents = {
        canonical(d.content): {k: v for k, v in d.content.items()
                               if k in ("dataset", "criterion", "recipe")} for d in designs
    }  # fmt: skip
    labels = label_designs(contents).values()
    words = [label.removeprefix(f"{base}, ").replace(", ", " ") for label in sorted(labels)]
    if len(words) > MOST_NAMED:
        return f"{len(words)} recipes"
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _alike(
    designs: Sequence[Design], tables: Mapping[str, Sequence[Table]]
) -> Iterator[list[Design]]:
    frames = [canonical(design.frame) for design in designs]
    groups: dict[object, list[Design]] = defaultdict(list)
    for frame, design in zip(frames, designs, strict=True):
        if frames.count(frame) < 2:
            continue
        own = tables[design.label]
        cells = {(t.ratio, slot) for t in own for row in t.rows for slot in t.runs[row.label]}
        methods = {(r.method, r.record.spec["method"].get("version")) for r in design.runs}
        scored = {canonical(scoring_recipe(r.record.spec)) for r in design.runs}
        groups[frame, frozenset(cells), frozenset(methods), frozenset(scored)].append(design)
    for found in groups.values():
        if len(found) > 1 and all(t.rows for d in found for t in tables[d.label]):
            yield found


def _over(
    name: str,
    designs: Sequence[Design],
    tables: Mapping[str, Sequence[Table]],
    protocol: ProtocolFile,
) -> Summary:
    own = [table for design in designs for table in tables[design.label]]
    series = [
        {label: _moved(values, number) for label, values in table.series.items()}
        for number, design in enumerate(designs)
        for table in tables[design.label]
    ]
    made = _summary(name, own, series, protocol)
    ratios = tuple(sorted(set(made.ratios)))
    return replace(made, ratios=ratios, designs=tuple(design.label for design in designs))


def _moved(series: Series, number: int) -> Series:
    """The same values in cells of their own, so that those of several recipes stay apart: ratios
    are below 1, and the number of the recipe is added."""
    values = {(noise, ratio + number): seeds for (noise, ratio), seeds in series.values.items()}
    return replace(series, values=values)


def _summary(
    name: str,
    tables: Sequence[Table],
    parts: Sequence[Mapping[str, Series]],
    protocol: ProtocolFile,
) -> Summary:
    rows: dict[str, Series] = {}
    complete: Counter[str] = Counter()
    for table, part in zip(tables, parts, strict=True):
        complete.update(row.label for row in table.rows)
        for label, series in part.items():
            old = rows.get(label, replace(series, values={}))
            rows[label] = replace(series, values={**old.values, **series.values})
    whole = [s for label, s in rows.items()
             if complete[label] == len(tables) and s.kind != "oracle"]  # fmt: skip
    reference = next((row for row in whole if row.label == protocol.reference), None)
    return Summary(
        dataset=name,
        ratios=tuple(table.ratio for table in tables),
        noises=tuple(sorted({n for t in tables for n in t.noises}, key=noise_order)),
        ranking=ranking(whole, reference, protocol, f"letters, {name}, all ratios"),
        incomplete=tuple(sorted(label for label, s in rows.items()
                                if complete[label] < len(tables) and s.kind != "oracle")),
        series=rows,
        modules=modules(rows, protocol, f"module effect, {name}"),
    )  # fmt: skip
