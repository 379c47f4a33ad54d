"""Options by which verbs pick some of the records."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prunebench.errors import InputError

if TYPE_CHECKING:  # this imports pydantic; a verb's help must not wait for it
    from prunebench.leaderboard.filters import Filters

F = TypeVar("F", bound=Callable[..., Any])

#: Option, kind of its values and what it picks.
_OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("method", str, "Only this method; boards keep full training beside it."),
    ("noise", str, "Only this noise: clean, symmetric:0.4, ..."),
    ("imbalance", str, "Only this class imbalance: none, exp:50, ..."),
    ("corrupt", str, "Only this corruption of images: none, gaussian-noise:0.3, ..."),
    ("ratio", float, "Only this share of training saved."),
    ("seed", str, "Only this seed, or a range such as 0..4."),
    ("dataset", str, "Only this data set."),
    ("criterion", str, "Only this criterion: ce, sop, ..."),
    ("recipe", str, "Only this recipe."),
    ("model", str, "Only this network."),
    ("budget", str, "Only this budget: samples, paper or epochs."),
    ("where", str, "Only this value of a field of the record: recipe.epochs=5, dataset.limit=5000, "
                   "method.version=2, environment.code=..."),
)  # fmt: skip


def filter_options(function: F) -> F:
    """Adds a repeatable option per filter; one of the values given for it has to fit."""
    for name, kind, about in reversed(_OPTIONS):
        function = click.option(
            f"--{name}", multiple=True, type=kind, help=about,
            metavar="FIELD=VALUE" if name == "where" else None,
        )(function)  # fmt: skip
    return function


def filters(values: dict[str, Any]) -> Filters:
    """The filters given, taken out of a verb's values.

    Raises:
        InputError: A seed that is no number or range, or ``--where`` without ``=``.
    """
    from prunebench.leaderboard.filters import Filters

    given: dict[str, Any] = {name: values.pop(name) for name, _, _ in _OPTIONS}
    given["seed"] = [seed for text in given["seed"] for seed in _seeds(text)]
    given["method"] = [name for text in given["method"] for name in _recorded_names(text)]
    where: dict[str, list[str]] = {}
    for pair in given.pop("where"):
        path, equals, value = pair.partition("=")
        if not equals or not path:
            raise InputError(f"{pair!r} is no pair", where="--where", accepted="FIELD=VALUE")
        where.setdefault(path, []).append(value)
    return Filters.model_validate({**{k: v or None for k, v in given.items()},
                                   "where": where or None})  # fmt: skip


def _recorded_names(method: str) -> list[str]:
    """The name, and that of the records of ``SCORE@SAMPLER`` where they have another."""
    if "@" not in method:
        return [method]
    from prunebench.methods.compose import resolve_method

    try:
        info = resolve_method(method)
    except InputError:  # of a plug-in that is not at hand, or a slip that the filter names
        return [method]
    options = {name: option.default for name, option in info.options.items()}
    return list(dict.fromkeys((method, info.shortest(options)[0].name)))


def flags(found: Filters) -> list[str]:
    """The same filters as words of a command."""
    from prunebench.leaderboard.filters import shown

    words: list[str] = []
    for name, values in found.given.items():
        if name == "where":
            pairs = [f"{path}={shown(value)}" for path, own in values.items() for value in own]
            words += [word for pair in pairs for word in ("--where", pair)]
        else:
            words += [word for value in values for word in (f"--{name}", shown(value))]
    return words


def typed(found: Filters) -> str:
    """The filters as one would type them; for messages."""
    return shlex.join(flags(found))


def _seeds(text: str) -> range:
    match = re.fullmatch(r"(\d{1,18})(?:\.\.(\d{1,18}))?", text.strip())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if last < first or last - first > 100_000:
        raise InputError(f"{text!r}", where="--seed", accepted="a seed, or a range such as 0..4")
    return range(first, last + 1)
