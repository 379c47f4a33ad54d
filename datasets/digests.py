"""What is measured on resident images: channel statistics and a digest of the content."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

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


def content_digest(*arrays: Tensor) -> str:
    """First 16 hex digits of the SHA-256 over shapes, types and values (little-endian)."""
    digest = hashlib.sha256()
    for array in arrays:
        values = array.contiguous().cpu().numpy()
        digest.update(f"{array.dtype}{list(array.shape)}".encode())
        digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()[:16]


def label_digest(labels: Tensor) -> str:
    """SHA-256 of a label vector as little-endian int64 bytes, in hex."""
    return hashlib.sha256(labels.cpu().numpy().astype("<i8").tobytes()).hexdigest()
