"""Settings that users write as a kind and a number: ``symmetric:0.4``, ``exp:50``, ``fog:0.3``."""

from __future__ import annotations

import math
from collections.abc import Collection

from prunebench.errors import InputError


def kind_and_number(
    text: str, kinds: Collection[str], *, where: str, number: str, accepted: str
) -> tuple[str, float]:
    """Reads ``KIND:NUMBER``; whether the number is in range is for the caller to say.

    Args:
        text: What the user wrote.
        kinds: Those that take a number.
        where: Field, for messages.
        number: What the number is called there.
        accepted: What is accepted in its place, with an example after it: ``a number from 1, as
            in KIND:50``.

    Returns:
        Kind and number; the number is NaN where the kind is none of ``kinds``, whatever follows.

    Raises:
        InputError: The kind is one of ``kinds``, and its number is missing or is none.
    """
    kind, _, rest = text.strip().partition(":")
    if kind not in kinds:
        return kind, math.nan
    try:
        value = float(rest)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise InputError(
            f"{rest!r} is no {number}" if rest else f"{text!r} lacks its {number}",
            where=where,
            accepted=accepted.replace("KIND", kind),
        )
    return kind, value
