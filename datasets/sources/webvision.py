"""WebVision 1.0 mini: web images with the labels of the queries that found them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from prunebench.datasets.locate import DataFile, require
from prunebench.datasets.source import Outline, register_dataset
from prunebench.datasets.sources.large_images import (
    IMAGES,
    LargeImages,
    PixelView,
    Splits,
    half_of_each_class,
)
from prunebench.datasets.sources.listing import Listing, lists_identity, read_pairs
from prunebench.errors import InputError
from prunebench.options import Option

TRAIN, VAL = "info/train_filelist_google.txt", "info/val_filelist.txt"
_VAL_FOLDERS = ("val_images", "val_images_256")
#: Classes of WebVision 1.0, and training and validation images of its first 50.
_ALL, _MINI, _TRAIN, _EACH = 1000, 50, 65_944, 50
_VIEWS = {
    "224": PixelView(256, 224, "exact", "crop_flip"),
    "299": PixelView(320, 299, "short", "resized_crop"),
}


@register_dataset("webvision")
class WebVision(LargeImages):
    """The Google part of the first 50 classes: 65,944 images to train, 2,500 clean ones.

    The validation split is the usual test set. By default half of each of its classes is the
    clean reference and the other half the test set, so that no test image selects training
    samples; ``reference=official_val`` takes all of it as both, and results say that it leaks.

    ``view=224`` follows Prune4ReL (256 x 256, crop of 224 with padding, flip; central 224 in
    evaluation), as the AlignPrune paper does; ``view=299`` follows DivideMix (short side to 320
    and its central square, random resized crop of 299, flip; central 299).

    Source: Li et al., "WebVision database: visual learning and understanding from web data",
    arXiv:1708.02862; kaist-dmlab/Prune4Rel, deepcore/datasets/webvision.py.
    """

    options: ClassVar[Mapping[str, Option]] = {
        **IMAGES,
        "classes": Option(_MINI, "the first so many of the 1,000 classes", 2, _ALL),
        "view": Option("224", "224: Prune4ReL's pixels; 299: DivideMix's", choices=tuple(_VIEWS)),
        "reference": Option(
            "half_val",
            "half_val: half of each validation class, the rest is tested; official_val: the test "
            "images themselves, which leaks",
            choices=("half_val", "official_val"),
        ),
    }
    recipe = "webvision"
    summary = "65,944 web images of 50 classes, noisy as found; reference and test from validation"
    places = ("webvision", "WebVision")
    wanted = f"{TRAIN}, {VAL}, google/... and {_VAL_FOLDERS[0]}/ or {_VAL_FOLDERS[1]}/"
    terms = "WebVision 1.0: research only; images under the terms of their owners"

    classes: int
    view: str
    reference: str

    def default_view(self) -> PixelView:
        """By the option ``view``."""
        return _VIEWS[self.view]

    def class_names(self, found: Splits) -> tuple[str, ...]:
        """Numbers: the lists hold no names."""
        return tuple(f"class {c}" for c in range(self.classes))

    def full_outline(self) -> Outline | None:
        """Published sizes of the first 50 classes."""
        if self.classes != _MINI:
            return None
        leaks = self.reference == "official_val"
        half = _MINI * _EACH // 2
        crop = self.pixel_view().crop
        reference, test = (2 * half, 2 * half) if leaks else (half, half)
        return Outline(_TRAIN, test, (3, crop, crop), _MINI, reference)

    def present(self, folder: Path) -> bool:
        """Whether the list of training images is there."""
        return (folder / TRAIN).is_file()

    def published(self) -> list[DataFile]:
        """The list files; no checksums are published."""
        return [DataFile(TRAIN), DataFile(VAL)]

    def _lists(self, root: Path) -> tuple[Listing, Listing]:
        """Training and validation images."""
        train, val = (
            read_pairs(root / name, _ALL, self.name, kept=self.classes) for name in (TRAIN, VAL)
        )
        for name in _VAL_FOLDERS:
            if (root / name).is_dir():
                return train, val.below(name)
        raise InputError(
            f"no folder {root / _VAL_FOLDERS[0]}", where=f"dataset {self.name}",
            accepted=f"the validation images in {' or '.join(_VAL_FOLDERS)}",
        )  # fmt: skip

    def splits(self) -> Splits:
        root = self.folder()
        train, val = self._lists(root)
        if self.reference == "official_val":
            return Splits(root, train, val, val, leaks=True)
        chosen = half_of_each_class(val.labels)
        reference, test = (val.take(np.flatnonzero(part)) for part in (chosen, ~chosen))
        if not len(test):
            raise InputError("one image a class", where=str(root / VAL), accepted="two or more")
        return Splits(root, train, test, reference)

    def identity(self) -> str:
        """SHA-256 over both lists and the sizes of a sample of the images."""
        root = self.folder()
        files = [require(root / name, self.name) for name in (TRAIN, VAL)]
        return lists_identity(root, files, lambda: self._lists(root), self.classes)
