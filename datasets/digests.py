"""What is measured on samples: channel statistics of images, and digests of the content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.record import OWN_CONTENT, canonical

_CHUNK = 1024


def channel_stats(
    images: Tensor, limit: int = 10_000
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, of pixels in [0, 1].

    Sums are exact integers, so that the result is the same on every machine.

    Args:
        images: uint8 [N, channels, H, W], N >= 1.
        limit: At most this many images are read, evenly spaced over the set.

    Returns:
        (mean, std), one number per channel; a constant channel has std 1.
    """
    rows = torch.arange(min(limit, len(images))) * len(images) // min(limit, len(images))
    channels = images.shape[1]
    total, squares = torch.zeros(2, channels, dtype=torch.int64)
    for begin in range(0, len(rows), _CHUNK):
        pixels = images[rows[begin : begin + _CHUNK]].to(torch.int32).transpose(0, 1).flatten(1)
        total += pixels.sum(1, dtype=torch.int64)
        squares += pixels.square().sum(1, dtype=torch.int64)
    count = len(rows) * images[0, 0].numel()
    mean = total.double() / count
    variance = (squares.double() / count - mean.square()).clamp(min=0)
    std = variance.sqrt()
    std[total * total == squares * count] = 255.0
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def array_digest(*arrays: Tensor) -> str:
    """SHA-256 over shapes, types and values (little-endian), in hex."""
    digest = hashlib.sha256()
    for array in arrays:
        values = array.contiguous().cpu().numpy()
        digest.update(f"{array.dtype}{list(array.shape)}".encode())
        digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


def content_digest(*arrays: Tensor) -> str:
    """First 16 hex digits of ``array_digest``."""
    return array_digest(*arrays)[:16]


def own_identity(
    splits: Mapping[str, tuple[str, NDArray[np.int64]]],
    human: Mapping[str, NDArray[Any]],
    names: Any,
) -> str:
    """Identity of data of a user's own: equal samples and labels in equal order have equal random
    draws, whatever files and columns hold them.

    Args:
        splits: For each split a digest of its samples in order, and their labels int64 [N].
        human: Labels that people gave, int64 [N], by name.
        names: Further JSON values that the key holds and no draw depends on, such as class names.

    Returns:
        ``content:``, the SHA-256 that salts the streams, a colon, and 16 hex digits of ``names``.
    """
    labels = {name: label_digest(torch.from_numpy(np.asarray(y, np.int64)))
              for name, y in human.items()}  # fmt: skip
    parts = {
        name: [samples, label_digest(torch.from_numpy(y))] for name, (samples, y) in splits.items()
    }
    content = hashlib.sha256(canonical([parts, labels]).encode()).hexdigest()
    return f"{OWN_CONTENT}{content}:{hashlib.sha256(canonical(names).encode()).hexdigest()[:16]}"


def label_digest(labels: Tensor) -> str:
    """SHA-256 of a label vector as little-endian int64 bytes, in hex."""
    return hashlib.sha256(labels.cpu().numpy().astype("<i8").tobytes()).hexdigest()
