"""Checks of the fields that tables read: a record may come from anybody, with any content."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn
from weakref import WeakValueDictionary

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
#: Entries of ``info`` that are names, and how messages call them.
_LABELS = {"label": "label", DATA_NAME: DATA_NAME, "score": "info.score",
           "sampler": "info.sampler"}  # fmt: skip


#: Records found good, by their ids: reading and building tables check the same ones.
_good: WeakValueDictionary[int, Record] = WeakValueDictionary()


def check_shape(record: Record) -> None:
    """Checks the fields of a record that leaderboards use.

    Raises:
        InputError: One is missing, of another type or out of range; the line names it.
    """
    if _good.get(id(record)) is not record:
        _check(record)
        _good[id(record)] = record


def _check(record: Record) -> None:
    spec, info = record.spec, record.info
    used = info.get("clean_labels_used")
    texts = {"spec": spec, "environment": record.environment, "info.clean_labels_used": used}
    if not _plain(texts):
        for name, shown in texts.items():
            if not _plain(shown):
                _refuse(record, name, "control signs", "text that can be shown")
    if not (used is None or isinstance(used, str)):
        _refuse(record, "clean_labels_used", used, "text")
    for name in _NAMED:
        part = spec.get(name)
        if not isinstance(part, dict):
            _refuse(record, name, part, "a table")
        _check_name(record, f"{name}.name", part.get("name"))
    for name in _TABLES:
        part = spec.get(name)
        if not (part is None or isinstance(part, dict)):
            _refuse(record, name, part, "a table")
    for name in ("imbalance", "corrupt"):
        if part := spec.get(name):
            _check_name(record, f"{name}.name", part.get("name"))
    outside = spec["noise"].get("outside")
    known = isinstance(outside, Mapping) and isinstance(outside.get("name"), str)
    if not (outside is None or known or isinstance(outside, str)):
        _refuse(record, "noise.outside", outside, "last:K, or a data set")
    severity = (spec.get("corrupt") or {}).get("severity", USUAL_SEVERITY)
    if not _count(severity):
        _refuse(record, "corrupt.severity", severity, "a whole number from 1 to 5")
    criterion = (spec.get("criterion") or {}).get("name", "ce")
    if not isinstance(criterion, str):
        _refuse(record, "criterion.name", criterion, "a name")
    for part in ("recipe", "scoring_recipe"):
        recipe = spec.get(part) or {}
        for name in ("name", "model"):
            if not isinstance(recipe.get(name, ""), str):
                _refuse(record, f"{part}.{name}", recipe[name], "a name")
    params = spec["method"].get("params")
    if not (params is None or isinstance(params, dict)):
        _refuse(record, "method.params", params, "a table")
    ratio, seed = spec.get("ratio"), spec.get("seed")
    if not _between(ratio, 0, 1) or ratio == 1:
        _refuse(record, "ratio", ratio, "a number in [0, 1)")
    if not _count(seed):
        _refuse(record, "seed", seed, "an integer from 0")
    for name in ("proxy", "budget", "role", "part"):
        if not isinstance(spec.get(name, ""), str):
            _refuse(record, name, spec[name], "text")
    if not _count(spec.get("replica", 0)):
        _refuse(record, "replica", spec["replica"], "an integer from 0")
    seeds = (spec.get("tuned") or {}).get("seeds")
    if not (seeds is None or (isinstance(seeds, list) and all(map(_count, seeds)))):
        _refuse(record, "tuned.seeds", seeds, "a list of integers from 0")
    for name, shown in _LABELS.items():
        value = info.get(name)
        if not (value is None or is_label(value)):
            _refuse(record, shown, value, LABEL_WORDS)
    for name in ("test_size", "num_classes", "metrics"):
        value = info.get(name)
        if not (value is None or (_count(value) and value > 0)):
            _refuse(record, name, value, "an integer from 1")
    for name in ("chance", "noise_rate"):
        value = info.get(name)
        if not (value is None or _between(value, 0, 1)):
            _refuse(record, name, value, "a share in [0, 1]")
    for name, number in record.timing.items():
        if not (number == 0 or _LEAST <= number <= _LARGEST):
            _refuse(record, f"timing.{name}", number, "seconds, 0 or more")
    for name, value in record.metrics.items():
        if value is not None and abs(value) > _LARGEST:
            _refuse(record, f"metrics.{name}", value, f"a number up to {_LARGEST:g}")
    for headline in HEADLINES.values():
        value = record.metrics.get(headline.entry)
        if value is not None and not _between(value, 0, 1):
            _refuse(record, f"metrics.{headline.entry}", value, "a share in [0, 1]")
    for name, number in record.ledger.items():
        if number < 0:
            _refuse(record, f"ledger.{name}", number, "0 or more")


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


def _plain(value: Any) -> bool:
    """Whether a JSON value holds no control signs."""
    text = _JSON.encode(value).replace("\\\\", "")
    return text.isprintable() and not _CONTROL.search(text)


def _check_name(record: Record, field: str, value: Any) -> None:
    if not (isinstance(value, str) and value):
        _refuse(record, field, value, "a name")


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _between(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and low <= value <= high


def _refuse(record: Record, name: str, value: Any, accepted: str) -> NoReturn:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    raise InputError(
        "the field is missing" if value is None else f"{shown} is not accepted",
        where=f"record {record.key}: {name}",
        accepted=accepted,
    )
