"""What the MLflow run of a record holds, made without MLflow."""

from __future__ import annotations

import csv
import json
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.record import (
    AND,
    DATA_NAME,
    Record,
    canonical,
    content_key,
    corruption_name,
    noise_name,
)
from prunebench.registry import ALIGN, split_suffix

MAX_PARAM, MAX_TAG, MAX_KEY = 6000, 8000, 250
CURVES = "epochs.csv"
RUN_STATUS = {
    "done": "FINISHED",
    "diverged": "FINISHED",
    "skipped": "FINISHED",
    "failed": "FAILED",
    "killed": "KILLED",
}
_FINAL = {"test_accuracy": "test_acc"}
_LEDGER = {"trained": "backward_samples"}
_TIMING = {"total_s": "wall_s"}
_FOREIGN = re.compile(r"[^\w\-. :/]")


@dataclass(frozen=True)
class Point:
    """One metric value; ``timestamp`` in milliseconds."""

    name: str
    value: float
    step: int
    timestamp: int


@dataclass(frozen=True)
class Payload:
    """All that is written for one record.

    Attributes:
        key: Key of the record's specification, tag ``cell_key``.
        digest: Digest of the record, tag ``record_digest``.
        role: ``eval`` or ``tune``; each has its own experiment.
        name: Name shown in MLflow's table.
        status: MLflow's run status.
        start, end: Milliseconds since the epoch.
        tags, params: Text by name, cut to MLflow's limits; ``tags`` lack the digest.
        metrics: Finals under ``final/`` and ``cost/``, curves under ``epoch/``, all finite.
        dataset: (name, digest, source) of the one dataset input.
    """

    key: str
    digest: str
    role: str
    name: str
    status: str
    start: int
    end: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: tuple[Point, ...]
    dataset: tuple[str, str, str]


def build_payload(record: Record, artifacts: Path | None, finished: float | None = None) -> Payload:
    """Turns a record and its per-epoch table into a payload.

    Args:
        record: A sealed record.
        artifacts: Its folder of artifacts, which may lack ``epochs.csv``; None for no curves.
        finished: Unix time of the record's end where ``timing`` has no ``finished``; now if None.
    """
    spec = record.spec
    end = record.timing.get("finished", finished or time.time())
    start = record.timing.get("started", end - record.timing.get("total_s", 0.0))
    begin, stop = int(start * 1000), int(end * 1000)
    dataset, noise, method = (_part(spec, field) for field in ("dataset", "noise", "method"))
    ratio, seed = spec.get("ratio"), spec.get("seed")
    data = {"dataset": dataset, "noise": noise, **_beside(spec), "seed": seed}
    shown = record.info.get(DATA_NAME) or dataset.get("name")
    parts = [noise_name(noise), *_beside_names(spec).values()]
    setting = AND.join(parts)
    label = f"{method.get('name')} {shown} {setting} {ratio} s{seed}"
    return Payload(
        key=record.key,
        digest=record.digest or record.sealed().digest,
        role=str(spec.get("role", "eval")),
        name=label[:MAX_KEY],
        status=RUN_STATUS[record.status],
        start=begin,
        end=stop,
        tags=_tags(record),
        params=_flat(spec),
        metrics=(*_finals(record, stop), *_curves(artifacts, begin, stop)),
        dataset=(
            str(shown)[:MAX_KEY],
            _data_digest(record, data)[:32],
            canonical(data),
        ),
    )


def _data_digest(record: Record, data: dict[str, Any]) -> str:
    """Of the noisy labels; with imbalance or corruption, which keep labels, of these too."""
    labels = record.info.get("label_digest")
    if (_beside(record.spec) or _part(record.spec, "noise").get("outside")) and labels:
        return content_key({**data, "labels": labels})
    return str(labels or content_key({**data, "info": record.info}))


def _beside(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Imbalance and corruption of a specification, where it has them."""
    return {name: _part(spec, name) for name in ("imbalance", "corrupt") if spec.get(name)}


def _beside_names(spec: dict[str, Any]) -> dict[str, str]:
    """Their names as boards show them."""
    return {name: corruption_name({"name": "", **part}) for name, part in _beside(spec).items()}


def _part(spec: dict[str, Any], name: str) -> dict[str, Any]:
    value = spec.get(name)
    return value if isinstance(value, dict) else {"name": value}


def _tags(record: Record) -> dict[str, str]:
    spec, environment = record.spec, record.environment
    method = str(_part(spec, "method").get("name"))
    noise = str(_part(spec, "noise").get("name"))
    shared = {name: value for name, value in spec.items() if name not in ("seed", "replica")}
    tags = {
        "cell_key": record.key,
        "record_json": record.sealed().dumps(),
        "method": method,
        "base_method": split_suffix(method)[0],
        "alignprune": str(method.endswith(ALIGN)).lower(),
        "dataset": _part(spec, "dataset").get("name"),
        "noise": noise,
        "noise_rate": _rate(noise),
        **_beside_names(spec),
        "criterion": _part(spec, "criterion").get("name"),
        "recipe": _part(spec, "recipe").get("name"),
        "ratio": spec.get("ratio"),
        "budget": spec.get("budget"),
        "seed": spec.get("seed"),
        "seed_role": spec.get("role", "eval"),
        "protocol": spec.get("schema"),
        "config_hash": content_key(shared),
        "code_rev": environment.get("code"),
        "device": environment.get("device"),
        "status": record.status,
        "reason": record.reason,
        "record": f"records/{record.key}.json",
    }
    return {name: _text(value)[:MAX_TAG] for name, value in tags.items() if value not in (None, "")}


def _rate(noise: str) -> float | None:
    if noise == "clean":
        return 0.0
    try:
        return float(noise.partition(":")[2])
    except ValueError:
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, item in sorted(value.items()):
        key = f"{prefix}{name}"
        if isinstance(item, dict):
            flat |= _flat(item, f"{key}.")
        else:
            flat[_name(key)] = _text(item)[:MAX_PARAM]
    return flat


def _name(key: str) -> str:
    return _FOREIGN.sub("_", key)[:MAX_KEY]


def _finals(record: Record, at: int) -> list[Point]:
    values: dict[str, Any] = {"diverged": float(record.status == "diverged")}
    values |= {f"final/{_FINAL.get(name, name)}": v for name, v in record.metrics.items()}
    for name, count in record.ledger.items():
        values[f"final/{_LEDGER[name]}" if name in _LEDGER else f"cost/{name}"] = count
    values |= {
        f"final/{_TIMING.get(name, name)}": seconds
        for name, seconds in record.timing.items()
        if name not in ("started", "finished")
    }
    return [
        Point(_name(name), float(value), 0, at)
        for name, value in sorted(values.items())
        if value is not None and math.isfinite(value)
    ]


def _curves(folder: Path | None, start: int, end: int) -> list[Point]:
    path = folder / CURVES if folder else None
    if path is None or not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.DictReader(file))
    except (OSError, csv.Error):
        return []
    points = []
    for position, row in enumerate(rows):
        at = start + (end - start) * (position + 1) // len(rows)
        epoch = _number(row.get("epoch"))
        step = position if epoch is None else int(epoch)
        for name, text in row.items():
            value = _number(text)
            if name and name != "epoch" and value is not None:
                points.append(Point(_name(f"epoch/{name}"), value, step, at))
    return points


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
