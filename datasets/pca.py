"""Principal components of images, as a data set of vectors: what embeddings look like, without
files."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from prunebench.datasets.source import RawData
from prunebench.errors import InputError
from prunebench.options import Option

#: The option of a data set of images; None leaves them images.
PCA = {
    "pca": Option(
        None, "this many principal components in place of pixels; none: the pixels",
        low=1, kind=int, optional=True, later=True,
    )
}  # fmt: skip
_CHUNK = 4096


def with_components(raw: RawData, count: int | None, where: str) -> RawData:
    """A data set of images in memory as vectors.

    The components are those of the training images; a component points to where its largest entry
    is positive. Products of pixels are summed exactly, and the decomposition rounds in its last
    digits by machine: the identity of the result is that of the images and the number.

    Args:
        raw: uint8 images.
        count: Components, D; None for the images as they are.
        where: The option, for messages.

    Returns:
        Vectors float32 [N, D], in units of a pixel's range, with mean 0 over the training images.

    Raises:
        InputError: The images have fewer components that vary.
    """
    if count is None:
        return raw
    train, test = cast(Tensor, raw.train_x), cast(Tensor, raw.test_x)
    total, products = _sums(train)
    n = len(train)
    values, vectors = torch.linalg.eigh((n * products - torch.outer(total, total)) / n**2)
    varying = int((values > values[-1].clamp(min=0) * len(values) * 1e-12).sum())
    if count > varying:
        raise InputError(f"{count} components", where=where, accepted=f"1 to {varying}")
    axes = vectors.flip(1)[:, :count]
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0) / 255
    projected = [
        torch.cat([(chunk - total / n) @ axes for chunk in _chunks(x)]).float()
        for x in (train, test)
    ]
    identity = hashlib.sha256(f"{raw.fingerprint} pca {count}".encode()).hexdigest()[:16]
    return replace(
        raw, train_x=projected[0], test_x=projected[1], fingerprint=identity, mean=(), std=(),
        augment="none", crop=None,
    )  # fmt: skip


def _chunks(images: Tensor) -> list[Tensor]:
    return [part.flatten(1).double() for part in torch.split(images, _CHUNK)]


def _sums(images: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of pixels [P] and of their products [P, P]: whole numbers that float64 holds exactly."""
    size = images[0].numel()
    total, products = torch.zeros(size).double(), torch.zeros(size, size).double()
    for chunk in _chunks(images):
        total += chunk.sum(0)
        products += chunk.T @ chunk
    return total, products
