"""scikit-learn's handwritten digits: small, real, and installed with scikit-learn."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from prunebench.datasets.digests import channel_stats, content_digest
from prunebench.datasets.pca import PCA, with_components
from prunebench.datasets.source import DataSource, Outline, RawData, register_dataset

TEST_SIZE = 450
_SIZE = 1797
_SPLIT_SEED = 20240607
_FILE = "sklearn/datasets/data/digits.csv.gz"


def read_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What ``sklearn.datasets.load_digits`` reads, in the same order.

    Importing scikit-learn takes longer than a small run, so its file is read directly where
    it is in its usual place.

    Returns:
        float64 [1797, 8, 8] with values 0..16, and labels int64 [1797].
    """
    path = Path(str(distribution("scikit-learn").locate_file(_FILE)))
    if path.is_file():
        rows = np.loadtxt(path, delimiter=",")
        return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target.astype(np.int64)


def stratified_test_rows(labels: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Rows of a fixed, stratified test split.

    Each class gives its proportional share, rounded by largest remainders (ties to the lower
    class); the rows come from one fixed generator.

    Args:
        labels: int64 [N].
        size: Test rows, at most N.

    Returns:
        int64 [size], ascending.
    """
    classes, counts = np.unique(labels, return_counts=True)
    share, remainder = np.divmod(counts * size, len(labels))
    for place in np.argsort(-remainder, kind="stable")[: size - share.sum()]:
        share[place] += 1
    rng = np.random.Generator(np.random.PCG64(_SPLIT_SEED))
    picked = [
        rng.permutation(np.flatnonzero(labels == c))[:k]
        for c, k in zip(classes, share, strict=True)
    ]
    return np.sort(np.concatenate(picked))


@register_dataset("digits")
class Digits(DataSource):
    """1,797 images of 8 x 8 pixels (Alpaydin and Kaynak 1998): 1,347 to train, 450 to test."""

    options = PCA
    recipe = "digits"
    summary = "1,797 real handwritten digits of 8 x 8 pixels, shipped with scikit-learn"

    pca: int | None

    def outline(self) -> Outline:
        """1,347 to train, 450 to test, in 10 classes."""
        shape = (1, 8, 8) if self.pca is None else (self.pca,)
        return Outline(_SIZE - TEST_SIZE, TEST_SIZE, shape, 10, images=self.pca is None)

    def default_recipe(self) -> str:
        """``linear-probe`` for components."""
        return self.recipe if self.pca is None else "linear-probe"

    def asymmetric_rule(self) -> str:
        """The confusions of MNIST."""
        return "asym_digits"

    def load(self) -> RawData:
        images, labels = read_digits()
        # Pixels are 0..16; the full uint8 range keeps all 17 levels apart.
        pixels = np.rint(images * (255 / 16)).astype(np.uint8)[:, None]
        test = stratified_test_rows(labels, TEST_SIZE)
        train = np.setdiff1d(np.arange(len(labels)), test)
        train_x, test_x = torch.from_numpy(pixels[train]), torch.from_numpy(pixels[test])
        train_y, test_y = torch.from_numpy(labels[train]), torch.from_numpy(labels[test])
        mean, std = channel_stats(train_x)
        raw = RawData(
            train_x=train_x,
            train_y=train_y,
            test_x=test_x,
            test_y=test_y,
            num_classes=10,
            class_names=tuple(str(c) for c in range(10)),
            fingerprint=content_digest(train_x, train_y, test_x, test_y),
            asymmetric="asym_digits",
            mean=mean,
            std=std,
            licence="UCI Optical Recognition of Handwritten Digits, CC BY 4.0",
        )
        return with_components(raw, self.pca, "digits.pca")
