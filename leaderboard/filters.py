"""Which records are meant: by method, noise, data set, recipe, or any field they hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from prunebench.errors import InputError, nearest
from prunebench.record import NONE, Record, corruption_name, noise_name, setting_name

#: Parts of a record that a field may name beside those of the specification.
_BESIDE = ("info", "environment")
#: Fields in which a part of the specification keeps its options; they need not be named.
_OPTIONS = ("params", "model_params")
_NAMED = ("method", "noise", "imbalance", "corrupt", "ratio", "seed", "dataset", "criterion",
          "recipe", "model", "budget")  # fmt: skip
#: Parts in which full training differs from the other rows of its table.
_VARIED = ("method", "ratio", "budget", "budget_share", "proxy", "tuned")
_MISSING = object()
_LONG_HEX = re.compile(r"[0-9a-f]{32,}")


def _listed(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {k: v if isinstance(v, list | tuple) else [v] for k, v in value.items()}


class FilterError(InputError):
    """A filter that no record can fit."""


Words = tuple[str, ...] | None
Values = tuple[StrictBool | int | float | str, ...]


class Filters(BaseModel):
    """Keeps records that have one of the values of every field given; None keeps all.

    Attributes:
        method, ratio, seed: As in the specification.
        noise: Label noise, or a setting as boards name it (``clean + exp:50``).
        imbalance: Class imbalance; ``none`` for the usual training split.
        corrupt: Corruption of the images, with or without its severity; ``none`` likewise.
        dataset: Registered name, or what boards call a user's own data.
        criterion, recipe: Names.
        model: Name of the recipe's network.
        budget: ``samples``, ``paper`` or ``epochs``.
        where: Values by field: ``recipe.epochs``, ``dataset.limit``, ``method.version``,
            ``info.label_digest``, ``environment.code``. Long digests may be given by their first
            eight digits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Words = None
    noise: Words = None
    imbalance: Words = None
    corrupt: Words = None
    ratio: tuple[float, ...] | None = None
    seed: tuple[int, ...] | None = None
    dataset: Words = None
    criterion: Words = None
    recipe: Words = None
    model: Words = None
    budget: Words = None
    where: Annotated[dict[str, Annotated[Values, Field(min_length=1)]] | None,
                     BeforeValidator(_listed)] = None  # fmt: skip

    @property
    def given(self) -> dict[str, Any]:
        """The filters that are set, as JSON values by name."""
        return {
            name: self.model_dump(mode="json")[name]
            for name in Filters.model_fields
            if getattr(self, name) is not None
        }

    @cached_property
    def _named(self) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        """The filters that are set, but for ``where``."""
        values = ((name, getattr(self, name)) for name in _NAMED)
        return tuple((name, wanted) for name, wanted in values if wanted is not None)

    def passes(self, record: Record, whole: bool = False) -> bool:
        """Whether a record is kept.

        Args:
            record: One whose shape was checked.
            whole: It is full training, which is a row of every table: filters of method, ratio
                and budget let it pass.
        """
        return all(
            (whole and name in _VARIED) or not _values(record, name).isdisjoint(wanted)
            for name, wanted in self._named
        ) and all(
            (whole and path.partition(".")[0] in _VARIED)
            or any(_same(field_of(record, path), given) for given in wanted)
            for path, wanted in (self.where or {}).items()
        )

    def check(self, records: Iterable[Record]) -> None:
        """Checks that every filter fits a record, whatever the others do.

        Args:
            records: All records, shapes checked; none fit every filter.

        Raises:
            FilterError: A name, value or field that no record has; the line names those there are.
        """
        records = tuple(records)
        for name, wanted in self._named if records else ():
            have = {value for record in records for value in _values(record, name)}
            if have.isdisjoint(wanted):
                first = shown(wanted[0]) if wanted else "none"
                raise FilterError(f"no record has {name} {first!r}", where="filter",
                                 accepted=nearest(first, map(shown, have)))  # fmt: skip
        for path in self.where or {} if records else ():
            if all(field_of(record, path) is _MISSING for record in records):
                known = {name for record in records for name in _fields(record)}
                raise FilterError(f"no record has the field {path!r}", where="filter",
                                 accepted=nearest(path, known))  # fmt: skip


def named_value(record: Record, name: str) -> Any:
    """What a record has of a filter's field: a name or a number."""
    spec = record.spec
    if name in ("recipe", "model"):
        return (spec.get("recipe") or {}).get("name" if name == "recipe" else "model")
    if name == "criterion":
        return (spec.get("criterion") or {}).get("name", "ce")
    if name == "budget":
        return spec.get("budget", "samples")
    if name in ("imbalance", "corrupt"):
        return (spec.get(name) or {}).get("name", NONE)
    value = spec[name]
    return value if name in ("ratio", "seed") else value["name"]


def _values(record: Record, name: str) -> set[Any]:
    """What a filter may name of a record: of a data set either name, of label noise also the
    setting that boards show, of a corruption also the name with its severity."""
    also: set[Any] = set()
    if name == "dataset":
        also = {record.dataset}
    elif name == "noise":
        also = {setting_name(record.spec), noise_name(record.spec["noise"])}
    elif name == "corrupt" and record.spec.get(name):
        also = {corruption_name(record.spec[name])}
    return {named_value(record, name)} | also


def field_of(record: Record, path: str) -> Any:
    """The value of a field by its dotted path; a mark of its own where there is none."""
    root, dot, rest = path.partition(".")
    if root in _BESIDE and dot:
        return _find(getattr(record, root), rest)
    return _find(record.spec, path)


def _find(value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        return _MISSING
    if path in value:
        return value[path]
    for place, sign in enumerate(path):
        if sign == "." and path[:place] in value:
            found = _find(value[path[:place]], path[place + 1 :])
            if found is not _MISSING:
                return found
    for name in _OPTIONS:
        found = _find(value[name], path) if name in value else _MISSING
        if found is not _MISSING:
            return found
    return _MISSING


def _fields(record: Record) -> Iterator[str]:
    """Paths of a record's fields as one would give them."""
    content = {**record.spec, **{name: getattr(record, name) for name in _BESIDE}}
    for name, value in content.items():
        for path, _ in leaves(value, name):
            yield re.sub(r"\.(?:model_)?params\.", ".", path)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything inside nested mappings."""
    if not isinstance(value, Mapping):
        yield path, value
        return
    for name, item in value.items():
        yield from leaves(item, f"{path}.{name}" if path else str(name))


def shown(value: Any) -> str:
    """A value as one gives it on a command line."""
    if value is None or value is _MISSING:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _same(value: Any, given: Any) -> bool:
    if type(value) in (int, float) and not isinstance(given, bool):
        try:
            return bool(float(given) == value)
        except ValueError:
            return False
    own, wanted = shown(value), shown(given)
    return own == wanted or (
        len(wanted) >= 8 and own.startswith(wanted) and _LONG_HEX.fullmatch(own) is not None
    )
