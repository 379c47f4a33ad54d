"""MNIST and Fashion-MNIST in the published idx files, packed by gzip or not."""

from __future__ import annotations

import hashlib
import math
import zlib
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.digests import channel_stats
from prunebench.datasets.locate import (
    LIMITS,
    DataFile,
    data_root,
    files_identity,
    find_folder,
    limited_rows,
    require,
)
from prunebench.datasets.pca import PCA, with_components
from prunebench.datasets.source import DataSource, Origin, Outline, RawData, register_dataset
from prunebench.errors import InputError
from prunebench.options import Option
from prunebench.untrusted import gunzip, user_path

_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_UBYTE = 8
_MOST_DIMENSIONS = 8


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Reads an idx file of unsigned bytes: magic, big-endian sizes, values.

    Raises:
        InputError: The file is no such file, is truncated, or holds more than it says.
    """
    accepted = "the published idx file of unsigned bytes"
    try:
        with path.open("rb") as file:
            content = gunzip(file, str(path)) if path.suffix == ".gz" else file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"damaged ({error})", where=str(path), accepted=accepted) from None
    head = content[:4]
    if head[:3] != bytes((0, 0, _UBYTE)) or len(content) < 4 + 4 * int.from_bytes(head[3:]):
        raise InputError("no idx header", where=str(path), accepted=accepted)
    dims, start = content[3], 4 + 4 * content[3]
    if not 1 <= dims <= _MOST_DIMENSIONS:
        raise InputError(f"{dims} dimensions", where=str(path), accepted=f"1 to {_MOST_DIMENSIONS}")
    sizes = [int(s) for s in np.frombuffer(content[4:start], ">u4")]
    if len(sizes) != dims or len(content) - start != math.prod(sizes):
        raise InputError(
            f"{len(content) - start} values for sizes {sizes}", where=str(path), accepted=accepted
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes).copy()


class Idx(DataSource):
    """28 x 28 grey images, 60,000 to train and 10,000 to test, ten classes."""

    options = {
        "path": Option(None, "folder with the idx files; none: below $PRUNEBENCH_DATA",
                       kind=str, optional=True),
        **LIMITS,
        **PCA,
    }  # fmt: skip
    argument = "path"
    argument_optional = True
    recipe = "mnist"

    torchvision_class: ClassVar[str] = ""
    classes: ClassVar[tuple[str, ...]] = tuple(str(c) for c in range(10))
    rule: ClassVar[str] = "next_class"
    #: Published checksums of the gzip files, by file name.
    digests: ClassVar[dict[str, str]] = {}
    #: Published checksums of the unpacked files.
    contents: ClassVar[dict[str, str]] = {}

    path: str | None
    limit: int | None
    test_limit: int | None
    pca: int | None

    def folder(self) -> Path:
        """The folder with the idx files."""
        raw = f"{self.torchvision_class}/raw"
        names = [_NAMES[0], f"{_NAMES[0]}.gz"]
        return find_folder(self.path, ("", "raw", raw, self.name), names, self.name)

    def _paths(self) -> list[Path]:
        folder = self.folder()
        found = [
            folder / name if (folder / name).is_file() else folder / f"{name}.gz" for name in _NAMES
        ]
        return [require(path, self.name) for path in found]

    def published(self) -> list[DataFile]:
        """The gzip files with their published checksums."""
        return [
            DataFile(f"{name}.gz", self.digests.get(name, ""), self.contents.get(name, ""))
            for name in _NAMES
        ]

    def prepare(self) -> Path:
        """Downloads the files through torchvision, into its own layout."""
        import torchvision

        root = user_path(self.path, self.name) if self.path else data_root()
        getattr(torchvision.datasets, self.torchvision_class)(str(root), download=True)
        return root / self.torchvision_class / "raw"

    def check(self) -> None:
        """Reads headers and labels."""
        paths = self._paths()
        for images, labels in (paths[:2], paths[2:]):
            self._labels(labels, len(read_idx(images)))

    def outline(self) -> Outline:
        """60,000 and 10,000 images, or fewer by option."""
        full = Outline(60_000, 10_000, (1, 28, 28), len(self.classes))
        if self.pca is not None:
            full = replace(full, shape=(self.pca,), images=False)
        return full.limited(self.limit, self.test_limit)

    def default_recipe(self) -> str:
        """``linear-probe`` for components."""
        return self.recipe if self.pca is None else "linear-probe"

    def asymmetric_rule(self) -> str:
        """The rule of the data set."""
        return self.rule

    def identity(self) -> str:
        """SHA-256 over the four files."""
        return files_identity(self._paths())

    def load(self) -> RawData:
        paths = self._paths()
        train_x, train_y, train_origin = self._split(paths[0], paths[1], self.limit)
        test_x, test_y, test_origin = self._split(paths[2], paths[3], self.test_limit)
        if train_x.shape[1:] != test_x.shape[1:]:
            raise InputError(
                f"images of {tuple(test_x.shape[2:])} pixels", where=str(paths[2]),
                accepted=f"{tuple(train_x.shape[2:])}, as in {paths[0].name}",
            )  # fmt: skip
        mean, std = channel_stats(train_x)
        content = f"{self.identity()} {self.limit} {self.test_limit}"
        raw = RawData(
            train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y,
            num_classes=len(self.classes), class_names=self.classes,
            fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
            asymmetric=self.rule, mean=mean, std=std, licence=self.terms,
            train_origin=train_origin, test_origin=test_origin,
        )  # fmt: skip
        return with_components(raw, self.pca, f"{self.name}.pca")

    def _labels(self, path: Path, n: int) -> NDArray[np.uint8]:
        labels = read_idx(path)
        if labels.shape != (n,):
            raise InputError(f"{len(labels)} labels for {n} images", where=str(path))
        bad = np.flatnonzero(labels >= len(self.classes))
        if len(bad):
            raise InputError(
                f"label {labels[bad[0]]} at image {bad[0]}", where=str(path),
                accepted=f"0 to {len(self.classes) - 1}",
            )  # fmt: skip
        return labels

    def _split(
        self, images: Path, labels: Path, limit: int | None
    ) -> tuple[Tensor, Tensor, Origin | None]:
        pixels = read_idx(images)
        if pixels.ndim != 3:
            raise InputError(f"{pixels.ndim} dimensions", where=str(images), accepted="3")
        if not pixels.size:
            raise InputError("no images", where=str(images), accepted="at least one pixel")
        y = self._labels(labels, len(pixels))
        rows = limited_rows(len(pixels), limit)
        return (
            torch.from_numpy(pixels[rows][:, None]),
            torch.from_numpy(y[rows].astype(np.int64)),
            Origin.of(rows, len(pixels), limit),
        )


@register_dataset("mnist")
class Mnist(Idx):
    """Handwritten digits (LeCun, Bottou, Bengio and Haffner 1998)."""

    summary = "70,000 handwritten digits of 28 x 28 pixels"
    torchvision_class = "MNIST"
    rule = "asym_digits"
    terms = "LeCun, Cortes and Burges; CC BY-SA 3.0"
    digests = {
        _NAMES[0]: "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        _NAMES[1]: "md5:d53e105ee54ea40749a09fcbcd1e9432",
        _NAMES[2]: "md5:9fb629c4189551a2d022fa330f9573f3",
        _NAMES[3]: "md5:ec29112dd5afa0611ce80d1b7f02629c",
    }
    contents = {
        _NAMES[0]: "md5:6bbc9ace898e44ae57da46a324031adb",
        _NAMES[1]: "md5:a25bea736e30d166cdddb491f175f624",
        _NAMES[2]: "md5:2646ac647ad5339dbf082846283269ea",
        _NAMES[3]: "md5:27ae3e4e09519cfbb04c329615203637",
    }


@register_dataset("fashion-mnist")
class FashionMnist(Idx):
    """Articles of clothing (Xiao, Rasul and Vollgraf 2017)."""

    summary = "70,000 articles of clothing of 28 x 28 pixels"
    torchvision_class = "FashionMNIST"
    classes = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
               "Sneaker", "Bag", "Ankle boot")  # fmt: skip
    terms = "Zalando SE; MIT"
    digests = {
        _NAMES[0]: "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        _NAMES[1]: "md5:25c81989df183df01b3e8a0aad5dffbe",
        _NAMES[2]: "md5:bef4ecab320f06d8554ea6380940ec79",
        _NAMES[3]: "md5:bb300cfdad3c16e7a12a480ee83cd310",
    }
