"""A toy data set of smooth images, and its tasks with corrupted ones."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunebench.datasets.build import make_task
from prunebench.datasets.corrupt.names import parse_corruption
from prunebench.datasets.imbalance import parse_imbalance
from prunebench.datasets.noise.names import parse_noise
from prunebench.datasets.source import RawData
from prunebench.datasets.task import Task
from prunebench.rng import Streams

N, C = 600, 4
#: Kinds whose pixels are ours alone, without a library that reads or draws images.
OWN_PIXELS = ("gaussian-noise", "gaussian-blur", "occlusion", "fog")


def smooth(shape: tuple[int, ...], seed: int) -> Tensor:
    """uint8 images [n, c, h, w] with an edge and a slope each."""
    rng = np.random.default_rng(seed)
    n, c, h, w = shape
    y, x = np.mgrid[:h, :w]
    slopes, ends = rng.uniform(-4, 4, (n, c, 1, 1)), rng.integers(60, 160, (n, c, 1, 1))
    edge = 70 * (x > rng.integers(1, w, (n, 1, 1, 1)))
    return torch.from_numpy((ends + slopes * y * 16 / h + edge).clip(0, 255).astype(np.uint8))


def toy(side: int = 12, channels: int = 1) -> RawData:
    """``N`` training and 20 test images."""
    y = torch.arange(N) * 7 % 31 % C
    x, test = smooth((N, channels, side, side), 1), smooth((20, channels, side, side), 2)
    return RawData(x, y, test, torch.arange(20) % C, C, tuple("abcd"), "f")


TOY = toy()


def task(
    corrupt: str = "none",
    seed: int = 0,
    data: RawData = TOY,
    severity: int = 3,
    noise: str = "clean",
    imbalance: str = "none",
    **options: Any,
) -> Task:
    """A task of the toy data."""
    return make_task(
        data, parse_noise(noise), Streams(seed, "toy", noise),
        imbalance=parse_imbalance(imbalance), corruption=parse_corruption(corrupt, severity),
        **options,
    )  # fmt: skip


def digest(kind: str) -> str:
    """SHA-256 of the pixels when every image is corrupted, first 16 digits."""
    pixels = task(f"{kind}:1").raw.train_x
    assert isinstance(pixels, Tensor)
    return hashlib.sha256(pixels.numpy().tobytes()).hexdigest()[:16]
