"""A study's report as markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from prunebench.leaderboard.render.markdown import escape


def render(report: Mapping[str, Any]) -> str:
    """The report of ``build_report`` as one page."""
    parts = [_head(report), _comparison(report), _test(report), _fidelity(report)]
    parts += [_importances(report), _history(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(report: Mapping[str, Any]) -> str:
    trials, budget, split = report["trials"], report["budget"], report["validation"]
    seeds = report["seeds"]
    ended = ", ".join(f"{count} {name}" for name, count in trials.items() if count)
    chosen = "the defaults" if report["choice"] == 0 else f"trial {report['choice']}"
    params = ", ".join(f"{name} = {show(value)}" for name, value in report["params"].items())
    lines = [
        f"# Study {report['study']}",
        "",
        f"- Method: {escape(report['method']['name'])}, version {report['method']['version']}",
        f"- Chosen: {chosen} ({escape(params)})",
        f"- Trials: {ended}",
        f"- Budget: {budget['total']:g} full trainings in {budget['cells']} cells "
        f"({budget['trials']:g} for trials, {budget['finals']:g} for finalists)",
        f"- Validation: {split['size']} training samples with {split['labels']} labels",
        f"- Tuning seeds: {_list(seeds['trials'])}; finalists: {_list(seeds['final'])}",
        f"- Hash: `{report['hash']}`",
    ]
    if report["front"] is not None:
        lines.append(f"- Front (accuracy, trained samples): trials {_list(report['front'])}")
    return "\n".join(lines)


def _comparison(report: Mapping[str, Any]) -> str:
    found = report["comparison"]
    lines = ["## Choice against default, on fresh tuning seeds", ""]
    lines += [f"- Chosen: {_level(found['chosen'])}", f"- Default: {_level(found['default'])}"]
    lines += [f"- Difference: {_points(found)}"]
    if report["choice"] == 0:
        lines[-1] = "- No configuration beat the default on fresh seeds."
    return "\n".join(lines)


def _test(report: Mapping[str, Any]) -> str:
    found = report["test"]
    head = "## Validation to test\n\n"
    if found is None:
        return head + "No evaluation run of this choice yet."
    lines = [
        f"- Test accuracy, tuned: {_level(found['tuned'])}",
        f"- Test accuracy, default: {_level(found['default'])}",
        f"- Gain on test: {_points(found['gain'])}",
        f"- Gain on validation: {_points(report['comparison'])}",
        f"- Drop from validation to test: {found['drop']:+.2f} points"
        + (" (validation labels are noisy: compare the gains, not the levels)"
           if report["validation"]["labels"] == "noisy" else ""),
    ]  # fmt: skip
    return head + "\n".join(lines)


def _fidelity(report: Mapping[str, Any]) -> str:
    if report["fidelity"] is None:
        return ""
    rows = [
        [f"{row['from']:g}", f"{row['to']:g}", row["n"],
         "-" if row["spearman"] is None else f"{row['spearman']:.2f}"]
        for row in report["fidelity"]
    ]  # fmt: skip
    return "## Rank correlation between schedules\n\n" + _table(
        rows, ["share of epochs", "next share", "configurations", "Spearman"]
    )


def _importances(report: Mapping[str, Any]) -> str:
    head = "## Importances (PED-ANOVA)\n\n"
    if report["importances"] is None:
        return head + "Too few complete trials, or all of one value."
    rows = [[name, f"{value:.2f}"] for name, value in report["importances"].items()]
    return head + _table(rows, ["option", "importance"])


def _history(report: Mapping[str, Any]) -> str:
    rows = []
    for row in report["history"]:
        params = row["params"] or {}
        rows.append(
            [
                row["trial"],
                ", ".join(f"{name} = {show(value)}" for name, value in params.items()),
                row["state"] + (f": {row['reason']}" if row["state"] in ("failed", "diverged")
                                else ""),
                _share(row["value"]),
                _share(row["best"]),
                *([show(row["trained"])] if report["front"] is not None else []),
            ]
        )  # fmt: skip
    heads = ["trial", "options", "state", "validation %", "best so far %"]
    heads += ["trained samples"] * (report["front"] is not None)
    return "## History\n\n" + _table(rows, heads)


def _table(rows: list[list[Any]], heads: list[str]) -> str:
    cells = [[escape(str(value)) for value in row] for row in rows]
    return tabulate(cells, heads, tablefmt="pipe", disable_numparse=True)


def show(value: Any) -> str:
    """An option's value for people: four digits, ``auto`` for None."""
    if value is None:
        return "auto"
    return f"{value:.4g}" if isinstance(value, float) and not value.is_integer() else f"{value}"


def _list(values: list[int]) -> str:
    return ", ".join(str(value) for value in values) or "none"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _level(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "no runs"
    half = found["half_width"]
    return f"{found['mean']:.2f} %{_half(half)} over {found['n']} seeds"


def _points(found: Mapping[str, Any]) -> str:
    if found["difference"] is None:
        return "no common seeds"
    return f"{found['difference']:+.2f} points{_half(found['half_width'])}, {found['n']} pairs"


def _half(half: float | None) -> str:
    return "" if half is None else f" ± {half:.2f} (95 %)"
