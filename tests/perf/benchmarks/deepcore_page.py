"""The report of DeepCore's script beside ours, as markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from tabulate import tabulate

from perf.benchmarks.deepcore_setting import METHODS, OURS, THEIRS
from prunebench.bench.perf.page import figure_rows, seconds, where


def _spread(values: Sequence[float | None], digits: int = 2) -> str:
    known = [v for v in values if v is not None]
    more = f" ± {stdev(known):.{digits}f}" if len(known) > 1 else ""
    return f"{mean(known):.{digits}f}{more}" if known else "-"


def page(report: Mapping[str, Any]) -> str:
    """The report as markdown: accuracies, times, machine, and why choices differ."""
    s, rows, ends = report["settings"], [], []
    for name in s["methods"]:
        a, b = (report["outcomes"][side][name] for side in (THEIRS, OURS))
        last = [[one["last"] for one in side if one["last"] is not None] for side in (a, b)]
        gap = f"{mean(last[1]) - mean(last[0]):+.2f}" if all(last) else "-"
        rows.append((name, *(_spread(v) for v in last), gap, _spread([o["best"] for o in a]),
                     *(_spread([o["kept"] for o in side], 0) for side in (a, b)),
                     _spread([o["spent"] for o in a], 1)))  # fmt: skip
        ends += [f"- {name}, {side}, seed {seed}: {one['status']}"
                 for side, every in ((THEIRS, a), (OURS, b))
                 for seed, one in enumerate(every) if one["status"] != "done"]  # fmt: skip
    head = ("method", "DeepCore, last epoch", "ours, last epoch", "difference",
            "DeepCore, best epoch", "kept, DeepCore", "kept, ours", "s, DeepCore")  # fmt: skip
    lines = [
        "# DeepCore's script beside ours", "", where(report), "",
        "Accuracy in % on the test images, mean and standard deviation over seeds (at most "
        f"{s['repeats']}). DeepCore reports the best epoch, chosen on the test images; the last "
        "epochs are compared. A difference is ours minus DeepCore's; no test is made of it.",
        "", tabulate(rows, head, "github", disable_numparse=True),
        "", "Methods that did not end well:" * bool(ends), *ends, "", "## Time",
    ]  # fmt: skip
    for result in report["results"]:
        named = [(r["name"], *(seconds(r[k]) for k in ("median", "low", "high", "cpu")))
                 for r in result["rows"]]  # fmt: skip
        heads = ("table", "median", "least", "greatest", "processor time, median")
        pairs = [row[1:4] for row in figure_rows(report)]
        lines += [
            "", f"{result['what'][0].upper()}{result['what'][1:]}; wall time, "
            f"turns asked for: {s['repeats']}, each side first in turn.", "",
            tabulate(named, heads, "github", disable_numparse=True), "",
            tabulate(pairs, ("figure", "value", "pairs"), "github", disable_numparse=True),
        ]  # fmt: skip
    if not report["results"]:
        lines += ["", "DeepCore ended no method: nothing is timed."]
    lines += ["", "## Why choices differ", ""]
    lines += [f"- {name}: {METHODS[name].differs}." for name in s["methods"]]
    return "\n".join(lines) + "\n"
