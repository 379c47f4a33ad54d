"""Compact letters: rank groups out of pairwise verdicts."""

from __future__ import annotations

import itertools
import string
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Letters:
    """Methods share a letter exactly where their pair is not separated.

    Attributes:
        letters: Letters of each name, in the order of names given (best first).
        groups: Members of each letter, in the order of the letters.
        contiguous: Whether every group is an unbroken run of the order, so that bars can show it.
    """

    letters: Mapping[str, str]
    groups: tuple[tuple[str, ...], ...]
    contiguous: bool


def compact_letters(names: Sequence[str], separated: Iterable[Collection[str]]) -> Letters:
    """Letters for the maximal cliques of the graph "not separated".

    Args:
        names: Methods, best first.
        separated: Pairs of names whose difference is significant, in either order.

    Raises:
        ValueError: A name twice, a pair of unknown names, or not a pair of two.
    """
    place = {name: i for i, name in enumerate(names)}
    if len(place) != len(names):
        raise ValueError("names must differ")
    joined = [set(range(len(names))) - {i} for i in range(len(names))]
    for pair in separated:
        if len(set(pair)) != 2 or not set(pair) <= place.keys():
            raise ValueError(f"{tuple(pair)!r} is not a pair of the names given")
        a, b = (place[name] for name in pair)
        joined[a].discard(b)
        joined[b].discard(a)
    cliques = sorted(_cliques(joined)) if names else []
    found = dict.fromkeys(names, "")
    for letter, clique in zip(_alphabet(), cliques, strict=False):
        for member in clique:
            found[names[member]] += letter
    return Letters(
        letters=found,
        groups=tuple(tuple(names[i] for i in clique) for clique in cliques),
        contiguous=all(clique[-1] - clique[0] == len(clique) - 1 for clique in cliques),
    )


def _cliques(joined: Sequence[set[int]]) -> Iterator[tuple[int, ...]]:
    """Maximal cliques (Bron and Kerbosch 1973, with a pivot)."""
    stack: list[tuple[tuple[int, ...], set[int], set[int]]] = [((), set(range(len(joined))), set())]
    while stack:
        clique, open_, closed = stack.pop()
        if not open_ and not closed:
            yield tuple(sorted(clique))
            continue
        pivot = max(open_ | closed, key=lambda i: len(joined[i] & open_))
        for i in sorted(open_ - joined[pivot]):
            stack.append(((*clique, i), open_ & joined[i], closed & joined[i]))
            open_ = open_ - {i}
            closed = closed | {i}


def _alphabet() -> Iterator[str]:
    """a to z, A to Z, then the single letters of other scripts from Greek on."""
    yield from string.ascii_letters
    for number in itertools.count(0x3B1):
        if chr(number).isalpha():
            yield chr(number)
