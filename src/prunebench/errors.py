"""The errors a user meets. Each is one clear line: what, where, what is accepted."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

#: Longest error line; what a file holds may be of any length.
_LONGEST = 3000
#: So many names are all shown, the near ones first.
_FEW = 5
#: Similarity from which a name may be what was meant: ``dem`` is near ``demo``, not ``model``.
_NEAR = 0.65


def visible(text: str) -> str:
    """Text with signs that steer a terminal, reverse a line or fit into no encoding spelled out
    (``\\x1b``); spaces of every kind stay."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or (sign.isspace() and ord(sign) not in range(0x1C, 0x20))
        else sign.encode("unicode_escape").decode()
        for sign in text
    )  # fmt: skip


def spelled(text: str, keep: str = "") -> str:
    """Text as it may reach a terminal: ``visible``, with line ends and other signs that move the
    cursor spelled out too.

    Args:
        text: Any text, such as that of a file.
        keep: Signs that stay.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep or unicodedata.category(sign) == "Zs"
        else sign.encode("unicode_escape").decode()
        for sign in text
    )  # fmt: skip


def is_text(name: str) -> bool:
    """Whether a name can be written: file systems and arrays also hold bytes that are no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class InputError(ValueError):
    """Wrong usage or bad input; the command line prints it and exits with code 2.

    Args:
        what: What is wrong, with the offending value.
        where: File, field or option that holds it.
        accepted: What would have been accepted.
    """

    def __init__(self, what: str, *, where: str = "", accepted: str = "") -> None:
        self.what, self.where, self.accepted = what, where, accepted
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{text}; accepted: {self.accepted}" if self.accepted else text
        text = visible(" ".join(text.split()))
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 500]} ... {text[-490:]}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.accepted)


def _rebuild(kind: type[InputError], what: str, where: str, accepted: str) -> InputError:
    return kind(what, where=where, accepted=accepted)


class FolderError(Exception):
    """A results folder that cannot be written: full, read-only or gone. No cell's fault: nothing
    is recorded, and the run stops with exit code 1.

    Args:
        text: The whole line; see ``of``.
    """

    #: How the line begins.
    START = "the results folder cannot be written: "

    @classmethod
    def of(cls, path: object, why: str) -> FolderError:
        """The error of a path, with what the system says of it."""
        return cls(f"{cls.START}{path} ({why})")


class SkipCell(Exception):
    """A cell that cannot apply (text has no strong view, for example); recorded as ``skipped``."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def error_line(error: BaseException) -> str:
    """An exception on one line: ours unchanged, others with the name of their type."""
    text = " ".join(str(error).split())
    if isinstance(error, InputError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shown(value: object, most: int = 200) -> str:
    """A value as the user wrote it, or nearly so: ``true``, ``none``, ``0.5``, ``'text'``."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # too many digits, too deep
        text = "the value"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def nearest(name: str, names: Iterable[str], limit: int = 12) -> str:
    """Returns the accepted names for the end of an error line: the near ones, or the first."""
    known = sorted(set(names))
    form = unicodedata.normalize("NFC", name)
    alike = next((n for n in known if unicodedata.normalize("NFC", n) == form), None)
    if alike is not None:
        return f"{alike} (looks the same, in another Unicode form: {alike!a})"
    close = difflib.get_close_matches(name, known, n=3, cutoff=_NEAR)
    if close and len(known) <= _FEW:
        return ", ".join(dict.fromkeys([*close, *known]))
    if close:
        return f"{', '.join(close)} (nearest of {len(known)} names)"
    chosen = ", ".join(known[:limit])
    return chosen + (f", ... ({len(known)} in all)" if len(known) > limit else "")
