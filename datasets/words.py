"""Texts as the numbers of their words, for networks that learn a vector for each word."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

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


def numbering(
    texts: Iterable[Sequence[str]], most: int = WORDS, at_least: int = AT_LEAST
) -> dict[str, int]:
    """Numbers the words of the training texts from 1 on; 0 is the padding.

    Args:
        texts: The distinct words of each training text.
        most: Words that get a number.
        at_least: Training texts that have to hold such a word.

    Returns:
        Word -> number, the most frequent first, equally frequent ones by code points.
    """
    count = Counter(word for text in texts for word in text)
    known = sorted((-times, word) for word, times in count.items() if times >= at_least)
    return {word: number for number, (_, word) in enumerate(known[:most], 1)}


def numbered(
    texts: Sequence[Sequence[str]], numbers: dict[str, int], length: int = LENGTH
) -> IntArray:
    """The first words of each text that have a number, zeros behind them.

    Args:
        texts: The distinct words of each text.
        numbers: From ``numbering``; other words are left out.
        length: Numbers of a text.

    Returns:
        int32 [N, length].
    """
    out = np.zeros((len(texts), length), dtype=np.int32)
    for row, text in zip(out, texts, strict=True):
        found = [numbers[word] for word in text if word in numbers][:length]
        row[: len(found)] = found
    return out
