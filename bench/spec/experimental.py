"""The mark of what has never run where it is meant to: the fast paths for a card.

It goes when the tests that need a card have passed on one. Until then what carries it may change
or be removed without notice.
"""

from __future__ import annotations

from typing import TypeVar

#: First sentence of the docstring, and last of a command line option's help.
NOTE = "Experimental: no card has run it yet."

T = TypeVar("T")


def experimental(thing: T) -> T:
    """Decorator: marks a class or function; its docstring says so, for ``help()`` and readers."""
    thing.__doc__ = f"{NOTE}\n\n    {thing.__doc__ or ''}"
    return thing
