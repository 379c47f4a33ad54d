"""What a study searches: the options of a method that declare a range or choices worth tuning."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from prunebench.errors import InputError
from prunebench.methods.compose import MethodInfo, list_methods
from prunebench.options import Option, Value

if TYPE_CHECKING:
    from optuna import Trial

AUTO = ":auto"


@dataclass(frozen=True)
class Axis:
    """One searched option.

    Attributes:
        name: The option.
        kind: ``float``, ``int`` or ``choice``.
        default: The option's default; always inside the axis, so that trial 0 is the default.
        low, high: Ends of a range, both included.
        log: Whether the range is searched on a log scale.
        choices: Values of a ``choice``.
        auto: Whether None ("decide from the recipe") is tried too, as a choice of its own.
        scales: Whether the value counts epochs and shrinks with a shorter schedule.
    """

    name: str
    kind: Literal["float", "int", "choice"]
    default: Value
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Value, ...] = ()
    auto: bool = False
    scales: bool = False

    @property
    def text(self) -> str:
        """The axis in words."""
        if self.kind == "choice":
            return ", ".join(str(choice) for choice in self.choices)
        ends = f"{self.low:g}..{self.high:g}{' (log)' if self.log else ''}"
        return f"auto or {ends}" if self.auto else ends

    @property
    def content(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "choices": list(self.choices)}


Space = tuple[Axis, ...]


def space_of(info: MethodInfo, fixed: Mapping[str, Any], epochs: int, ratio: float = 1.0) -> Space:
    """The searched options of a method, in the order of its table.

    Args:
        info: The method.
        fixed: Options that the user holds.
        epochs: Of the recipe; an axis that counts epochs ends there.
        ratio: Share pruned; an axis of a share that may not exceed it ends there.

    Raises:
        InputError: Nothing is left to search.
    """
    axes = [
        _axis(name, option, epochs, ratio)
        for name, option in info.options.items()
        if option.search is not None and name not in fixed and name not in info.fixed
    ]
    if axes:
        return tuple(axes)
    searchable = [m.name for m in list_methods() if any(o.search for o in m.options.values())]
    held = any(option.search is not None for option in info.options.values())
    raise InputError(
        "every searchable option is fixed" if held else "no option declares a search range",
        where=f"tune {info.name}",
        accepted="fewer fixed options" if held else ", ".join(searchable),
    )


def _axis(name: str, option: Option, epochs: int, ratio: float) -> Axis:
    search = option.search or ()
    if option.choices or option.type in (bool, str) or len(search) != 2:
        extra = () if option.default in search else (option.default,)
        return Axis(name, "choice", option.default, choices=(*search, *extra))
    low, high = (float(cast(float, end)) for end in search)
    if option.scales:
        high = max(low, min(high, float(epochs)))
    if option.at_most_ratio:
        high = max(low, min(high, ratio))
    if option.default is not None:
        default = float(cast(float, option.default))
        low, high = min(low, default), max(high, default)
    kind: Literal["float", "int"] = "int" if option.type is int else "float"
    return Axis(
        name, kind, option.default, low, high, option.log,
        auto=option.default is None, scales=option.scales,
    )  # fmt: skip


def suggest(trial: Trial, space: Space) -> dict[str, Value]:
    """Draws one point from an Optuna trial."""
    point: dict[str, Value] = {}
    for axis in space:
        if axis.kind == "choice":
            point[axis.name] = trial.suggest_categorical(axis.name, list(axis.choices))
        elif axis.auto and trial.suggest_categorical(axis.name + AUTO, [True, False]):
            point[axis.name] = None
        elif axis.kind == "int":
            point[axis.name] = trial.suggest_int(
                axis.name, int(axis.low), int(axis.high), log=axis.log
            )
        else:
            point[axis.name] = trial.suggest_float(axis.name, axis.low, axis.high, log=axis.log)
    return point


def encode(point: Mapping[str, Value], space: Space) -> dict[str, Any]:
    """A point as the parameters of an Optuna trial."""
    params: dict[str, Any] = {}
    for axis in space:
        value = point[axis.name]
        if axis.auto:
            params[axis.name + AUTO] = value is None
        if value is not None or axis.kind == "choice":
            params[axis.name] = value
    return params


def decode(params: Mapping[str, Any], space: Space) -> dict[str, Value] | None:
    """The point of a trial's parameters; None where some are missing (a driver that was killed
    while it asked)."""
    point: dict[str, Value] = {}
    for axis in space:
        if axis.auto and params.get(axis.name + AUTO) is True:
            point[axis.name] = None
        elif axis.name in params and (not axis.auto or axis.name + AUTO in params):
            point[axis.name] = params[axis.name]
        else:
            return None
    return point


def default_point(space: Space) -> dict[str, Value]:
    """The method's defaults."""
    return {axis.name: axis.default for axis in space}


def size(space: Space) -> float:
    """Number of points; infinite where an axis is continuous."""
    return math.prod(len(values) if values else math.inf for values in map(_values, space))


def points(space: Space) -> list[dict[str, Value]]:
    """All points of a finite space, the default first."""
    names = [axis.name for axis in space]
    default = default_point(space)
    every = (dict(zip(names, v, strict=True)) for v in itertools.product(*map(_values, space)))
    return [default, *(point for point in every if point != default)]


def _values(axis: Axis) -> Sequence[Value]:
    if axis.kind == "choice":
        return axis.choices
    if axis.kind == "float" and axis.low < axis.high:
        return ()
    numbers: list[Value] = (
        list(range(int(axis.low), int(axis.high) + 1)) if axis.kind == "int" else [axis.low]
    )
    return [None, *numbers] if axis.auto else numbers


def shortened(
    point: Mapping[str, Value], space: Space, options: Mapping[str, Option], share: float
) -> dict[str, Value]:
    """A point for a schedule of ``share`` of the epochs: values that count epochs shrink along."""
    short = dict(point)
    for axis in space:
        value = short[axis.name]
        if axis.scales and isinstance(value, int) and share < 1:
            short[axis.name] = max(int(options[axis.name].low or 1), round(value * share))
    return short


def space_from(content: Sequence[Mapping[str, Any]]) -> Space:
    """The space of recorded JSON values."""
    return tuple(Axis(**{**entry, "choices": tuple(entry["choices"])}) for entry in content)
