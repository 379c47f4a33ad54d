"""Class-folder trees of small images with learnable classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_tree(
    root: Path, train: int = 40, test: int = 10, classes: int = 4, side: int = 20, seed: int = 0
) -> Path:
    """Writes ``train`` and ``test`` images per class, JPEG and PNG of several proportions."""
    rng = np.random.default_rng(seed)
    prototypes = rng.integers(40, 216, (classes, 4, 4, 3))
    for split, count in (("train", train), ("test", test)):
        for c in range(classes):
            folder = root / split / f"class_{c}"
            folder.mkdir(parents=True)
            for i in range(count):
                noisy = prototypes[c] + rng.normal(0, 30, (4, 4, 3))
                small = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
                size = (side + int(rng.integers(0, 9)), side + int(rng.integers(0, 9)))
                image = small.resize(size, Image.Resampling.BICUBIC)
                image.save(folder / f"{i:04d}.{'png' if i % 5 == 0 else 'jpg'}")
    return root
