"""Clothing-1M: a million shop images labelled by the words around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from prunebench.datasets.locate import DataFile, require
from prunebench.datasets.source import Outline, register_dataset
from prunebench.datasets.sources.large_images import IMAGES, LargeImages, PixelView, Splits
from prunebench.datasets.sources.listing import Listing, lists_identity, read_keys, read_pairs
from prunebench.errors import InputError
from prunebench.options import Option

CLASSES = (
    "T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker", "Jacket",
    "Downcoat", "Suit", "Shawl", "Dress", "Vest", "Underwear",
)  # fmt: skip
#: Split -> its table of labels.
PARTS = {
    "noisy_train": "noisy_label_kv.txt",
    "clean_val": "clean_label_kv.txt",
    "clean_test": "clean_label_kv.txt",
}
_HEAD = "images/"


def joined(part: str) -> str:
    """List of a split with its labels."""
    return f"{part}.txt"


def keys(part: str) -> str:
    """List of a split without labels."""
    return f"{part}_key_list.txt"


@register_dataset("clothing1m")
class Clothing1M(LargeImages):
    """14 classes; a million noisy images to train, 14,313 clean for reference, 10,526 to test.

    Lists as published (``*_key_list.txt`` with ``noisy_label_kv.txt`` and
    ``clean_label_kv.txt``), or joined (``noisy_train.txt``, ``clean_val.txt``,
    ``clean_test.txt``, lines of path and label), each split by itself. Paths begin with
    ``images/``; where there is no such folder they are taken from the data set's folder.

    All noisy images are trained on, without balancing. Prune4ReL tests on the clean validation
    list; here it is the reference and the clean test list is tested. The short side goes to 256,
    then the central square; crops of 224 and flips of it.

    Source: Xiao et al., "Learning from massive noisy labeled data for image classification",
    CVPR 2015; LiJunnan1992/DivideMix, dataloader_clothing1M.py.
    """

    options: ClassVar[Mapping[str, Option]] = IMAGES
    recipe = "clothing1m"
    summary = "a million noisy images of clothing in 14 classes, clean reference and test"
    places = ("clothing1m", "clothing1M", "Clothing1M")
    wanted = (
        "noisy_train_key_list.txt, noisy_label_kv.txt, clean_val_key_list.txt, "
        "clean_test_key_list.txt, clean_label_kv.txt (or noisy_train.txt, clean_val.txt, "
        "clean_test.txt) and images/"
    )
    terms = "Clothing1M: research only, on request from its authors"

    def default_view(self) -> PixelView:
        """As DivideMix and Prune4ReL."""
        return PixelView(256, 224, "short", "crop_flip")

    def class_names(self, found: Splits) -> tuple[str, ...]:
        """Names in the published order."""
        return CLASSES

    def full_outline(self) -> Outline:
        """Published sizes."""
        crop = self.pixel_view().crop
        return Outline(1_000_000, 10_526, (3, crop, crop), len(CLASSES), 14_313)

    def present(self, folder: Path) -> bool:
        """Whether one of the lists of training images is there."""
        names = (joined("noisy_train"), keys("noisy_train"))
        return any((folder / name).is_file() for name in names)

    def _files(self, root: Path, part: str) -> list[Path]:
        """The joined list, or keys and labels."""
        if (root / joined(part)).is_file():
            return [root / joined(part)]
        return [root / keys(part), root / PARTS[part]]

    def published(self) -> list[DataFile]:
        """The list files of the layout that is there; no checksums are published."""
        try:
            root = self.folder()
        except InputError:
            root = Path()
        paths = [path for part in PARTS for path in self._files(root, part)]
        return [DataFile(path.name) for path in dict.fromkeys(paths)]

    def _lists(self, root: Path) -> list[Listing]:
        lists = []
        for part in PARTS:
            path, *table = self._files(root, part)
            if table:
                found = read_keys(path, table[0], len(CLASSES), self.name)
            else:
                found = read_pairs(path, len(CLASSES), self.name)
            lists.append(self._rooted(root, found))
        return lists

    def _rooted(self, root: Path, listing: Listing) -> Listing:
        if (root / "images").is_dir():
            names = [n if n.startswith(_HEAD) else _HEAD + n for n in listing.names]
        else:
            names = [n.removeprefix(_HEAD) for n in listing.names]
        return replace(listing, names=names)

    def splits(self) -> Splits:
        root = self.folder()
        train, reference, test = self._lists(root)
        return Splits(root, train, test, reference)

    def identity(self) -> str:
        """SHA-256 over the lists and the sizes of a sample of the images."""
        root = self.folder()
        files = [require(p, self.name) for part in PARTS for p in self._files(root, part)]
        return lists_identity(root, files, lambda: self._lists(root), len(CLASSES))
