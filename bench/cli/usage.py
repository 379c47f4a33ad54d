"""What click refuses, in the form of other error lines: what, where, accepted."""

from __future__ import annotations

import re
from typing import Any

import click

from prunebench.errors import InputError, nearest

#: How click names a value that an option's type refuses.
_REFUSED = re.compile(r"(?P<value>'.*'|\S+) is not (?:a valid|in the range|one of)", re.DOTALL)


def usage_line(error: click.ClickException) -> str:
    """One line for what click found wrong."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return error.format_message()
    verb = ctx.command_path.partition(" ")[2]
    if isinstance(error, click.NoSuchOption):
        options = (p for p in ctx.command.get_params(ctx) if not _is_argument(p))
        known = [name for p in options if not getattr(p, "hidden", False) for name in p.opts]
        accepted = nearest(error.option_name, known)
        return _line(f"unknown option {error.option_name!r}", verb, accepted)
    if isinstance(error, click.MissingParameter) and error.param is not None:
        name = error.param.make_metavar(ctx) if _is_argument(error.param) else error.param.opts[0]
        return _line(f"{name.rstrip('.')} is missing", verb, _pieces(ctx))
    if isinstance(error, click.BadParameter) and error.param is not None:
        found = _REFUSED.match(error.message)
        accepted = _accepted(error.param.type)
        if found and accepted:
            where = error.param.opts[0]
            return _line(f"{found['value']} is not accepted", where, accepted)
    if error.message.startswith("Got unexpected extra argument"):
        words = error.message.partition("(")[2].rpartition(")")[0]
        return _line(f"{words!r} is too much", verb, _pieces(ctx))
    if error.message.startswith("No such command") and isinstance(ctx.command, click.Group):
        word = error.message.split("'")[1]
        return _line(f"unknown command {word!r}", verb, nearest(word, ctx.command.commands))
    return error.format_message()


def _line(what: str, where: str, accepted: str) -> str:
    return str(InputError(what, where=where, accepted=accepted))


def _is_argument(param: click.Parameter) -> bool:
    return isinstance(param, click.Argument)


def _pieces(ctx: click.Context) -> str:
    return " ".join(ctx.command.collect_usage_pieces(ctx))


def _accepted(kind: click.ParamType[Any]) -> str:
    if isinstance(kind, click.Choice):
        return ", ".join(map(str, kind.choices))
    if not isinstance(kind, (click.types.IntParamType, click.types.FloatParamType)):
        return ""
    noun = "a whole number" if isinstance(kind, click.types.IntParamType) else "a number"
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is None:
        return noun if high is None else f"{noun}, {high:g} or less"
    if high is None:
        is_open = getattr(kind, "min_open", False)
        return f"{noun} above {low:g}" if is_open else f"{noun}, {low:g} or more"
    return f"{noun} from {low} to {high}"
