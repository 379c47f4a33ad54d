"""What a study found, as JSON values and as markdown."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import optuna
from optuna.trial import TrialState
from scipy import stats

from prunebench.bench.grids.pinned import Pinned
from prunebench.bench.tuning.final import front_slots
from prunebench.bench.tuning.space import decode, space_from
from prunebench.bench.tuning.trials import ended_trials, why_incomplete
from prunebench.leaderboard.render.markdown import escape, pipe
from prunebench.leaderboard.stats import mean_interval, paired_difference
from prunebench.record import Record, canonical

_TEST = "test_accuracy"


def build_report(study: optuna.Study, pinned: Pinned, records: Iterable[Record]) -> dict[str, Any]:
    """The report of a finished study.

    Args:
        study: The study.
        pinned: Its pinned file.
        records: Where evaluation runs of the choice and of the default may be found.

    Returns:
        JSON values: ``history``, ``importances``, ``comparison`` on fresh tuning seeds,
        ``test`` (None until evaluation runs exist), ``fidelity`` and ``front`` where they apply.
    """
    body = pinned.body
    return {
        "study": study.study_name,
        "hash": pinned.hash,
        "method": body["method"],
        "params": pinned.params,
        "choice": body["choice"]["trial"],
        "trials": body["trials"],
        "budget": body["budget"],
        "validation": body["validation"],
        "seeds": body["seeds"],
        "history": history(study, body),
        "importances": importances(study),
        "comparison": comparison(body),
        "fidelity": fidelity(study, body["design"]["fidelities"]),
        "front": front_slots(study) if body["design"]["pareto"] else None,
        "test": test_figures(pinned, records),
    }


def history(study: optuna.Study, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every trial in the order of its slot, with the best value so far."""
    space = space_from(body["design"]["space"])
    rows: list[dict[str, Any]] = []
    best: float | None = None
    for slot, trial in sorted(ended_trials(study).items()):
        value = None
        if trial.state == TrialState.COMPLETE:
            value = trial.values[0]
            best = value if best is None else max(best, value)
        state, reason = why_incomplete(trial) or ("complete", "")
        rows.append(
            {
                "trial": slot,
                "params": decode(trial.params, space),
                "state": state,
                "reason": reason,
                "value": value,
                "trained": trial.values[1] if value is not None and len(trial.values) > 1 else None,
                "schedules": dict(sorted(trial.intermediate_values.items())),
                "best": best,
            }
        )
    return rows


def importances(study: optuna.Study) -> dict[str, float] | None:
    """Optuna's importances (PED-ANOVA) for the first objective; None where they are undefined."""
    complete = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
    if len(complete) < 4 or len({trial.values[0] for trial in complete}) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = optuna.importance.get_param_importances(
                study,
                evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
                target=lambda trial: trial.values[0],
            )
        except (ValueError, RuntimeError):
            return None
    return {name: float(value) for name, value in found.items()}


def comparison(body: Mapping[str, Any]) -> dict[str, Any]:
    """The choice against the default on the fresh tuning seeds, in percentage points."""
    choice = body["choice"]
    fresh = {f["trial"]: _percent(f["fresh"]) for f in choice["finalists"]}
    return {
        "chosen": _mean(fresh[choice["trial"]]),
        "default": _mean(fresh[0]),
        **_difference(fresh[choice["trial"]], fresh[0]),
    }


def _percent(values: Mapping[str, float]) -> dict[int, float]:
    return {int(seed): 100 * value for seed, value in values.items()}


def _mean(values: Mapping[int, float]) -> dict[str, Any] | None:
    if not values:
        return None
    interval = mean_interval(list(values.values()))
    return {"n": interval.n, "mean": interval.mean, "half_width": interval.half_width}


def _difference(a: Mapping[int, float], b: Mapping[int, float]) -> dict[str, Any]:
    found = paired_difference(a, b)
    mean = None if math.isnan(found.mean) else found.mean
    return {"n": found.n, "difference": mean, "half_width": found.half_width}


def fidelity(study: optuna.Study, shares: list[float]) -> list[dict[str, Any]] | None:
    """Spearman's rank correlation between neighbouring schedules, over the configurations that
    ran both; those are the better ones, so it understates. None for a single schedule."""
    if len(shares) == 1:
        return None
    found = []
    for rung, (share, after) in enumerate(pairwise(shares)):
        pairs = [
            (trial.intermediate_values[rung], trial.intermediate_values[rung + 1])
            for _, trial in sorted(ended_trials(study).items())
            if rung + 1 in trial.intermediate_values
        ]
        low, high = [a for a, _ in pairs], [b for _, b in pairs]
        usable = len(pairs) >= 3 and len(set(low)) > 1 and len(set(high)) > 1
        rho = float(stats.spearmanr(low, high).statistic) if usable else None
        found.append({"from": share, "to": after, "n": len(pairs), "spearman": rho})
    return found


def test_figures(pinned: Pinned, records: Iterable[Record]) -> dict[str, Any] | None:
    """Test accuracy of the evaluation runs in the setting that was tuned, beside validation.

    Returns:
        None while there are none. ``drop`` is validation minus test of the choice; where the
        validation labels are noisy, the levels do not compare, and ``gain`` (choice minus
        default) does.
    """
    anchor = pinned.body["design"]["spec"]
    tuned: dict[int, float] = {}
    default: dict[int, float] = {}
    for record in records:
        value = record.metrics.get(_TEST)
        if record.status not in ("done", "diverged") or value is None:
            continue
        spec = dict(record.spec)
        tuned_by, method = spec.pop("tuned", None), spec["method"]
        if _setting(spec) != _setting(anchor):
            continue
        if tuned_by is not None and tuned_by.get("study") == pinned.hash:
            tuned[spec["seed"]] = 100 * value
        elif tuned_by is None and canonical(method) == canonical(anchor["method"]):
            default[spec["seed"]] = 100 * value
    if not tuned:
        return None
    own = comparison(pinned.body)
    return {
        "tuned": _mean(tuned),
        "default": _mean(default),
        "gain": _difference(tuned, default),
        "drop": own["chosen"]["mean"] - _mean(tuned)["mean"],  # type: ignore[index]
    }


def _setting(spec: Mapping[str, Any]) -> str:
    names = ("dataset", "noise", "imbalance", "corrupt", "criterion", "recipe", "scoring_recipe",
             "ratio", "budget", "budget_share", "reference", "proxy", "replica")  # fmt: skip
    return canonical([*(spec.get(name) for name in names), spec["method"]["name"]])


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
    return pipe(heads, [[escape(str(value)) for value in row] for row in rows], len(heads) - 1)


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
