"""Any labelled image set in two packed files, ``train.npz`` and ``test.npz``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.digests import channel_stats
from prunebench.datasets.images.packed_format import Pack, check_headers, decode_images, read_pack
from prunebench.datasets.images.pixels import Reading, default_workers, reading_options
from prunebench.datasets.locate import LIMITS, files_identity, limited_rows
from prunebench.datasets.noise.rules import RULES, default_asymmetric
from prunebench.datasets.source import DataSource, Origin, RawData, register_dataset
from prunebench.datasets.sources.label_checks import Labels, count_classes
from prunebench.errors import InputError
from prunebench.options import Option, Value
from prunebench.untrusted import user_path

_WANTED = "a folder with train.npz and test.npz, or a train file with test.npz beside it"


def locate(path: str) -> tuple[Path, Path]:
    """Train and test file of a packed data set.

    Raises:
        InputError: One of them is missing.
    """
    if not path:
        raise InputError("no path", where="packed", accepted=f"packed:PATH, {_WANTED}")
    given = user_path(path, "packed")
    train = given / "train.npz" if given.is_dir() else given
    test = train.parent / "test.npz"
    for file in (train, test):
        if not file.is_file():
            raise InputError(f"no such file: {file}", where=f"packed:{path}", accepted=_WANTED)
    if train.samefile(test):
        raise InputError("train and test are one file", where=f"packed:{path}", accepted=_WANTED)
    return train, test


def _check_labels(train: Pack, test: Pack) -> int:
    """Number of classes.

    Raises:
        InputError: As ``count_classes``.
    """
    return count_classes(*(
        Labels(pack.label, f"{pack.path}: label", str(pack.path), class_names=pack.class_names,
               groups=pack.groups, human=pack.human)
        for pack in (train, test)
    ))  # fmt: skip


@register_dataset("packed", version=2)
class Packed(DataSource):
    """Equal-sized JPEG or PNG images, decoded once to a resident uint8 array."""

    options = {
        "path": Option("", "folder with train.npz and test.npz, or the train file"),
        **LIMITS,
        "workers": Option(None, "decoding threads; none: all CPUs", 1, kind=int, optional=True),
        "asymmetric": Option(
            None, "rule that asymmetric noise means", choices=tuple(RULES), optional=True
        ),
        "augment": Option(
            "auto", "auto: crop_flip from 16 pixels on", choices=("auto", "none", "crop_flip")
        ),
        **reading_options(upright="yes"),
    }
    argument = "path"
    recipe = "packed"
    summary = "your own images in packed files: packed:FOLDER"
    terms = "as the origin of the files says"

    path: str
    limit: int | None
    test_limit: int | None
    workers: int | None
    asymmetric: str | None
    augment: str
    ground: str
    upright: str

    def check(self) -> None:
        """Reads both files and checks everything but the pixels."""
        train, test = (read_pack(path) for path in locate(self.path))
        _check_labels(train, test)
        for pack, limit in ((train, self.limit), (test, self.test_limit)):
            check_headers(pack, limited_rows(len(pack), limit))

    def title(self) -> str:
        """The folder's name."""
        return user_path(self.path, "packed").resolve().name

    def asymmetric_rule(self) -> str:
        """The option, else what the file's super-classes suggest."""
        if self.asymmetric:
            return self.asymmetric
        return default_asymmetric(read_pack(locate(self.path)[0]).groups or None)

    def folder(self) -> Path:
        """The folder with both files."""
        return locate(self.path)[0].parent

    def variants(self) -> tuple[str, ...]:
        """Names of the human labels in the training file."""
        return tuple(read_pack(locate(self.path)[0]).human)

    def load(self) -> RawData:
        train_path, test_path = locate(self.path)
        train, test = read_pack(train_path), read_pack(test_path)
        classes = _check_labels(train, test)
        rows = limited_rows(len(train), self.limit)
        test_rows = limited_rows(len(test), self.test_limit)
        train_x, train_y = self._decode(train, rows)
        test_x, test_y = self._decode(test, test_rows)
        if train_x.shape[1:] != test_x.shape[1:]:
            raise InputError(
                f"images of {tuple(test_x.shape[2:])} pixels",
                where=str(test_path),
                accepted=f"{tuple(train_x.shape[2:])}, as in {train_path.name}",
            )
        mean, std = channel_stats(train_x)
        groups = train.groups or None
        content = f"{self.identity()} {self.limit} {self.test_limit} {self.ground} {self.upright}"
        automatic = "crop_flip" if min(train_x.shape[2:]) >= 16 else "none"
        return RawData(
            train_x=train_x,
            train_y=train_y,
            test_x=test_x,
            test_y=test_y,
            num_classes=classes,
            class_names=train.class_names or tuple(f"class {c}" for c in range(classes)),
            fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
            groups=groups,
            asymmetric=self.asymmetric or default_asymmetric(groups),
            mean=train.mean or mean,
            std=train.std or std,
            augment=automatic if self.augment == "auto" else self.augment,
            human={name: torch.from_numpy(y[rows]) for name, y in train.human.items()},
            train_origin=Origin.of(rows, len(train), self.limit),
            test_origin=Origin.of(test_rows, len(test), self.test_limit),
            licence=self.terms,
        )

    def identity(self) -> str:
        """SHA-256 over the bytes of both files; read again only when a file changed."""
        return files_identity(locate(self.path))

    def portable(self) -> dict[str, Value]:
        """Options that enter the key: neither the path nor the number of threads."""
        return {k: v for k, v in self.params.items() if k not in ("path", "workers")}

    def _decode(self, pack: Pack, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images = decode_images(
            pack,
            rows,
            self.workers or default_workers(),
            Reading.from_options(self.ground, self.upright),
        )
        return images, torch.from_numpy(pack.label[rows])
