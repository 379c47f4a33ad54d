"""Checks of the fields that tables read: a record may come from anybody, with any content."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from prunebench.errors import InputError
from prunebench.leaderboard.headline import HEADLINES
from prunebench.record import DATA_NAME, USUAL_SEVERITY, Record

#: Far above any seed, and any number of samples or classes.
_MOST = 2**63
#: Of measured numbers; products and quotients of two stay far from the ends of a float.
_LEAST, _LARGEST = 1e-15, 1e15
_JSON = json.JSONEncoder(ensure_ascii=False)
#: Control signs as JSON spells them.
_CONTROL = re.compile(r"\\(u00[01]|[bf])")
#: A row's name; ``@`` is kept for later.
LABEL = re.compile(r"(?! )[^@]{1,60}(?<! )")
LABEL_WORDS = "1 to 60 signs that can be shown, without @ and without blanks at the ends"
_NAMED = ("dataset", "noise", "method")
_TABLES = ("criterion", "recipe", "scoring_recipe", "reference", "validation", "tuned",
           "imbalance", "corrupt")  # fmt: skip


def check_shape(record: Record) -> None:
    """Checks the fields of a record that leaderboards use.

    Raises:
        InputError: One is missing, of another type or out of range; the line names it.
    """
    spec, info = record.spec, record.info
    for name, shown in (("spec", spec), ("environment", record.environment),
                        ("info.clean_labels_used", info.get("clean_labels_used"))):  # fmt: skip
        text = _JSON.encode(shown).replace("\\\\", "")
        plain = text.isprintable() and not _CONTROL.search(text)
        _need(record, name, plain, "control signs", "text that can be shown")
    used = info.get("clean_labels_used")
    _need(record, "clean_labels_used", used is None or isinstance(used, str), used, "text")
    for name in _NAMED:
        part = spec.get(name)
        _need(record, name, isinstance(part, dict), part, "a table")
        own = part["name"] if isinstance(part, dict) and "name" in part else None
        _need(record, f"{name}.name", isinstance(own, str) and own != "", own, "a name")
    for name in _TABLES:
        part = spec.get(name)
        _need(record, name, part is None or isinstance(part, dict), part, "a table")
    for name in ("imbalance", "corrupt"):
        if part := spec.get(name):
            own = part.get("name")
            _need(record, f"{name}.name", isinstance(own, str) and own != "", own, "a name")
    outside = spec["noise"].get("outside")
    known = isinstance(outside, Mapping) and isinstance(outside.get("name"), str)
    good = outside is None or known or isinstance(outside, str)
    _need(record, "noise.outside", good, outside, "last:K, or a data set")
    severity = (spec.get("corrupt") or {}).get("severity", USUAL_SEVERITY)
    _need(record, "corrupt.severity", _count(severity), severity, "a whole number from 1 to 5")
    criterion = (spec.get("criterion") or {}).get("name", "ce")
    _need(record, "criterion.name", isinstance(criterion, str), criterion, "a name")
    for part, name in product(("recipe", "scoring_recipe"), ("name", "model")):
        value = (spec.get(part) or {}).get(name, "")
        _need(record, f"{part}.{name}", isinstance(value, str), value, "a name")
    params = spec["method"].get("params")
    _need(record, "method.params", params is None or isinstance(params, dict), params, "a table")
    ratio, seed = spec.get("ratio"), spec.get("seed")
    _need(record, "ratio", _between(ratio, 0, 1) and ratio != 1, ratio, "a number in [0, 1)")
    _need(record, "seed", _count(seed), seed, "an integer from 0")
    for name, kind in (("proxy", str), ("budget", str), ("role", str), ("part", str)):
        value = spec.get(name, "")
        _need(record, name, isinstance(value, kind), value, "text")
    replica = spec.get("replica", 0)
    _need(record, "replica", _count(replica), replica, "an integer from 0")
    _check_study(record, spec.get("tuned") or {})
    label = info.get("label")
    _need(record, "label", label is None or is_label(label), label, LABEL_WORDS)
    title = info.get(DATA_NAME)
    _need(record, DATA_NAME, title is None or is_label(title), title, LABEL_WORDS)
    for name in ("score", "sampler"):
        value = info.get(name)
        _need(record, f"info.{name}", value is None or is_label(value), value, LABEL_WORDS)
    for name in ("test_size", "num_classes", "metrics"):
        value = info.get(name)
        good = value is None or (_count(value) and value > 0)
        _need(record, name, good, value, "an integer from 1")
    for name in ("chance", "noise_rate"):
        value = info.get(name)
        _need(record, name, value is None or _between(value, 0, 1), value, "a share in [0, 1]")
    for name, number in record.timing.items():
        good = number == 0 or _LEAST <= number <= _LARGEST
        _need(record, f"timing.{name}", good, number, "seconds, 0 or more")
    for name, value in record.metrics.items():
        _need(record, f"metrics.{name}", value is None or abs(value) <= _LARGEST, value,
              f"a number up to {_LARGEST:g}")  # fmt: skip
    for headline in HEADLINES.values():
        value = record.metrics.get(headline.entry)
        share = value is None or _between(value, 0, 1)
        _need(record, f"metrics.{headline.entry}", share, value, "a share in [0, 1]")
    for name, number in record.ledger.items():
        _need(record, f"ledger.{name}", number >= 0, number, "0 or more")


def usable(records: Iterable[Record], where: str) -> tuple[list[Record], list[InputError]]:
    """Records that a table can hold, and what is wrong with each of the others.

    Args:
        records: Any records.
        where: Where they come from, which the errors name.
    """
    good, faults = [], []
    for record in records:
        try:
            check_shape(record)
            good.append(record)
        except InputError as fault:
            faults.append(InputError(fault.what, where=f"{where}: {fault.where}",
                                     accepted=fault.accepted))  # fmt: skip
    return good, faults


def is_label(value: Any) -> bool:
    """Whether a row may be named so."""
    return isinstance(value, str) and value.isprintable() and LABEL.fullmatch(value) is not None


def _check_study(record: Record, mark: Mapping[str, Any]) -> None:
    seeds = mark.get("seeds")
    good = seeds is None or (isinstance(seeds, list) and all(map(_count, seeds)))
    _need(record, "tuned.seeds", good, seeds, "a list of integers from 0")


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _between(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and low <= value <= high


def _need(record: Record, name: str, good: bool, value: Any, accepted: str) -> None:
    if not good:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        raise InputError(
            "the field is missing" if value is None else f"{shown} is not accepted",
            where=f"record {record.key}: {name}",
            accepted=accepted,
        )
