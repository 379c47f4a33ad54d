"""What `grid --dry-run` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunebench.bench.grids.progress import clock_text


def lines(summary: Mapping[str, Any]) -> str:
    """The summary as a user reads it."""
    rows = [(name, f"{summary[name]:,}") for name in ("cells", "recorded already", "to run")]
    runs = summary["scoring runs"]
    if runs:
        methods = sorted({name for run in runs for name in run["methods"]})
        rows.append((
            "scoring runs",
            f"{len(runs):,} shared ({summary['added for scoring']} added) serve "
            f"{sum(run['serves'] for run in runs):,} cells of {', '.join(methods)}",
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
        if any(row["rough"] for row in summary["measured"]):
            rows.append(("", "rough: a step is too slow here to be timed at its batch size"))
    rows += [(f"not here: {name}", line) for name, line in summary["not here"].items()]
    if summary["not counted"]:
        rows.append(("not counted", f"{', '.join(summary['not counted'])}: sizes unknown"))
    if summary["not timed"]:
        rows.append(("not timed", f"{', '.join(summary['not timed'])}: too slow on these devices"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def _clock(seconds: float) -> str:
    days = seconds / 86400
    return clock_text(seconds) if days < 2 else f"{days:,.0f} days"
