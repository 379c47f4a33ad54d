"""What `grid --dry-run` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunebench.bench.grids.progress import clock_text

#: What is expected of the paper's network on a card; measured on none.
_CARD = (
    "goal of resnet18 in bf16 on an H100: 60,000 samples/s at batch 128; estimated: 43,000 to "
    "48,000; in fp32 neither"
)


#: Seconds of choices that are worth a line, and how many methods it names.
_WORTH_S, _LONGEST = 1.0, 3
#: Most methods whose names fit into a few lines of a narrow terminal.
_NAMED = 12


def lines(summary: Mapping[str, Any]) -> str:
    """The summary as a user reads it."""
    rows = [("cells", f"{summary['cells']:,}")]
    if controls := summary.get("controls"):
        count = sum(controls.values())
        rows.append(("  of these controls", f"{count:,}: {', '.join(controls)}"))
    # Keys depend on the data: cells whose data are absent may well be recorded.
    known = ", of cells whose files are here" if summary["not here"] else ""
    rows += [("recorded already", f"{summary['recorded already']:,}{known}")]
    rows += [("to run", f"{summary['to run']:,}")]
    runs = summary["scoring runs"]
    if runs:
        methods = sorted({name for run in runs for name in run["methods"]})
        rows.append((
            "scoring runs",
            f"{len(runs):,} shared ({summary['added for scoring']} added) serve "
            f"{sum(run['serves'] for run in runs):,} cells of "
            + (f"{len(methods)} methods; --json names them" if len(methods) > _NAMED
               else ", ".join(methods)),
        ))  # fmt: skip
    for name, count in summary["samples"].items():
        about = "" if name != "trained" or summary["trained samples are exact"] else "about "
        if count:
            rows.append((f"samples {name}", f"{about}{count:,}"))
    apart = summary["if not shared"]
    rows.append(("  if not shared", f"{apart['samples']['trained']:,} trained"))
    if summary["seconds"] is not None:
        workers = summary["workers"]
        rows += [
            (f"time, {workers} worker{'s' * (workers > 1)}", f"about {_clock(summary['seconds'])}"),
            ("time of work", f"about {_clock(summary['seconds of work'])}"),
            ("  if not shared", f"about {_clock(apart['seconds of work'])}"),
        ]
        rows += _choices(summary)
        if any(row["rough"] for row in summary["measured"]):
            rows.append(("", "rough: a step is too slow here to be timed at its batch size"))
        rows += _speeds(summary)
    rows += [(f"not here: {name}", line) for name, line in summary["not here"].items()]
    if summary["not counted"]:
        rows.append(("not counted", f"{', '.join(summary['not counted'])}: sizes unknown"))
    if summary["not timed"]:
        rows.append(("not timed", f"{', '.join(summary['not timed'])}: too slow on these devices"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def _choices(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Time in which static methods choose, where it is worth a line: the longest by name."""
    found = summary["choices"]
    total = sum(row["seconds"] for row in found)
    if total < _WORTH_S:
        return []
    longest = [
        f"{row['method']} {_clock(row['seconds'])} in {row['cells']} "
        f"cell{'s' * (row['cells'] > 1)} ({row['basis']})"
        for row in found[:_LONGEST]
        if row["seconds"] >= _WORTH_S
    ]
    return [("  of it choosing", "; ".join([f"about {_clock(total)}", *longest]))]


def _speeds(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Samples per second of each recipe, and what the figure rests on."""
    by_recipe: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in summary["measured"]:
        by_recipe.setdefault((row["recipe"], row["precision"]), []).append(row)
    lines = []
    for (recipe, precision), measured in by_recipe.items():
        found = [f"{1 / row['train_s']:,.0f}" for row in sorted(measured, key=_seconds_each)[::-1]]
        speed = found[0] if found[0] == found[-1] else f"{found[0]} to {found[-1]}"
        records = sum(row["records"] for row in measured)
        parts = [f"{records} record{'s' * (records > 1)}"] if records else []
        parts += ["an epoch timed now"] if not all(row["records"] for row in measured) else []
        how = f"about {speed} samples/s trained per worker, by {' and '.join(parts)}"
        lines.append((f"speed of {recipe}", f"{precision}: {how}"))
    if summary["device"] == "cuda" and any(r["model"] == "resnet18" for r in summary["measured"]):
        lines.append(("", _CARD))
    gain = summary.get("bf16")
    if gain is not None:
        lines.append((f"bf16 for {gain['recipe']}", f"{gain['text']}; another recipe, other keys"))
    return lines


def _seconds_each(row: Mapping[str, Any]) -> float:
    return float(row["train_s"])


def _clock(seconds: float) -> str:
    days = seconds / 86400
    return clock_text(seconds) if days < 2 else f"{days:,.0f} days"
