"""Predictions of what variants of AlignPrune do, as data: ``published/align_variants.toml``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunebench.errors import InputError

FILE = Path(__file__).parent / "align_variants.toml"
MEASURES = ("accuracy", "pruned")


@dataclass(frozen=True)
class RowOf:
    """A row of a board, by method and by the options in which variants differ.

    Attributes:
        name: Short one, for the table and the figure.
        method: The method's name.
        params: All these options with their values.
        given: Those among them that are not at their default.
    """

    name: str
    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The method with these options."""
        shown = ", ".join(f"{name}={json.dumps(value).strip(chr(34))}"
                          for name, value in self.given.items())  # fmt: skip
        return f"{self.method} ({shown})" if shown else self.method

    def fits(self, method: str, params: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
        """Whether a run is of this row; options that its record lacks have their default."""
        given = {name: params.get(name, default) for name, default in defaults.items()}
        return method == self.method and given == self.params


@dataclass(frozen=True)
class Prediction:
    """A range in which a paired difference, or a share pruned, is said to lie.

    Attributes:
        variant: What it is about.
        says: The prediction in words.
        row: What is measured.
        against: What is subtracted; None for the measure itself.
        noise: The noise setting.
        optimizer: The recipe's optimizer; empty for any.
        measure: One of ``MEASURES``.
        low, high: Ends of the range, in points or percent; None where it is open.
    """

    variant: str
    says: str
    row: RowOf
    against: RowOf | None
    noise: str
    optimizer: str
    measure: str
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Predictions:
    """All of a file, with the defaults of the options that its rows set, by method."""

    items: tuple[Prediction, ...]
    defaults: Mapping[str, Mapping[str, Any]]


def read_predictions(path: Path = FILE) -> Predictions:
    """Reads a file of predictions.

    Raises:
        InputError: A row, option or range that does not exist.
    """
    with path.open("rb") as file:
        content = tomllib.load(file)
    defaults: dict[str, dict[str, Any]] = content["defaults"]
    rows = {name: _row(name, entry, defaults, f"{path}: rows.{name}")
            for name, entry in content["rows"].items()}  # fmt: skip
    items = []
    for number, entry in enumerate(content["prediction"], 1):
        where = f"{path}: prediction {number}"
        against = entry.get("against")
        for name in (entry["row"], against):
            if name is not None and name not in rows:
                raise InputError(f"no row {name!r}", where=where, accepted=", ".join(rows))
        low, high = entry.get("low"), entry.get("high")
        measure = entry.get("measure", "accuracy")
        if measure not in MEASURES:
            raise InputError(f"{measure!r}", where=where, accepted=", ".join(MEASURES))
        if (low is None and high is None) or (None not in (low, high) and low > high):
            raise InputError(f"range {low} to {high}", where=where, accepted="low <= high")
        items.append(Prediction(
            entry["variant"], entry["says"], rows[entry["row"]],
            None if against is None else rows[against],
            entry["noise"], entry.get("optimizer", ""), measure, low, high,
        ))  # fmt: skip
    return Predictions(tuple(items), defaults)


def _row(
    name: str, entry: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]], where: str
) -> RowOf:
    own, known = entry.get("params", {}), defaults.get(entry["method"], {})
    for option in own:
        if option not in known:
            raise InputError(f"no default of {option!r}", where=where, accepted=", ".join(known))
    return RowOf(name, entry["method"], {**known, **own}, own)
