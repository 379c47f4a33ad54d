"""Texts as the numbers of their words, for networks that learn a vector for each word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

#: Most words that get a number, fewest training texts with such a word, words of a text that count.
WORDS, AT_LEAST, LENGTH = 20_000, 2, 400
_WORD = re.compile(r"\w+")

IntArray = NDArray[np.int32]


def words_of(text: str) -> list[str]:
    """The distinct words of a text in order: runs of letters, digits and underscores of any
    script, in lower case."""
    return list(dict.fromkeys(_WORD.findall(unicodedata.normalize("NFC", text).lower())))


def numbered(
    train: Iterable[str],
    test: Iterable[str],
    *,
    words: int = WORDS,
    at_least: int = AT_LEAST,
    length: int = LENGTH,
) -> tuple[IntArray, IntArray, int]:
    """Texts as numbers of words, from 1 on by frequency in the training texts; equally frequent
    words by code points.

    Args:
        train: Training texts.
        test: Test texts; a word that only they hold has no number.
        words: Words that get a number at most.
        at_least: Training texts that have to hold such a word.
        length: Words of a text that count, those without a number left out.

    Returns:
        int32 [N, L] and [M, L], zeros behind the words, where L is the longest text's number of
        words or ``length``; and V, one more than the largest number.
    """
    seen: dict[str, int] = {}
    coded = [
        np.array([seen.setdefault(word, len(seen)) for word in words_of(text)], np.int32)
        for text in train
    ]
    held = [
        np.array([seen[word] for word in words_of(text) if word in seen], np.int32) for text in test
    ]
    times = np.bincount(np.concatenate(coded), minlength=len(seen)).tolist()
    known = [(-times[place], word) for word, place in seen.items() if times[place] >= at_least]
    known = sorted(known)[:words]
    number = np.zeros(len(seen), dtype=np.int32)
    for count, (_, word) in enumerate(known, 1):
        number[seen[word]] = count
    rows = [(found := number[text])[found > 0][:length] for text in (*coded, *held)]
    out = np.zeros((len(rows), max(1, *map(len, rows))), dtype=np.int32)
    for row, text in zip(out, rows, strict=True):
        row[: len(text)] = text
    return out[: len(coded)], out[len(coded) :], len(known) + 1
