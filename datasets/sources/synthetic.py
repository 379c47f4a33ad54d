"""Generated images with known structure: any size, any number of classes, no download."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from prunebench.datasets.digests import channel_stats, content_digest
from prunebench.datasets.source import DataSource, RawData, register_dataset
from prunebench.errors import InputError
from prunebench.options import Option

Floats = NDArray[np.float32]

_CHUNK = 1024
_LEVEL, _CONTRAST = 128.0, 32.0
_SHARED, _OWN = 0.6, 0.8  # of unit variance: 36 % is the super-class's, 64 % the class's own


def smooth_patterns(
    count: int, channels: int, size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Random periodic images of low frequency, zero mean, unit variance.

    Args:
        count: K.
        channels: Channels of each.
        size: Height and width.
        rng: Source of randomness.

    Returns:
        float64 [K, channels, size, size]; multiples of 1/256, so that rounding in the Fourier
        transform cannot make them differ between machines.
    """
    white = rng.standard_normal((count, channels, size, size))
    waves = np.abs(np.fft.fftfreq(size, 1 / size))
    low = (waves[:, None] <= 3) & (waves[None] <= 3)
    low[0, 0] = False
    smooth = np.fft.ifft2(np.fft.fft2(white) * low).real
    smooth /= smooth.std(axis=(1, 2, 3), keepdims=True)
    return np.asarray(np.rint(smooth * 256) / 256)


def render(
    labels: NDArray[np.int64],
    prototypes: NDArray[np.float64],
    difficulty: float,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Draws one image per label.

    An image is its class's prototype, cyclically shifted by up to an eighth of its size, blended
    with the shifted prototype of a random class (share uniform in [0, difficulty]), plus white
    noise whose strength varies from sample to sample. So there are easy and hard samples, and up
    to difficulty 0.5 the own class always has the larger share.

    Args:
        labels: int64 [N].
        prototypes: [C, channels, H, W], unit variance.
        difficulty: In [0, 1].
        rng: Source of randomness.

    Returns:
        uint8 [N, channels, H, W].
    """
    classes, channels, size = prototypes.shape[:3]
    reach = max(1, size // 8)
    edge = ((0, 0), (0, 0), (reach, reach), (reach, reach))
    padded = np.pad(prototypes.astype(np.float32), edge, mode="wrap")
    views = sliding_window_view(padded, (size, size), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
    images = np.empty((len(labels), channels, size, size), dtype=np.uint8)
    for begin in range(0, len(labels), _CHUNK):
        own = labels[begin : begin + _CHUNK]
        n = len(own)
        dy, dx, other_dy, other_dx = rng.integers(0, 2 * reach + 1, size=(4, n))
        other = rng.integers(0, classes, size=n)
        blend = (difficulty * rng.random(n, dtype=np.float32)).reshape(n, 1, 1, 1)
        strength = (0.2 + 1.8 * difficulty) * (0.5 + rng.random(n, dtype=np.float32))
        x: Floats = rng.standard_normal((n, channels, size, size), dtype=np.float32)
        x *= strength.astype(np.float32).reshape(n, 1, 1, 1)
        x += views[own, dy, dx] * (1 - blend)
        x += views[other, other_dy, other_dx] * blend
        x *= np.float32(_CONTRAST)
        x += np.float32(_LEVEL)
        images[begin : begin + n] = np.rint(x, out=x).clip(0, 255, out=x)
    return images


@register_dataset("synthetic")
class Synthetic(DataSource):
    """Smooth class prototypes, grouped by super-class, under shifts, blends and noise."""

    options = {
        "n": Option(2000, "training images", low=1),
        "test": Option(1000, "test images", low=1),
        "classes": Option(10, "classes", low=2, high=10_000),
        "superclasses": Option(5, "super-classes that share a pattern; 1 for none", low=1),
        "size": Option(16, "height and width in pixels", low=4, high=1024),
        "channels": Option(3, "channels", low=1, high=4),
        "difficulty": Option(0.5, "0 is trivial, 1 mostly noise", low=0.0, high=1.0),
        "seed": Option(0, "seed of the content; not the run's seed", low=0),
    }
    recipe = "synthetic"
    summary = "generated images of any size, with super-classes and a chosen difficulty"

    n: int
    test: int
    classes: int
    superclasses: int
    size: int
    channels: int
    difficulty: float
    seed: int

    def __init__(self, **params: Any) -> None:
        """As of every data set; the default number of super-classes fits few classes.

        Raises:
            InputError: As of every data set, or more super-classes than classes.
        """
        super().__init__(**params)
        if self.superclasses <= self.classes:
            return
        if "superclasses" in params:
            raise InputError(
                f"{self.superclasses} super-classes for {self.classes} classes",
                where="synthetic.superclasses",
                accepted=f"1 to {self.classes}",
            )
        self.superclasses = self.params["superclasses"] = self.classes

    def asymmetric_rule(self) -> str:
        """Within the super-class where there are any."""
        grouped = 1 < self.superclasses < self.classes
        return "asym_super_uniform" if grouped else "next_class"

    def load(self) -> RawData:
        rng = np.random.Generator(np.random.PCG64(self.seed))
        groups = np.arange(self.classes) * self.superclasses // self.classes
        shared = smooth_patterns(self.superclasses, self.channels, self.size, rng)
        own = smooth_patterns(self.classes, self.channels, self.size, rng)
        prototypes = _SHARED * shared[groups] + _OWN * own
        train_y, train_x = self._split(self.n, prototypes, rng)
        test_y, test_x = self._split(self.test, prototypes, rng)
        mean, std = channel_stats(train_x)
        grouped = 1 < self.superclasses < self.classes
        return RawData(
            train_x=train_x,
            train_y=train_y,
            test_x=test_x,
            test_y=test_y,
            num_classes=self.classes,
            class_names=tuple(f"class {c}" for c in range(self.classes)),
            fingerprint=content_digest(train_x, train_y, test_x, test_y),
            groups=tuple(groups.tolist()) if grouped else None,
            asymmetric=self.asymmetric_rule(),
            mean=mean,
            std=std,
            augment="crop_flip" if self.size >= 16 else "none",
            licence="generated; no rights attached",
        )

    def _split(
        self, n: int, prototypes: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        labels = rng.permutation(np.arange(n) % self.classes)
        images = render(labels, prototypes, self.difficulty, rng)
        return torch.from_numpy(labels), torch.from_numpy(images)
