"""What a pydantic model refuses, as one line of our own: field, value and what is accepted.

Every ``ValidationError`` that a user can meet goes through ``first_problem``; no word of the
library reaches the user.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from prunebench.errors import InputError, nearest, shown

#: A name that becomes a folder's or a file's.
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,80}$"
FILE_NAME_WORDS = "1 to 81 letters, digits, '.', '_' and '-', a letter or digit first"

#: What would be accepted instead, by type of error; ``{...}`` are values of its context. Types
#: that are neither here nor in ``_SPECIAL`` need a kind of field that no model has.
ACCEPTED = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "a finite number",
    "none_required": "none",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "string_too_short": "text of {min_length} or more signs",
    "string_too_long": "text of {max_length} or fewer signs",
    "string_type": "text",
    "string_sub_type": "text",
    "string_unicode": "text that is Unicode",
    "string_pattern_mismatch": "text of another form",
    "string_not_ascii": "text in ASCII",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "set_item_not_hashable": "a list of single values",
    "iterable_type": "a list",
    "iteration_error": "a list",
    "dict_type": "a table of names and values",
    "mapping_type": "a table of names and values",
    "invalid_key": "a table whose names are text",
    "recursion_loop": "fewer lists or tables inside one another",
    "recursion_depth_exceeded": "fewer lists or tables inside one another",
}
#: Types that take more than a template.
_SPECIAL = (
    "missing", "extra_forbidden", "literal_error", "enum", "value_error", "assertion_error",
    "model_type", "model_attributes_type",
)  # fmt: skip
_FALLBACK = "another value"


def first_problem(error: ValidationError, where: str, models: Mapping[str, Any]) -> InputError:
    """The first problem of a validation as one line; a name that no field has comes before all
    others, for what seems missing may only be misspelt.

    Args:
        error: What pydantic raised.
        where: File or command, for the line.
        models: Models (or other annotations) that may have raised it, by the name under which the
            user knows them; the first one, by the empty name, where it was the whole input.
    """
    return all_problems(error, where, models)[0]


def all_problems(error: ValidationError, where: str, models: Mapping[str, Any]) -> list[InputError]:
    """Every problem of a validation, a line each; names that no field has come first.

    Args:
        error: As for ``first_problem``, with ``where`` and ``models``.
    """
    prefix, model = next(
        ((name, m) for name, m in models.items() if getattr(m, "__name__", "") == error.title),
        next(iter(models.items())),
    )
    found = error.errors(include_url=False)
    found.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    return [_line(problem, where, prefix, model) for problem in found]


def _line(problem: ErrorDetails, where: str, prefix: str, model: Any) -> InputError:
    path, target, field = _resolve(model, problem["loc"])
    place = ".".join(part for part in (prefix, *map(str, path)) if part)
    kind, value = problem["type"], problem.get("input")
    if kind in ("missing", "extra_forbidden"):
        *outer, name = (prefix, *map(str, path)) if path else (prefix, prefix)
        inside = ".".join(part for part in outer if part)
        at = f"{where}: {inside}" if inside else where
        if kind == "missing":
            return InputError(f"field {name!r} is missing", where=at)
        return InputError(f"unknown field {name!r}", where=at, accepted=_fields(target, name))
    at = f"{where}: {place}" if place else where
    text = _own_text(problem)
    whole = isinstance(value, Mapping | BaseModel)
    if text and whole:
        return InputError(text, where=at)
    what = "this is not accepted" if whole else f"{shown(value)} is not accepted"
    return InputError(what, where=at, accepted=text or _accepted(problem, target, field))


def _own_text(problem: ErrorDetails) -> str:
    """What a validator of ours raised."""
    if problem["type"] not in ("value_error", "assertion_error"):
        return ""
    return str(problem.get("ctx", {}).get("error", "")) or _FALLBACK


def _accepted(problem: ErrorDetails, target: Any, field: FieldInfo | None) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    members = _members(target)
    if len(members) > 1:
        return _words(members)
    if kind in ("literal_error", "enum"):
        expected = str(context.get("expected", ""))
        return expected.replace("'", "").replace(" or ", ", ") or _FALLBACK
    if kind in ("model_type", "model_attributes_type"):
        return f"a table with {', '.join(_names(target))}" if _names(target) else "a table"
    if kind == "string_pattern_mismatch" and field is not None and field.description:
        return field.description
    return ACCEPTED.get(kind, _FALLBACK).format_map(context)


def _resolve(model: Any, loc: Sequence[str | int]) -> tuple[list[str | int], Any, FieldInfo | None]:
    """Follows a location down the annotations.

    Returns:
        The part of the location that the user wrote (what pydantic adds within a union is left
        out), the annotation there, and the field that it belongs to. An unknown field's annotation
        is that of the model around it.
    """
    path: list[str | int] = []
    target, field = _plain(model), None
    for part in loc:
        if len(_members(target)) > 1:
            break
        path.append(part)
        fields = _fields_of(target)
        if fields is not None:
            found = fields.get(str(part)) or next(
                (info for info in fields.values() if info.alias == part), None
            )
            if found is None:
                break
            field, target = found, _plain(found.annotation)
            continue
        inner = [a for a in get_args(target) if a is not Ellipsis]
        mapping = isinstance(get_origin(target), type) and issubclass(get_origin(target), Mapping)
        position = part if isinstance(part, int) and get_origin(target) is tuple else 0
        slot = -1 if mapping else min(int(position), len(inner) - 1)
        target = _plain(inner[slot]) if inner else Any
    return path, target, field


def _plain(annotation: Any) -> Any:
    """An annotation without ``Annotated`` and without its ``None``."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        members = [m for m in get_args(annotation) if m is not type(None)]
        return _plain(members[0]) if len(members) == 1 else annotation
    return annotation


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()


def _words(members: Sequence[Any]) -> str:
    """A union in words: ``text, a number, true or false, or none``."""
    names = {str: "text", int: "a number", float: "a number", bool: "true or false"}
    found = {names[m]: None for m in (str, int, float, bool) if m in members}
    if type(None) in members:
        found["none"] = None
    if any(get_origin(m) in (list, tuple) for m in members):
        found["a list of such values"] = None
    *rest, last = found or {_FALLBACK: None}
    return f"{', '.join(rest)}, or {last}" if rest else last


def _fields_of(target: Any) -> Mapping[str, FieldInfo] | None:
    return (
        target.model_fields if isinstance(target, type) and issubclass(target, BaseModel) else None
    )


def _names(target: Any) -> list[str]:
    return [info.alias or name for name, info in (_fields_of(target) or {}).items()]


def _fields(target: Any, name: str) -> str:
    names = _names(target)
    return nearest(name, names) if names else ""
