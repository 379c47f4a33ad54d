"""A report as markdown, and as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

_FACTS = ("device_class", "cores", "threads", "system", "python", "torch", "torchvision",
          "pillow", "numpy", "scikit-learn", "prunebench")  # fmt: skip


def shown(value: float, unit: str) -> str:
    """A number with its unit."""
    if unit == "share":
        return f"{100 * value:.0f} %" if abs(value) >= 0.1 else f"{100 * value:.3g} %"
    if unit == "x":
        return f"{value:.3g}x" if value < 100 else f"{value:,.0f}x"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3
    return f"{value:,.{digits}f} {unit}"


def seconds(value: float) -> str:
    """A time at a readable scale."""
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def title(result: Mapping[str, Any]) -> str:
    """Name of the benchmark, and what distinguishes the result from another of it."""
    return ", ".join(part for part in (result["name"], result["variant"]) if part)


def figure_rows(report: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Benchmark, figure, value, spread over pairs, goal."""
    rows = []
    for result in report["results"]:
        for f in result["figures"]:
            spread, goal = "", ""
            if f["low"] is not None:
                spread = f"{shown(f['low'], f['unit'])} to {shown(f['high'], f['unit'])}"
            if f["goal"] is not None:
                sign = ">=" if f["goal"]["least"] else "<="
                word = "met" if f["met"] else "missed"
                goal = f"{sign} {shown(f['goal']['bound'], f['unit'])}: {word}"
            rows.append((title(result), f["what"], shown(f["value"], f["unit"]), spread, goal))
    return rows


def where(report: Mapping[str, Any]) -> str:
    """One paragraph on the machine."""
    machine, after = report["machine"], report["after"]
    text = ", ".join(f"{name.replace('_', ' ')} {machine[name]}" for name in _FACTS)
    text += f", bf16 units: {machine['bf16'] or 'none'}"
    if machine["clocks"]:
        text += f"; clocks {machine['clocks']} before, {after['clocks']} after"
    if machine["load"] is not None:
        text += f"; load {machine['load']:.1f} before, {after['load']:.1f} after"
    return f"{text}; {report['taken']}."


def markdown(report: Mapping[str, Any]) -> str:
    """The page: machine, figures, and one table of times per benchmark."""
    repeats = report["settings"]["repeats"]
    head = ("benchmark", "figure", "value", "pairs", "goal")
    lines = [
        "# Speed", "", where(report), "",
        f"Contenders took turns, one turn each uncounted, then {repeats}. Values are ratios of "
        "medians; pairs: least and greatest ratio of turns taken side by side. CPU time is given "
        "where other programs took more than a tenth of the time of a single thread.",
        "", tabulate(figure_rows(report), head, "github", disable_numparse=True),
    ]  # fmt: skip
    for result in report["results"]:
        clock = f"; {result['clock']} time" if result["rows"] else ""
        lines += ["", f"## {title(result)}", "", f"{result['what']}{clock}."]
        rows = [
            (r["name"], seconds(r["median"]), f"{seconds(r['low'])} to {seconds(r['high'])}",
             seconds(r["wall"]), seconds(r["cpu"]))
            for r in result["rows"]
        ]  # fmt: skip
        names = ("contender", "median", "spread", "wall", "CPU")
        if rows:
            lines += ["", tabulate(rows, names, "github", disable_numparse=True)]
        lines += [f"\n{note[0].upper()}{note[1:]}." for note in result["notes"]]
    return "\n".join(lines) + "\n"
