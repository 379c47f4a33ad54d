"""Names and order of rows and columns, and how many decimals a table shows."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable

from prunebench.leaderboard.aggregate import FULL, WITH_REFERENCE, Run
from prunebench.leaderboard.tuned import origin, study
from prunebench.record import canonical

RowId = tuple[str, str]
KINDS = ("full", "control", "method", "oracle")
CONTROLS = ("short-full", WITH_REFERENCE)
_NOISE_ORDER = ("clean", "symmetric", "asymmetric", "pairflip")


def kind_of(run: Run) -> str:
    """One of ``KINDS``; an oracle knows the clean labels of the training set."""
    if run.record.info.get("oracle") or run.method.startswith("oracle"):
        return "oracle"
    if run.method == FULL:
        return "full"
    return "control" if run.method in CONTROLS else "method"


def row_id(run: Run) -> RowId:
    """Method, canonical options and the study they come from: what makes one row."""
    return run.method, (canonical(run.params) if run.params else "{}") + study(run)


def row_labels(runs: Iterable[Run]) -> dict[RowId, str]:
    """Label of each row: the method, and the options in which its variants here differ.

    Default and tuned options stand apart; of several studies each is named.
    """
    variants: dict[tuple[str, str], dict[RowId, Run]] = defaultdict(dict)
    for run in runs:
        variants[run.method, origin(run)].setdefault(row_id(run), run)
    labels: dict[RowId, str] = {}
    for (method, tuned), rows in variants.items():
        names = sorted({name for run in rows.values() for name in run.params})
        differing = [
            name for name in names if len({_option(run, name) for run in rows.values()}) > 1
        ]
        for identity, run in rows.items():
            shown = [f"{name}={_option(run, name)}" for name in differing if name in run.params]
            if tuned:
                several = len({study(other) for other in rows.values()}) > 1
                shown = [tuned, f"study {study(run)[:8]}"] if several else [tuned, *shown]
            labels[identity] = f"{method} ({', '.join(shown)})" if shown else method
    return labels


def _option(run: Run, name: str) -> str:
    if name not in run.params:
        return ""
    value = run.params[name]
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def noise_order(name: str) -> tuple[int, str, float, str]:
    """Sort key: clean, then by kind and rate, other kinds by name."""
    kind, _, rest = name.partition(":")
    place = _NOISE_ORDER.index(kind) if kind in _NOISE_ORDER else len(_NOISE_ORDER)
    try:
        rate = float(rest)
    except ValueError:
        rate = math.inf
    return place, kind, rate if math.isfinite(rate) else math.inf, name


def decimals(test_size: int | None) -> int:
    """Decimals of a percentage: one up to 99,999 test samples, two from there on."""
    return 2 if test_size is not None and test_size >= 100_000 else 1
