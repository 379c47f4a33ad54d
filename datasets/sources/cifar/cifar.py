"""CIFAR-10 and CIFAR-100, with the human labels of CIFAR-10N and CIFAR-100N."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from prunebench.datasets.locate import LIMITS, DataFile, checksum, data_root, limited_rows
from prunebench.datasets.source import DataSource, Origin, Outline, RawData, register_dataset
from prunebench.datasets.sources.cifar.files import (
    Images,
    check_images,
    check_order,
    find_images,
    images_identity,
    is_lossy,
    read_split,
)
from prunebench.datasets.sources.cifar.human import (
    CLEAN,
    LABEL_FILES,
    LICENCE,
    fetch_labels,
    find_labels,
    read_labels,
)
from prunebench.datasets.sources.cifar.tables import CIFAR10, CIFAR100, LAYOUTS, Family
from prunebench.errors import InputError
from prunebench.options import Option, Value
from prunebench.untrusted import user_path

_PATH = Option(None, "folder of the images; none: below $PRUNEBENCH_DATA",
               kind=str, optional=True)  # fmt: skip
_LABELS = Option(None, "human label file or its folder; none: near the images",
                 kind=str, optional=True)  # fmt: skip
_COMMON = {
    "images": Option("auto", "layout of the images; auto: the first that is there",
                     choices=("auto", *LAYOUTS)),
    **LIMITS,
}  # fmt: skip


class Cifar(DataSource):
    """32 x 32 colour images, 50,000 to train and 10,000 to test."""

    options: ClassVar[Mapping[str, Option]] = {"path": _PATH, **_COMMON}
    argument = "path"
    argument_optional = True

    torchvision_class: ClassVar[str] = ""
    mean: ClassVar[tuple[float, ...]] = ()
    std: ClassVar[tuple[float, ...]] = ()
    rule: ClassVar[str] = ""

    path: str | None
    images: str
    limit: int | None
    test_limit: int | None

    @property
    @abstractmethod
    def family(self) -> Family:
        """What is published of the set."""

    def find(self) -> Images:
        """Layout and folder of the images.

        Raises:
            InputError: They are not there.
        """
        return find_images(self.family, self.path, self.images, self.name)

    def folder(self) -> Path:
        """The folder with the images."""
        return self.find().folder

    def published(self) -> list[DataFile]:
        """The images of the layout that is there, else of the python layout."""
        try:
            layout = self.find().layout
        except InputError:
            layout = "python" if self.images == "auto" else self.images
        if layout == "python":
            return list(self.family.python)
        return [DataFile(name) for name in self.family.files(layout)]

    def prepare(self) -> Path:
        """Downloads the python layout through torchvision, unless images are there.

        Raises:
            InputError: A layout that torchvision does not know.
        """
        try:
            return self.find().folder
        except InputError:
            if self.images not in ("auto", "python"):
                raise
        from torchvision import datasets
        from torchvision.datasets.utils import download_and_extract_archive

        root = user_path(self.path, self.name) if self.path else data_root()
        known = getattr(datasets, self.torchvision_class)
        download_and_extract_archive(
            known.url, str(root), filename=known.filename, md5=known.tgz_md5
        )
        return self.find().folder

    def check(self) -> None:
        """Compares files with what is published."""
        found = self.find()
        check_images(self.family, found, self.name)
        check_order(self.family, found)

    def outline(self) -> Outline:
        """50,000 and 10,000 images, or fewer by option."""
        full = Outline(50_000, 10_000, (3, 32, 32), len(self.family.class_names))
        return full.limited(self.limit, self.test_limit)

    def asymmetric_rule(self) -> str:
        """Pairs of similar classes on CIFAR-10, super-classes on CIFAR-100."""
        return self.rule

    def identity(self) -> str:
        """SHA-256 over layout and files."""
        return images_identity(self.family, self.find(), self.name)

    def portable(self) -> dict[str, Value]:
        """Options that enter the key: the layout found and the subset, not the paths."""
        return {
            "images": self.find().layout,
            "limit": self.limit,
            "test_limit": self.test_limit,
        }

    def load(self) -> RawData:
        found = self.find()
        read = (self.family, found)
        train_x, train_y, labels = read_split(*read, True, self.limit, self.name)
        test_x, test_y, every = read_split(*read, False, self.test_limit, self.name)
        test_rows = limited_rows(len(every), self.test_limit)
        test_origin = Origin.of(test_rows, len(every), self.test_limit)
        rows = limited_rows(len(labels), self.limit)
        human = {name: torch.from_numpy(y[rows]) for name, y in self._human(labels).items()}
        content = f"{self.identity()} {self.limit} {self.test_limit}"
        return RawData(
            train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y,
            num_classes=len(self.family.class_names), class_names=self.family.class_names,
            fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
            groups=self.family.coarse or None, asymmetric=self.rule,
            mean=self.mean, std=self.std, augment="crop_flip", human=human,
            train_origin=Origin.of(rows, len(labels), self.limit), test_origin=test_origin,
            licence=self.licence(),
        )  # fmt: skip

    def _human(self, labels: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        return {}

    def licence(self) -> str:
        """That of the images in the layout found."""
        terms = "images: Krizhevsky 2009, no licence stated"
        if is_lossy(self.find()):
            terms += "; JPEG copies, so accuracies do not compare with published ones"
        return terms


class CifarN(Cifar):
    """The same images with human labels."""

    options: ClassVar[Mapping[str, Option]] = {"path": _PATH, "labels": _LABELS, **_COMMON}

    labels: str | None

    def variants(self) -> tuple[str, ...]:
        """Human labels of the file."""
        return LABEL_FILES[self.name].variants

    def label_path(self) -> Path:
        """The label file.

        Raises:
            InputError: It is not there.
        """
        try:
            near = [self.find().folder]
        except InputError:
            near = []
        near += [near[0].parent] if near else []
        near += [user_path(self.path, self.name)] if self.path else []
        return find_labels(self.name, self.labels, near)

    def published(self) -> list[DataFile]:
        """The images and the label file."""
        file = LABEL_FILES[self.name]
        try:
            place = str(self.label_path().absolute())
        except InputError:
            place = file.name
        return [*super().published(), DataFile(place, file.digest)]

    def prepare(self) -> Path:
        """Downloads images and label file, where they are not there."""
        folder = super().prepare()
        try:
            self.label_path()
        except InputError:
            if self.labels is not None:
                raise
            root = user_path(self.path, self.name) if self.path else data_root()
            fetch_labels(self.name, root / "cifar-n")
        return folder

    def check(self) -> None:
        """Compares files with what is published and reads the labels."""
        super().check()
        read_labels(self.name, self.label_path())

    def identity(self) -> str:
        """SHA-256 over layout, images and labels."""
        images, labels = super().identity(), checksum(self.label_path())
        return hashlib.sha256(f"{images} {labels}".encode()).hexdigest()

    def _human(self, labels: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        path = self.label_path()
        human = read_labels(self.name, path)
        clean = human.pop(CLEAN)
        if len(clean) != len(labels) or (clean != labels).any():
            first = "" if len(clean) != len(labels) else f", first at {(clean != labels).argmax()}"
            raise InputError(
                f"clean labels differ from those of the images{first}", where=str(path),
                accepted=f"labels in the order of {self.family.name}",
            )  # fmt: skip
        return human

    def licence(self) -> str:
        """That of the images and of the human labels."""
        return f"{super().licence()}; {LICENCE}"


class _Ten(Cifar):
    recipe = "cifar10n"
    torchvision_class = "CIFAR10"
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)
    rule = "asym_pairs"

    @property
    def family(self) -> Family:
        return CIFAR10


class _Hundred(Cifar):
    recipe = "cifar100n"
    torchvision_class = "CIFAR100"
    mean = (0.5074, 0.4867, 0.4411)
    std = (0.2011, 0.1987, 0.2025)
    rule = "asym_super_uniform"

    @property
    def family(self) -> Family:
        return CIFAR100


@register_dataset("cifar10")
class Cifar10(_Ten):
    """60,000 photographs in ten classes (Krizhevsky 2009)."""

    summary = "60,000 photographs of 32 x 32 pixels in 10 classes"


@register_dataset("cifar100")
class Cifar100(_Hundred):
    """60,000 photographs in 100 classes and 20 super-classes (Krizhevsky 2009)."""

    summary = "60,000 photographs of 32 x 32 pixels in 100 classes and 20 super-classes"


@register_dataset("cifar10n")
class Cifar10N(CifarN, _Ten):
    """CIFAR-10 with five sets of human labels (Wei et al. 2022)."""

    summary = "CIFAR-10 with human labels: real:aggregate, worst, random1, random2, random3"


@register_dataset("cifar100n")
class Cifar100N(CifarN, _Hundred):
    """CIFAR-100 with human labels (Wei et al. 2022)."""

    summary = "CIFAR-100 with human labels: real"
