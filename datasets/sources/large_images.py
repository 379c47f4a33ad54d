"""What WebVision, Clothing-1M and ImageNet share: large image sets, references of their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from prunebench.datasets.images.lazy import ImageFiles, PathList, decode_unless_streamed
from prunebench.datasets.images.pixels import Reading, Resize, default_workers, reading_options
from prunebench.datasets.locate import LIMITS, data_root, limited_rows
from prunebench.datasets.source import DataSource, Origin, Outline, RawData
from prunebench.datasets.sources.listing import Listing, check_images
from prunebench.errors import InputError
from prunebench.options import Option, Value
from prunebench.record import content_key
from prunebench.untrusted import user_path

#: Of ImageNet's pixels in [0, 1].
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

IMAGES: Mapping[str, Option] = {
    "path": Option(None, "folder of the data set; none: below $PRUNEBENCH_DATA",
                   kind=str, optional=True),
    "size": Option(None, "height and width that images are brought to; none: as published", 4,
                   4096, kind=int, optional=True),
    "crop": Option(None, "side of what the network sees; none: as published", 4,
                   kind=int, optional=True),
    "resize": Option("auto", "exact: to size x size; short: the short side to size, then the "
                     "centre; auto: as published", choices=("auto", "exact", "short")),
    "augment": Option("auto", "training view; auto: as published",
                      choices=("auto", "none", "crop_flip", "resized_crop")),
    "stream": Option("auto", "auto: resident up to 2 GiB of pixels", choices=("auto", "yes", "no")),
    **LIMITS,
    "workers": Option(None, "decoding processes; none: all CPUs, 0: none", 0, kind=int,
                      optional=True),
    "look": Option("sample", "which files are looked for before training",
                   choices=("sample", "all")),
    **reading_options(upright="no"),  # published results turn none
}  # fmt: skip
#: Options that change neither pixels nor labels, or whose outcome is in the key.
_LOCAL = ("path", "stream", "workers", "look", "view")


class PixelView(NamedTuple):
    """How images are stored and shown to the network."""

    size: int
    crop: int
    resize: Resize
    augment: str


@dataclass(frozen=True, eq=False)
class Splits:
    """What a data set's files say, paths relative to ``root``.

    Attributes:
        reference: Clean images that are no training images; None where the reference comes out
            of the training split.
        leaks: The reference is the test split.
    """

    root: Path
    train: Listing
    test: Listing
    reference: Listing | None = None
    leaks: bool = False


def half_of_each_class(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool [N]: half of each class, the larger where it is odd, by one fixed shuffle."""
    rng = np.random.Generator(np.random.PCG64(20240607))
    chosen = np.zeros(len(labels), dtype=bool)
    for c in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == c))
        chosen[rows[: (len(rows) + 1) // 2]] = True
    return chosen


class LargeImages(DataSource):
    """Images in files, streamed unless few; labels of the training split as they are given."""

    options: ClassVar[Mapping[str, Option]] = IMAGES
    argument = "path"
    argument_optional = True

    #: Folders below the data root, and what to put there by hand.
    places: ClassVar[tuple[str, ...]] = ()
    wanted: ClassVar[str] = ""
    #: Whether the given training labels are themselves noisy.
    noisy: ClassVar[bool] = True

    path: str | None
    size: int | None
    crop: int | None
    resize: str
    augment: str
    stream: str
    limit: int | None
    test_limit: int | None
    workers: int | None
    look: str
    ground: str
    upright: str

    @abstractmethod
    def splits(self) -> Splits:
        """Reads lists or folders.

        Raises:
            InputError: Something is missing, damaged or does not fit together.
        """

    @abstractmethod
    def present(self, folder: Path) -> bool:
        """Whether a folder holds the data set."""

    @abstractmethod
    def full_outline(self) -> Outline | None:
        """Sizes of the published set under the options, before limits; None where unknown."""

    @abstractmethod
    def default_view(self) -> PixelView:
        """Sizes and transforms as published."""

    def pixel_view(self) -> PixelView:
        """The published sizes and transforms, with the options in their place."""
        base = self.default_view()
        return PixelView(
            self.size or base.size,
            self.crop or base.crop,
            base.resize if self.resize == "auto" else cast(Resize, self.resize),
            base.augment if self.augment == "auto" else self.augment,
        )

    def folder(self) -> Path:
        """The data set's folder."""
        root = user_path(self.path, self.name) if self.path is not None else data_root()
        for sub in ("", *self.places):
            if self.present(root / sub):
                return root / sub
        raise InputError(
            f"not found below {root}", where=f"dataset {self.name}",
            accepted=f"{self.name}:FOLDER with {self.wanted}",
        )  # fmt: skip

    def prepare(self) -> Path:
        """The folder: these files have to be asked for and put in place by hand."""
        try:
            return self.folder()
        except InputError as error:
            raise InputError(
                f"no library fetches this set; {error.what}", where=error.where,
                accepted=error.accepted,
            ) from None  # fmt: skip

    def check(self) -> None:
        """Reads the lists and looks for a sample of the files, or for all; opens no image."""
        view = self.pixel_view()
        if view.crop > view.size:
            raise InputError(
                f"{view.crop}", where=f"{self.name}.crop", accepted=f"at most {view.size}, the size"
            )
        found = self.splits()
        for part in (found.train, found.test, found.reference):
            if part is not None:
                check_images(found.root, part, self.look == "all")
        self._check_labels(found)

    def _check_labels(self, found: Splits) -> None:
        count = len(self.class_names(found))
        missing = np.setdiff1d(np.arange(count), found.train.labels)
        if len(missing):
            raise InputError(
                f"class {missing[0]} has no training image",
                where=str(found.train.source), accepted=f"images of all {count} classes",
            )  # fmt: skip
        if found.reference is not None and not found.leaks:
            both = set(found.reference.names) & set(found.test.names)
            if both:
                raise InputError(
                    f"{min(both)!r} is also a test image", where=str(found.reference.source)
                )

    @abstractmethod
    def class_names(self, found: Splits) -> tuple[str, ...]:
        """C names."""

    def outline(self) -> Outline | None:
        """Sizes of the published set, or fewer by option."""
        full = self.full_outline()
        return None if full is None else full.limited(self.limit, self.test_limit)

    def variants(self) -> tuple[str, ...]:
        """The given labels are real noise where they are not clean."""
        return ("",) if self.noisy else ()

    def portable(self) -> dict[str, Value]:
        """Options that enter the key: what changes pixels or labels, the defaults resolved."""
        kept = {k: v for k, v in self.params.items() if k not in _LOCAL}
        for name in ("ground", "upright"):  # earlier versions have no such option
            if kept[name] == self.options[name].default:
                del kept[name]
        return {**kept, **self.pixel_view()._asdict()}

    def load(self) -> RawData:
        found, view = self.splits(), self.pixel_view()
        train_rows = limited_rows(len(found.train), self.limit)
        test_rows = limited_rows(len(found.test), self.test_limit)
        train, test = found.train.take(train_rows), found.test.take(test_rows)
        extra = test if found.leaks else found.reference
        parts = [train] if extra is None else [train, extra]
        origin = Origin.of(train_rows, len(found.train), self.limit)
        if extra is not None and (origin or (found.leaks and self.test_limit is not None)):
            behind = test_rows if found.leaks else np.arange(len(extra))
            ids = np.concatenate([train_rows, len(found.train) + behind])
            origin = Origin(torch.from_numpy(ids), len(found.train))
        labels = torch.from_numpy(np.concatenate([part.labels for part in parts]))
        names = [name for part in parts for name in part.names]
        reading = Reading.from_options(self.ground, self.upright)
        files = [
            ImageFiles(PathList(found.root, n), view.size, view.resize, None, self.workers, reading)
            for n in (names, test.names)
        ]
        class_names = self.class_names(found)
        train_x, test_x = decode_unless_streamed(
            files, self.stream, self.workers or default_workers()
        )
        return RawData(
            train_x=train_x,
            train_y=labels,
            test_x=test_x,
            test_y=torch.from_numpy(test.labels),
            num_classes=len(class_names),
            class_names=class_names,
            fingerprint=content_key({"files": self.identity(), "options": self.portable()}),
            asymmetric=self.asymmetric_rule(),
            mean=MEAN,
            std=STD,
            augment=view.augment,
            crop=view.crop,
            human={"": labels} if self.noisy else {},
            reference_rows=None if extra is None else torch.arange(len(train), len(names)),
            train_origin=origin,
            test_origin=Origin.of(test_rows, len(found.test), self.test_limit),
            leaks=found.leaks,
            clean_known=not self.noisy,
            licence=self.terms,
        )
