"""Repeating a recorded run and saying what differs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from prunebench.bench.spec import Cell, RunSpec, validation_line
from prunebench.errors import InputError
from prunebench.record import Record
from prunebench.registry import DATASETS


def recorded_cell(record: Record, data: Mapping[str, Any]) -> Cell:
    """The cell of a record, with the data set opened on this machine.

    Args:
        record: The record.
        data: Options that the key leaves out (paths).

    Raises:
        InputError: A spec of another version, a path that is missing, or other data.
    """
    try:
        spec = RunSpec.model_validate(record.spec)
    except ValidationError as error:
        raise validation_line(error, f"record {record.key}") from None
    source_class = DATASETS.get(spec.dataset.name).target
    if source_class.argument and source_class.argument not in data:
        raise InputError(
            f"data set {spec.dataset.name!r} needs its {source_class.argument}",
            where="--dataset-param",
            accepted=f"{source_class.argument}=...",
        )
    source = source_class(**{**spec.dataset.params, **data})
    if source.identity() != spec.dataset.identity:
        raise InputError("these are other data than the record's", where=spec.dataset.name)
    return Cell(spec, source.params, {})


def recorded_losses(record: Record) -> list[int] | None:
    """Which per-sample losses a repeat must store to leave the same artifacts."""
    return [] if "losses.npz" in record.artifacts else None


def command_of(record: Record) -> str:
    """The command line that gives the record's run, options spelled out."""
    spec = record.spec
    words = ["prunebench", "run", "--dataset", spec["dataset"]["name"]]
    words += ["--noise", spec["noise"]["name"], "--method", spec["method"]["name"]]
    words += ["--ratio", f"{spec['ratio']:g}", "--seed", str(spec["seed"])]
    words += ["--recipe", spec["recipe"]["name"], "--criterion", spec["criterion"]["name"]]
    words += ["--budget", spec["budget"]]
    for name, value in sorted(spec["method"]["params"].items()):
        words += ["--param", f"{name}={_text(value)}"]
    for name, value in sorted(spec["dataset"]["params"].items()):
        words += ["--dataset-param", f"{name}={_text(value)}"]
    if spec["reference"]["size"] is not None:
        words += ["--reference-size", str(spec["reference"]["size"])]
    return shlex.join(words)


def _text(value: Any) -> str:
    return {True: "true", False: "false", None: "none"}.get(value, str(value)) if not isinstance(
        value, int | float
    ) or isinstance(value, bool) else f"{value!r}"  # fmt: skip


def compare_records(old: Record, new: Record) -> dict[str, Any]:
    """What differs between two runs of one spec, figures and artifacts; times are left out."""
    lines: list[str] = []
    if old.status != new.status:
        lines.append(f"status: {old.status} -> {new.status}")
    for name in sorted(old.metrics.keys() | new.metrics.keys()):
        a, b = old.metrics.get(name), new.metrics.get(name)
        if a != b:
            lines.append(f"{name}: {a} -> {b}")
    for name in sorted(old.ledger.keys() | new.ledger.keys()):
        if old.ledger.get(name) != new.ledger.get(name):
            lines.append(f"ledger.{name}: {old.ledger.get(name)} -> {new.ledger.get(name)}")
    for name in sorted(old.artifacts.keys() & new.artifacts.keys()):
        if old.artifacts[name]["sha256"] != new.artifacts[name]["sha256"]:
            lines.append(f"artifact {name} differs")
    for name in ("device_class", "threads", "torch", "code"):
        if lines and old.environment.get(name) != new.environment.get(name):
            a, b = old.environment.get(name), new.environment.get(name)
            lines.append(f"environment.{name}: {a} -> {b}")
    return {
        "key": old.key,
        "identical": not lines,
        "differences": lines,
        "command": command_of(old),
    }
