"""Image data sets in the layout of Hugging Face: Parquet files of both splits in a folder."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from prunebench.datasets.cache import digest_once
from prunebench.datasets.digests import own_identity
from prunebench.datasets.images.arrow_images import ArrowSplit, find_files, read_split
from prunebench.datasets.images.lazy import (
    ImageFiles,
    decode_unless_streamed,
    encoded_digest,
    sampled_stats,
)
from prunebench.datasets.images.pixels import Reading, Resize, default_workers, reading_options
from prunebench.datasets.locate import LIMITS, limited_rows
from prunebench.datasets.noise.rules import RULES
from prunebench.datasets.source import DataSource, Origin, RawData, register_dataset
from prunebench.datasets.sources.label_checks import Labels, count_classes
from prunebench.errors import InputError
from prunebench.options import Option, Value
from prunebench.record import canonical
from prunebench.untrusted import user_path

#: Options that change no pixel and no label.
_LOCAL = ("path", "workers")


@register_dataset("hf")
class HuggingFace(DataSource):
    """Images of any size in Parquet files, decoded once or as the training goes on."""

    options = {
        "path": Option("", "folder with train-*.parquet and test-*.parquet, or train/ and test/"),
        "image": Option(None, "column of the images; none: image or img", kind=str, optional=True),
        "label": Option(
            None, "column of the labels; none: label, labels or fine_label", kind=str, optional=True
        ),
        "human": Option(
            None, "column of labels that people gave, noise real", kind=str, optional=True
        ),
        "size": Option(64, "height and width that images are brought to", 4, 4096),
        "resize": Option(
            "exact",
            "exact: to size x size; short: the short side to size, then the centre",
            choices=("exact", "short"),
        ),
        "augment": Option(
            "crop_flip", "training view", choices=("none", "crop_flip", "resized_crop")
        ),
        **LIMITS,
        "workers": Option(None, "decoding threads; none: all CPUs", 1, kind=int, optional=True),
        "asymmetric": Option(
            None, "rule that asymmetric noise means", choices=tuple(RULES), optional=True
        ),
        **reading_options(upright="yes"),
    }
    argument = "path"
    recipe = "packed"
    summary = "images in Parquet files as Hugging Face has them: hf:PATH (needs pyarrow)"
    terms = "as the origin of the files says"

    path: str
    image: str | None
    label: str | None
    human: str | None
    size: int
    resize: Resize
    augment: str
    limit: int | None
    test_limit: int | None
    workers: int | None
    asymmetric: str | None
    ground: str
    upright: str

    def _splits(self) -> tuple[ArrowSplit, ArrowSplit]:
        train, test = find_files(self.path)
        root = user_path(self.path, "hf")
        return (read_split(train, root, self.image, self.label, self.human),
                read_split(test, root, self.image, self.label, None))  # fmt: skip

    def check(self) -> None:
        """Reads both splits and checks their labels; no image is decoded."""
        _labelled(*self._splits())

    def title(self) -> str:
        """The folder's name."""
        return user_path(self.path, "hf").resolve().name

    def asymmetric_rule(self) -> str:
        """The option, else the next class."""
        return self.asymmetric or "next_class"

    def variants(self) -> tuple[str, ...]:
        """The human labels, where a column of them is named."""
        return () if self.human is None else ("",)

    def identity(self) -> str:
        """``own_identity`` of all images and labels; read again only when a file changed."""
        files = [file for split in find_files(self.path) for file in split]
        what = f"hf {canonical([self.image, self.label, self.human])}"

        def within() -> str:
            """Empty where the Parquet files name images beside them, which may change as well."""
            train, test = self._splits()
            beside = bool(train.images.files() or test.images.files())
            return "" if beside else _identity(train, test)

        found = digest_once(files, what, within)
        if found:
            return found
        train, test = self._splits()
        files += train.images.files() + test.images.files()
        return digest_once(files, f"{what}, beside", lambda: _identity(train, test))

    def portable(self) -> dict[str, Value]:
        """Options that enter the key."""
        return {name: value for name, value in self.params.items() if name not in _LOCAL}

    def load(self) -> RawData:
        train, test = self._splits()
        names, labels, human, test_labels = _labelled(train, test)
        threads = self.workers or default_workers()
        rows = limited_rows(len(labels), self.limit)
        test_rows = limited_rows(len(test_labels), self.test_limit)
        reading = Reading.from_options(self.ground, self.upright)
        files = [
            ImageFiles(split.images, self.size, self.resize, part, self.workers, reading)
            for split, part in ((train, rows), (test, test_rows))
        ]
        train_x, test_x = decode_unless_streamed(files, "no", threads)
        mean, std = sampled_stats(train_x, threads)
        content = f"{self.identity()} {sorted(self.portable().items(), key=str)}"
        return RawData(
            train_x=train_x,
            train_y=torch.from_numpy(labels[rows]),
            test_x=test_x,
            test_y=torch.from_numpy(test_labels[test_rows]),
            num_classes=len(names),
            class_names=names,
            fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
            asymmetric=self.asymmetric_rule(),
            mean=mean,
            std=std,
            augment=self.augment,
            human={} if human is None else {"": torch.from_numpy(human[rows])},
            train_origin=Origin.of(rows, len(labels), self.limit),
            test_origin=Origin.of(test_rows, len(test_labels), self.test_limit),
            licence=self.terms,
        )


def _identity(train: ArrowSplit, test: ArrowSplit) -> str:
    names, labels, human, test_labels = _labelled(train, test)
    splits = {
        "train": (encoded_digest(train.images), labels),
        "test": (encoded_digest(test.images), test_labels),
    }
    return own_identity(splits, {} if human is None else {"": human}, names)


def _labelled(
    train: ArrowSplit, test: ArrowSplit
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64] | None, NDArray[np.int64]]:
    """Class names and labels of the training split, what people gave, and the test split.

    Raises:
        InputError: Labels that are no classes of the training split.
    """
    names = train.class_names
    if train.labels.dtype.kind == "U":
        names = tuple(sorted(set(train.labels.tolist())))
    known = {name: number for number, name in enumerate(names)}
    found: list[NDArray[np.int64] | None] = []
    for split, values in ((train, train.labels), (train, train.human), (test, test.labels)):
        if train.labels.dtype.kind == "U" and values is not None and values.dtype.kind != "U":
            raise InputError("whole numbers for labels", where=split.where,
                             accepted="texts, as the training labels are")  # fmt: skip
        if values is not None and values.dtype.kind == "U":
            unknown = next((v for v in values.tolist() if v not in known), None)
            if unknown is not None:
                raise InputError(f"label {unknown!r}", where=split.where,
                                 accepted=", ".join(names)[:300] or "whole numbers")  # fmt: skip
            values = np.array([known[value] for value in values.tolist()])
        found.append(None if values is None else values.astype(np.int64))
    labels, human, test_labels = found
    assert labels is not None
    assert test_labels is not None
    for split, array in ((train, labels), (test, test_labels)):
        if array.min() < 0:
            raise InputError(f"{array.min()} at image {int(array.argmin())}", where=split.where,
                             accepted="0 to C-1")  # fmt: skip
    given = {} if human is None else {"": human}
    classes = count_classes(
        Labels(labels, train.where, train.where, class_names=names, human=given),
        Labels(test_labels, test.where, test.where),
    )
    return names or tuple(f"class {c}" for c in range(classes)), labels, human, test_labels
