"""A method's options as data: one table feeds defaults, validation, search spaces and docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prunebench.errors import InputError, nearest, shown

Value = bool | int | float | str | None
#: Words for None where a file or a command line cannot write it.
_NOTHING = ("none", "auto")
#: Whole numbers are smaller: readers of a record, and floats, have to hold them.
_WIDEST = 2**63


@dataclass(frozen=True)
class Option:
    """One named option of a method, criterion or dataset.

    Attributes:
        default: Value when none is given; its type is the option's type.
        help: One line for the method's card.
        low: Smallest accepted number (inclusive).
        high: Largest accepted number (inclusive).
        choices: Accepted values, where they are few.
        optional: Whether None ("decide from the recipe") is accepted.
        search: Range worth tuning as (low, high), or choices; None keeps it fixed.
        log: Whether the range is searched on a log scale.
        scales: Whether it counts epochs, so that a shorter schedule takes a smaller value.
        at_most_ratio: Whether it is a share of the samples that may not exceed the share pruned.
        later: Whether the option is younger than records of its method: at its default it is left
            out of a run's specification, so that their keys stay.
    """

    default: Value
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()
    optional: bool = False
    kind: type | None = None
    search: tuple[Value, ...] | None = None
    log: bool = False
    scales: bool = False
    at_most_ratio: bool = False
    later: bool = False

    @property
    def type(self) -> type:
        """bool, int, float or str."""
        return self.kind or (str if self.default is None else type(self.default))

    def accepted(self) -> str:
        """What the option accepts, in words."""
        nothing = " or none" if self.optional else ""
        if self.choices:
            return ", ".join(str(c) for c in self.choices) + nothing
        text = {bool: "true or false", int: "an integer", float: "a number"}.get(self.type, "text")
        if self.low is not None and self.high is not None:
            text += f" from {self.low:g} to {self.high:g}"
        elif self.low is not None:
            text += f" >= {self.low:g}"
        elif self.high is not None:
            text += f" <= {self.high:g}"
        return text + nothing

    def check(self, value: Any, where: str) -> Any:
        """Returns the value in the option's type.

        The words ``none`` and ``auto`` stand for None, which a grid file cannot write.

        Raises:
            InputError: Wrong type, out of range, or not among the choices.
        """
        wanted: Any = self.type
        refused = InputError(
            f"{shown(value)} is not accepted", where=where, accepted=self.accepted()
        )
        free_text = wanted is str and not self.choices
        if isinstance(value, str) and value in _NOTHING and value not in self.choices:
            value = None if self.optional and not free_text else value
        if value is None:
            if self.optional:
                return None
            raise refused
        if type(value) is int and abs(value) >= _WIDEST:
            raise refused
        if wanted is float and type(value) is int:
            value = float(value)
        if not _is(value, wanted) or (self.choices and value not in self.choices):
            raise refused
        if isinstance(value, int | float) and not isinstance(value, bool):
            if value != value or abs(value) == float("inf"):
                raise refused
            if self.low is not None and value < self.low:
                raise refused
            if self.high is not None and value > self.high:
                raise refused
        return value


def _is(value: Any, kind: Any) -> bool:
    return type(value) is kind


def resolve(
    options: Mapping[str, Option], given: Mapping[str, Any], where: str
) -> dict[str, Value]:
    """All options with the given ones checked and the others at their defaults.

    Raises:
        InputError: An unknown option, or a value that is not accepted.
    """
    for name in given:
        if name not in options:
            known = nearest(name, options) if options else "no options"
            raise InputError(f"unknown option {name!r}", where=where, accepted=known)
    return {
        name: option.check(given[name], _place(where, name)) if name in given else option.default
        for name, option in options.items()
    }


def of_content(options: Mapping[str, Option], values: Mapping[str, Value]) -> dict[str, Value]:
    """The options that identify a run: all but those marked ``later`` that have their default."""
    return {
        name: value for name, value in values.items()
        if name not in options or not options[name].later or value != options[name].default
    }  # fmt: skip


def _place(where: str, name: str) -> str:
    """``infobatch.r``; ``align.window`` of ``align`` as it is."""
    return name if name.startswith(f"{where}.") else f"{where}.{name}"
