"""ImageNet-1K in class folders, with synthetic label noise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from prunebench.datasets.images.class_folders import (
    Tree,
    left_out_line,
    match_classes,
    read_tree,
    tree_identity,
)
from prunebench.datasets.source import Outline, register_dataset
from prunebench.datasets.sources.large_images import IMAGES, LargeImages, PixelView, Splits
from prunebench.datasets.sources.listing import Listing
from prunebench.errors import InputError
from prunebench.options import Option

_WNID = re.compile(r"n\d{8}")
_SORTED = "val/<wnid>/<image>, as train"


@register_dataset("imagenet")
class ImageNet(LargeImages):
    """1,281,167 images of 1,000 classes to train, 50,000 to test.

    ``train/<wnid>/`` and ``val/<wnid>/``; classes are the wnids in alphabetical order, as in
    torchvision's ``ImageFolder``. A tree of fewer wnids is a subset, with as many classes. The
    labels are taken for clean; noise is drawn on top (the paper: next class, 0.2).

    The clean reference is held out of the training split before noise counts. With
    ``reference=official_val`` it is the validation split, which is also the test set: results say
    that it leaks.

    The short side goes to 256, then the central square; ``augment=resized_crop`` (default) takes
    random resized crops of 224 of it, ``crop_flip`` is Prune4ReL's crop with padding.

    Source: Russakovsky et al., "ImageNet large scale visual recognition challenge", IJCV 2015.
    """

    options: ClassVar[Mapping[str, Option]] = {
        **IMAGES,
        "reference": Option(
            "train",
            "train: held out of the training split; official_val: the test images, which leaks",
            choices=("train", "official_val"),
        ),
    }
    recipe = "imagenet"
    summary = "1.28 million images of 1,000 classes in folders by wnid"
    places = ("imagenet", "imagenet1k", "ImageNet", "ILSVRC2012")
    wanted = "train/<wnid>/ and val/<wnid>/"
    terms = "ImageNet: non-commercial research and education"
    noisy = False

    reference: str

    def default_view(self) -> PixelView:
        """As the recipes of the architectures."""
        return PixelView(256, 224, "short", "resized_crop")

    def class_names(self, found: Splits) -> tuple[str, ...]:
        """The wnids."""
        return tuple(dict.fromkeys(name.split("/")[1] for name in found.train.names))

    def full_outline(self) -> Outline:
        """Published sizes."""
        crop = self.pixel_view().crop
        extra = 50_000 if self.reference == "official_val" else 0
        return Outline(1_281_167, 50_000, (3, crop, crop), 1000, extra)

    def present(self, folder: Path) -> bool:
        """Whether both splits are there."""
        return (folder / "train").is_dir() and (folder / "val").is_dir()

    def _trees(self) -> tuple[Tree, Tree]:
        root = self.folder()
        if not any(entry.is_dir() for entry in (root / "val").iterdir()):
            raise InputError("no class folders", where=str(root / "val"), accepted=_SORTED)
        train, val = read_tree(root / "train"), read_tree(root / "val")
        for tree in (train, val):
            odd = next((name for name in tree.classes if not _WNID.fullmatch(name)), None)
            if odd is not None:
                raise InputError(
                    f"class folder {odd!r}", where=str(tree.root), accepted="wnids (n01440764)"
                )
        return train, match_classes(train, val)

    def notes(self) -> list[str]:
        """Files that are left out, by split."""
        return [line for tree in self._trees() if (line := left_out_line(tree))]

    def splits(self) -> Splits:
        trees = self._trees()
        train, val = (_listing(tree) for tree in trees)
        leaks = self.reference == "official_val"
        return Splits(trees[0].root.parent, train, val, val if leaks else None, leaks)

    def identity(self) -> str:
        """SHA-256 over paths and sizes and, for small trees, content."""
        return tree_identity(*self._trees())


def _listing(tree: Tree) -> Listing:
    """The images of a tree, relative to the folder above it."""
    names = [f"{tree.root.name}/{name}" for name in tree.names]
    return Listing(tree.root, names, tree.labels, np.zeros(len(names), dtype=np.int64))
