"""Any labelled images in class folders, ``PATH/train/<class>`` and ``PATH/test/<class>``."""

from __future__ import annotations

import hashlib

import torch

from prunebench.datasets.digests import own_identity
from prunebench.datasets.groups import SampleGroups
from prunebench.datasets.images.class_folders import (
    Tree,
    find_splits,
    images_digest,
    left_out_line,
    match_classes,
    read_tree,
    tree_identity,
)
from prunebench.datasets.images.label_table import TableLabels, read_groups, read_labels
from prunebench.datasets.images.lazy import (
    ImageFiles,
    PathList,
    decode_unless_streamed,
    sampled_stats,
)
from prunebench.datasets.images.pixels import Reading, Resize, default_workers, reading_options
from prunebench.datasets.locate import LIMITS, limited_rows
from prunebench.datasets.noise.rules import RULES
from prunebench.datasets.source import DataSource, Origin, RawData, register_dataset
from prunebench.errors import InputError
from prunebench.options import Option, Value
from prunebench.untrusted import user_path

#: Options that change no pixel and no label, or whose file enters by its content.
_LOCAL = ("path", "workers", "stream", "labels", "test_groups")


@register_dataset("folder", version=2)
class Folder(DataSource):
    """Images of any size in class folders, resident or decoded as the training goes on."""

    options = {
        "path": Option("", "folder with train/<class>/ and test/<class>/ (or val/<class>/)"),
        "size": Option(64, "height and width that images are brought to", 4, 4096),
        "resize": Option(
            "exact",
            "exact: to size x size; short: the short side to size, then the centre",
            choices=("exact", "short"),
        ),
        "crop": Option(
            None, "side of what the network sees; none: size", 4, kind=int, optional=True
        ),
        "augment": Option(
            "crop_flip", "training view", choices=("none", "crop_flip", "resized_crop")
        ),
        "stream": Option(
            "auto", "auto: resident up to 2 GiB of pixels", choices=("auto", "yes", "no")
        ),
        **LIMITS,
        "workers": Option(
            None, "decoding processes; none: all CPUs, 0: none", 0, kind=int, optional=True
        ),
        "labels": Option(
            None,
            "table (CSV) of file_name, label and perhaps clean_label: human labels of the "
            "training images, noise real",
            kind=str,
            optional=True,
        ),
        "test_groups": Option(
            None,
            "table (CSV) of file_name and group: groups of the test images, whose accuracies are "
            "told apart",
            kind=str,
            optional=True,
        ),
        "asymmetric": Option(
            None, "rule that asymmetric noise means", choices=tuple(RULES), optional=True
        ),
        **reading_options(upright="yes"),
    }
    argument = "path"
    recipe = "packed"
    summary = "your own images in class folders, streamed where they are many: folder:PATH"
    terms = "as the origin of the files says"

    path: str
    size: int
    resize: Resize
    crop: int | None
    augment: str
    stream: str
    limit: int | None
    test_limit: int | None
    workers: int | None
    labels: str | None
    test_groups: str | None
    asymmetric: str | None
    ground: str
    upright: str

    def _trees(self) -> tuple[Tree, Tree]:
        train, test = (read_tree(root) for root in find_splits(self.path, "folder"))
        return train, match_classes(train, test)

    def _labels(self, train: Tree) -> TableLabels | None:
        if self.labels is None:
            return None
        return read_labels(user_path(self.labels, "folder.labels"), train)

    def _groups(self, test: Tree) -> SampleGroups | None:
        if self.test_groups is None:
            return None
        return read_groups(user_path(self.test_groups, "folder.test_groups"), test)

    def check(self) -> None:
        """Lists both splits and reads the tables; no image is opened."""
        if self.crop is not None and self.crop > self.size:
            raise InputError(
                f"{self.crop}", where="folder.crop", accepted=f"at most {self.size}, the size"
            )
        train, test = self._trees()
        self._labels(train)
        self._groups(test)

    def notes(self) -> list[str]:
        """Files that are left out, by split."""
        return [line for tree in self._trees() if (line := left_out_line(tree))]

    def title(self) -> str:
        """The folder's name."""
        return user_path(self.path, "folder").resolve().name

    def asymmetric_rule(self) -> str:
        """The option, else the next class."""
        return self.asymmetric or "next_class"

    def identity(self) -> str:
        """SHA-256 over paths, sizes and, for small trees, content; where there is a table
        ``own_identity`` of all images and labels."""
        train, test = self._trees()
        labels = self._labels(train)
        groups = self._groups(test)
        if labels is None and groups is None:
            return tree_identity(train, test)
        splits = {
            "train": (images_digest(train), train.labels if labels is None else labels.clean),
            "test": (images_digest(test), test.labels),
        }
        human = {} if labels is None else {"": labels.given}
        names = train.classes if groups is None else [train.classes, groups.of_samples]
        return own_identity(splits, human, names)

    def variants(self) -> tuple[str, ...]:
        """The human labels of the table."""
        return () if self.labels is None else ("",)

    def portable(self) -> dict[str, Value]:
        """Options that enter the key: streamed or resident, the pixels are the same."""
        return {k: v for k, v in self.params.items() if k not in _LOCAL}

    def load(self) -> RawData:
        self.check()
        train, test = self._trees()
        labels, groups = self._labels(train), self._groups(test)
        clean = train.labels if labels is None else labels.clean
        threads = self.workers or default_workers()
        train_rows = limited_rows(len(train.names), self.limit)
        test_rows = limited_rows(len(test.names), self.test_limit)
        reading = Reading.from_options(self.ground, self.upright)
        files = [
            ImageFiles(
                PathList(tree.root, tree.names), self.size, self.resize, rows, self.workers, reading
            )
            for tree, rows in ((train, train_rows), (test, test_rows))
        ]
        train_x, test_x = decode_unless_streamed(files, self.stream, threads)
        mean, std = sampled_stats(train_x, threads)
        content = f"{self.identity()} {self.limit} {self.test_limit} {self.size} {self.resize}"
        content += f" {self.ground} {self.upright}"
        return RawData(
            train_x=train_x,
            train_y=torch.from_numpy(clean[train_rows]),
            test_x=test_x,
            test_y=torch.from_numpy(test.labels[test_rows]),
            num_classes=len(train.classes),
            class_names=train.classes,
            fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
            test_groups=groups and groups.rows(torch.from_numpy(test_rows)),
            asymmetric=self.asymmetric_rule(),
            mean=mean,
            std=std,
            augment=self.augment,
            crop=self.crop,
            train_origin=Origin.of(train_rows, len(train.names), self.limit),
            test_origin=Origin.of(test_rows, len(test.names), self.test_limit),
            human={} if labels is None else {"": torch.from_numpy(labels.given[train_rows])},
            licence=self.terms,
        )
