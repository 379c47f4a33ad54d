"""Posts to network input: tokens, word vectors, and the frozen pooling of co-teaching+."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import InputError

#: Tokens of a post that count, numbers of a word vector, outputs of the pooling.
LENGTH, WIDTH, POOLED = 1000, 300, 4800
_WORD = re.compile("[a-z]+")
_CHUNK = 256

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]


def words_of(text: str) -> list[str]:
    """The runs of letters a to z of a text in lower case."""
    return _WORD.findall(text.lower())


def vocabulary_of(posts: Iterable[Sequence[str]]) -> dict[str, int]:
    """Word -> number from 1 on, in alphabetical order; 0 is the padding."""
    return {word: i for i, word in enumerate(sorted(set().union(*posts)), 1)}


def encode(post: Sequence[str], vocabulary: dict[str, int]) -> IntArray:
    """Numbers of a post's words; words outside the vocabulary are left out."""
    return np.array([vocabulary[w] for w in post if w in vocabulary], dtype=np.int32)


def padded(posts: Sequence[IntArray], length: int = LENGTH) -> IntArray:
    """The first ``length`` words of each post, zeros behind them: int32 [N, length]."""
    out = np.zeros((len(posts), length), dtype=np.int32)
    for row, post in zip(out, posts, strict=True):
        row[: len(post)] = post[:length]
    return out


def random_vectors(words: int, seed: int, width: int = WIDTH) -> FloatArray:
    """Standard normal vectors, float32 [words + 1, width]; row 0 is zero."""
    vectors = np.random.Generator(np.random.PCG64(seed)).standard_normal(
        (words + 1, width), dtype=np.float32
    )
    vectors[0] = 0
    return vectors


def lsa_vectors(posts: Sequence[IntArray], words: int, seed: int, width: int = WIDTH) -> FloatArray:
    """Word vectors from latent semantic analysis (Deerwester et al. 1990) of the training posts.

    TF-IDF (smoothed, rows of unit length), truncated SVD X = U S V', rows of V. Every vector is
    scaled to a mean square of 1, the scale of the random ones: the network's first batch
    normalisation would otherwise divide by its epsilon.

    Args:
        posts: Word numbers of the training posts.
        words: Size of the vocabulary.
        seed: Of the randomised SVD.
        width: Numbers of a vector; fewer where posts or words are fewer, zeros behind them.

    Returns:
        float32 [words + 1, width]; row 0, the padding, is zero.
    """
    from scipy.sparse import csr_array
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    starts = np.cumsum([0, *map(len, posts)])
    columns = np.concatenate(posts).astype(np.int64) - 1
    counts = csr_array(
        (np.ones(len(columns), np.float32), columns, starts), shape=(len(posts), words)
    )
    counts.sum_duplicates()
    rank = min(width, words - 1, len(posts) - 1)
    svd = TruncatedSVD(rank, random_state=seed).fit(TfidfTransformer().fit_transform(counts))
    vectors = np.zeros((words + 1, width), dtype=np.float32)
    vectors[1:, :rank] = svd.components_.T
    size = np.sqrt(np.square(vectors).mean(1, keepdims=True))
    vectors /= np.where(size > 0, size, 1)
    return vectors


def file_vectors(path: Path, vocabulary: dict[str, int]) -> tuple[dict[str, int], FloatArray]:
    """Reads the vectors of a vocabulary from a text file in the format of GloVe.

    Each line is a word and its numbers, separated by single spaces. A first line of two integers
    (word2vec's text format) and entries of several words are passed over.

    Args:
        path: The file.
        vocabulary: Words wanted.

    Returns:
        (the words that the file has, numbered from 1 on; float32 [words + 1, width], row 0 zero).

    Raises:
        InputError: Unreadable, a malformed line, or no word in common.
    """
    found: dict[str, FloatArray] = {}
    width = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                parts = line.split()
                if number == 1 and len(parts) == 2 and all(p.isdigit() for p in parts):
                    continue
                width = width or len(parts) - 1
                if len(parts) > width + 1 > 1:
                    continue
                if len(parts) != width + 1 or width < 1:
                    raise InputError(
                        f"{len(parts) - 1} numbers", where=f"{path}: line {number}",
                        accepted=f"a word and {width or WIDTH} numbers",
                    )  # fmt: skip
                word = parts[0].decode("utf-8", "replace")
                if word in vocabulary and word not in found:
                    found[word] = _numbers(parts[1:], f"{path}: line {number}")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from None
    if not found:
        raise InputError(
            "holds no word of the training posts", where=str(path), accepted="GloVe's text format"
        )
    kept = {word: i for i, word in enumerate(sorted(found), 1)}
    return kept, np.stack([np.zeros(width, dtype=np.float32), *(found[w] for w in kept)])


def _numbers(parts: Sequence[bytes], where: str) -> FloatArray:
    try:
        values = np.array(parts).astype(np.float32)
    except ValueError as error:
        raise InputError(str(error), where=where, accepted="a word and numbers") from None
    if not np.isfinite(values).all():
        raise InputError("numbers that are not finite", where=where)
    return values


def pooled(tokens: IntArray, vectors: FloatArray, outputs: int = POOLED) -> FloatArray:
    """Adaptive average pooling over the flattened word vectors of each post.

    Equals ``AdaptiveAvgPool1d(outputs)`` on ``vectors[tokens]`` flattened to length x width, the
    frozen front of the NEWS network (bhanML/coteaching_plus, model.py). Window i averages the
    numbers from floor(i S / M) to ceil((i + 1) S / M), S = length x width, M = outputs. The
    windows repeat every length / gcd(length, M) words, so each word's share of them is one small
    table, computed once a vocabulary.

    Args:
        tokens: int32 [N, length], numbers of words, 0 for padding.
        vectors: float32 [words + 1, width].
        outputs: M.

    Returns:
        float32 [N, M].
    """
    length, width = tokens.shape[1], vectors.shape[1]
    period = length // math.gcd(length, outputs)
    windows = outputs * period // length
    edges = np.arange(windows + 1) * (length * width)
    starts, stops = edges[:-1] // outputs, -(-edges[1:] // outputs)
    place = np.arange(period * width)[:, None]
    weights = ((place >= starts) & (place < stops)) / (stops - starts).astype(np.float64)
    out = np.zeros((len(tokens), length // period, windows), dtype=np.float32)
    for j in range(period):
        share = weights[j * width : (j + 1) * width]
        used = np.flatnonzero(share.any(0))
        columns = slice(used[0], used[-1] + 1)
        table = vectors @ share[:, columns].astype(np.float32)
        for begin in range(0, len(tokens), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            out[part, :, columns] += table[tokens[part, j::period]]
    return out.reshape(len(tokens), outputs)
