"""A board as JSON values: every number behind every cell, mark and letter."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from prunebench.leaderboard.board.model import Board, Row, Summary, Table
from prunebench.leaderboard.findings import findings
from prunebench.leaderboard.inference.align_controls import AlignControls
from prunebench.leaderboard.inference.compare import Comparison
from prunebench.leaderboard.inference.groups import Groups
from prunebench.leaderboard.inference.rankings import Modules, Ranking
from prunebench.leaderboard.inference.score_grid import ScoreGrid
from prunebench.leaderboard.inference.transfer import Transfer
from prunebench.leaderboard.render.about import about, title
from prunebench.leaderboard.render.align_text import use_text
from prunebench.leaderboard.render.row_text import (
    better_or_worse,
    bold,
    letters,
    off_ratio,
    underpowered,
)
from prunebench.leaderboard.stats import Family
from prunebench.leaderboard.stats.special import rounded

SCHEMA = 1
#: Significant digits of written numbers.
DIGITS = 12


def board_json(board: Board) -> dict[str, Any]:
    """The board as JSON values; unknown and undefined numbers are null.

    ``about`` holds what the title names, with the fields of ``render.about.About``. ``findings``
    holds what the board found with the fields of ``findings.model.Finding``; names in ``short`` and
    ``more`` are as the records have them.
    """
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "protocol": {**board.protocol.content, "digest": board.protocol.digest},
        "records": {
            "used": board.used,
            "digest": board.digest,
            "excluded": [{"reason": reason, "count": n} for reason, n in board.excluded],
        },
        "about": {"title": title(board), **asdict(about(board))},
        "environments": {name: list(values) for name, values in board.environments},
        "findings": [asdict(finding) for finding in findings(board)],
        "tables": [_table(table) for table in board.tables],
        "summaries": [_summary(summary) for summary in board.summaries],
    }
    if board.recipe_summaries:
        content["joined"] = [
            {**_summary(summary), "designs": list(summary.designs)}
            for summary in board.recipe_summaries
        ]
    if board.transfers:
        content["transfers"] = [_transfer(found) for found in board.transfers]
    if board.history.contributions:
        content["version"] = board.history.version
        content |= board.history.model_dump(mode="json", include={"contributions"})
    cleaned: dict[str, Any] = finite(content)
    return cleaned


def dumps(content: Mapping[str, Any]) -> str:
    """JSON with sorted names, one line per top-level item and per table, ends in a line break."""
    lines = []
    for name in sorted(content):
        value = content[name]
        if isinstance(value, list) and value:
            items = ",\n".join(map(_compact, value))
            lines.append(f"{_compact(name)}: [\n{items}\n]")
        else:
            lines.append(f"{_compact(name)}: {_compact(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)


def asdict(value: Any) -> dict[str, Any]:
    """A dataclass as a dict of its own, nested ones too; leaves are shared, not copied."""
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        kept = [_plain(item) for item in value]
        return kept if isinstance(value, list | tuple) else type(value)(kept)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return asdict(value) if is_dataclass(value) else value


def finite(value: Any) -> Any:
    """JSON values with NaN and infinities as null, and numbers to 12 significant digits."""
    kind = type(value)
    if kind is float:
        return rounded(value, DIGITS) if math.isfinite(value) else None
    if value is None or kind is str or kind is bool or kind is int:
        return value
    if isinstance(value, float):
        return finite(float(value))
    if isinstance(value, Mapping):
        return {str(name): finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _table(table: Table) -> dict[str, Any]:
    tests, shared = table.tests, table.shared
    return {
        "dataset": table.dataset,
        "ratio": table.ratio,
        "noises": list(table.noises),
        "recipe": shared.recipe,
        "recipe_text": shared.recipe_text,
        "criterion": shared.criterion,
        "reference": shared.reference,
        "budget": shared.budget,
        "dataset_version": shared.dataset_version,
        "test_size": shared.test_size,
        **({"fewer_tested": list(shared.fewer_tested)} if shared.fewer_tested else {}),
        "rows": [_row(table, row) for row in (*table.rows, *table.incomplete)],
        "columns": [None if c is None else {**asdict(c), "best": sorted(c.best),
                                            "underpowered": sorted(c.underpowered)}
                    for c in tests.columns],
        "ranking": _ranking(tests.ranking),
        "marks": None if tests.marks is None else {
            "reference": tests.marks.reference, "t_only": tests.marks.t_only,
            "family": _family(tests.marks.family)},
        "lossless": None if tests.lossless is None else {
            "margin": tests.lossless.margin, "family": _family(tests.lossless.family)},
        "notes": list(table.notes),
        "copied": [asdict(row) for row in table.printed],
    }  # fmt: skip


def _row(table: Table, row: Row) -> dict[str, Any]:
    tests = table.tests
    values = asdict(row)
    for name in ("choice_s", "balanced", "worst_group"):
        if values[name] is None:
            del values[name]  # pages of earlier records stay as they were
    del values["ran_by"]
    if row.ran_by:  # of submissions alone, so that other boards stay as they were
        values["ran_by"] = [{"by": one.by, "ran": one.ran.isoformat()} for one in row.ran_by]
    values["missing"] = [{"reason": reason, "count": n} for reason, n in row.missing]
    values["complete"] = row.complete
    values["runs"] = {
        cell[0]: {str(seed): v for seed, v in seeds.items()}
        for cell, seeds in table.series[row.label].values.items()
    }
    values["off_ratio"] = off_ratio(row)
    values["group"] = letters(table, row)
    if row.time is not None:
        values["time"]["unsteady"] = row.time.unsteady
    for place, (noise, cell) in enumerate(zip(table.noises, values["cells"], strict=True)):
        if cell is None:
            continue
        cell["noise"] = noise
        for name in ("kept_weight", "corrupted", "balanced", "worst_group"):
            if cell[name] is None:
                del cell[name]  # as choice_s
        cell["bold"] = bold(table, row, place)
        cell["underpowered"] = bool(underpowered(table, row, place))
        test = tests.marks.cells.get((row.label, noise)) if tests.marks else None
        cell["test"] = None if test is None else asdict(test)
        cell["mark"] = better_or_worse(table, row, place)
    lossless = tests.lossless.tests.get(row.label) if tests.lossless else None
    values["lossless"] = None if lossless is None else asdict(lossless)
    if lossless is not None and tests.lossless is not None:
        values["lossless"]["shown"] = row.label in tests.lossless.family.rejected
    return values


def _family(family: Family) -> dict[str, Any]:
    return {**asdict(family), "footer": family.footer}


def comparison_json(found: Comparison) -> dict[str, Any]:
    """One comparison of two rows with all its numbers."""
    return asdict(found)


def _groups(groups: Groups | None) -> dict[str, Any] | None:
    if groups is None:
        return None
    pairs = groups.pairwise
    members = {member.name: member for member in pairs.family.members}
    return {
        "order": list(pairs.order),
        "letters": {label: groups.letters_of(label) for label in pairs.order},
        "contiguous": pairs.letters.contiguous,
        "best": list(groups.best),
        "underpowered": groups.underpowered,
        "units": groups.units,
        "smallest_p": groups.smallest_p,
        "needed_p": groups.needed_p,
        "footer": pairs.family.footer,
        "size": pairs.family.size,
        "alpha": pairs.family.alpha,
        "pairs": [
            {"a": a, "b": b, "difference": test.statistic, "p": test.p,
             "adjusted": members[f"{a} - {b}"].adjusted,
             "separated": members[f"{a} - {b}"].rejected}
            for (a, b), test in pairs.tests.items()
        ],
    }  # fmt: skip


def _ranking(found: Ranking | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "labels": list(found.labels),
        "means": dict(found.means),
        "mean_ranks": dict(found.mean_ranks),
        "friedman": None if found.friedman is None else asdict(found.friedman),
        "iman_davenport": None if found.iman_davenport is None else asdict(found.iman_davenport),
        "groups": _groups(found.groups),
        "reference": {label: comparison_json(c) for label, c in found.reference.items()},
    }


def _modules(found: Modules | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "pairs": [{**asdict(m.comparison), "bayes": m.bayes and asdict(m.bayes)}
                  for m in found.pairs],
        "family": _family(found.family),
        "by_cluster": _family(found.by_cluster),
    }  # fmt: skip


def _summary(summary: Summary) -> dict[str, Any]:
    grid, controls = summary.score_grid, summary.align_controls
    return {
        "dataset": summary.dataset,
        "ratios": list(summary.ratios),
        "noises": list(summary.noises),
        "ranking": _ranking(summary.ranking),
        "ranks": {label: place for label, (place, _) in summary.ranks.items()},
        "incomplete": list(summary.incomplete),
        "modules": _modules(summary.modules),
        **({} if grid is None else {"score_grid": _score_grid(grid)}),
        **({} if controls is None else {"align_controls": _align_controls(controls)}),
        **(
            {"predictions": [asdict(one) for one in summary.predictions]}
            if summary.predictions
            else {}
        ),
    }


def _transfer(found: Transfer) -> dict[str, Any]:
    """Of boards with transferred subsets alone."""
    return {
        "dataset": found.dataset,
        "selected_with": found.scored,
        "trained_with": list(found.networks),
        "cells": [{**{k: v for k, v in asdict(one).items() if k != "cell"},
                   "noise": one.cell[0], "ratio": one.cell[1]}
                  for one in found.cells],
        "baselines": [
            {"row": row, "network": network, "noise": cell[0], "ratio": cell[1], **asdict(mean)}
            for (row, network), means in sorted(found.baselines.items())
            for cell, mean in sorted(means.items())
        ],
        "leads": [{**asdict(one), "verdict": one.verdict} for one in found.carried],
        "families": [_family(one) for one in (found.leads, found.changes) if one is not None],
    }  # fmt: skip


def _align_controls(found: AlignControls) -> dict[str, Any]:
    """Of boards with AlignPrune alone; files rendered earlier lack it."""
    aligned = {row.label for row in found.against_random}
    return {
        "against_random": [{**asdict(row), "ahead": row.ahead} for row in found.against_random],
        "clean_samples": [{**asdict(use), "use": use_text(use, use.label in aligned)[0]}
                          for use in found.clean_uses],
        "not_run": [{"ratio": ratio, "methods": list(names)}
                    for ratio, names in found.absent.items()],
    }  # fmt: skip


def _score_grid(grid: ScoreGrid) -> dict[str, Any]:
    """Of boards whose rows cross scores and samplers alone: earlier files lack it."""
    return {
        "scores": list(grid.scores),
        "samplers": list(grid.samplers),
        "reference": grid.reference,
        "left_out": list(grid.left_out),
        "families": [_family(marks.family) for _, marks in sorted(grid.marks.items())],
        "cells": [
            {"score": score, "sampler": sampler, "row": grid.labels[score, sampler],
             "noise": noise, "ratio": ratio, "difference": value,
             "mark": grid.mark((score, sampler), (noise, ratio))}
            for score in grid.scores for sampler in grid.samplers
            for (noise, ratio), value in sorted(grid.differences.get((score, sampler), {}).items())
        ],
        "shares": [{"noise": noise, "ratio": ratio, **asdict(found)}
                   for (noise, ratio), found in sorted(grid.shares.items())],
    }  # fmt: skip
