"""Arrays of one's own in one ``.npz`` file: images or vectors with their labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.cache import digest_once
from prunebench.datasets.digests import array_digest, channel_stats, own_identity
from prunebench.datasets.groups import SampleGroups, sample_groups
from prunebench.datasets.images.packed_format import human_labels, text_or_numbers
from prunebench.datasets.locate import LIMITS, limited_rows
from prunebench.datasets.noise.rules import RULES, default_asymmetric
from prunebench.datasets.source import DataSource, Origin, RawData, register_dataset
from prunebench.datasets.sources.label_checks import Labels, count_classes
from prunebench.errors import InputError
from prunebench.options import Option, Value
from prunebench.untrusted import read_npz, user_path

Array = NDArray[Any]

_NEEDED = ("X", "y", "X_test", "y_test")
_FURTHER = ("class_names", "groups", "human", "human_names", "X_reference", "y_reference",
            "clean_known", "test_group")  # fmt: skip
_WANTED = f"arrays:FILE.npz with {', '.join(_NEEDED)}"
_ACCEPTED = (
    "uint8 images [N, H, W], [N, 1 or 3, H, W] or [N, H, W, 1 or 3], or float vectors [N, D]"
)
_LAYOUTS = ("auto", "channels-first", "channels-last")


def samples(x: Array, layout: str, where: str) -> Tensor:
    """Images or vectors as the trainer stores them.

    Args:
        x: uint8 [N, H, W], [N, channels, H, W] or [N, H, W, channels], or floats [N, D].
        layout: Where the channels of images are: ``channels-first``, ``channels-last`` or ``auto``.
        where: File and array, for messages.

    Returns:
        uint8 [N, channels, H, W] or float32 [N, D].

    Raises:
        InputError: It is something else, holds no sample, a number that is not finite or beyond
            float32, or the channels could be in two places.
    """
    if not len(x) if x.ndim else True:
        raise InputError("no samples", where=where, accepted="at least one")
    if x.ndim == 2 and x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            vectors = np.ascontiguousarray(x, dtype=np.float32)
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            raise InputError(
                f"sample {bad[0]} holds a number that is not finite", where=where,
                accepted="finite float32 numbers",
            )  # fmt: skip
        return torch.from_numpy(vectors)
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or 0 in x.shape:
        raise InputError(f"{x.dtype} of shape {x.shape}", where=where, accepted=_ACCEPTED)
    if x.ndim == 3:
        return torch.from_numpy(np.ascontiguousarray(x[:, None]))
    first, last = (x.shape[axis] in (1, 3) for axis in (1, 3))
    if layout == "auto" and first and last:
        raise InputError(
            f"channels could be at either end of {x.shape}", where=where,
            accepted="the option layout=channels-first or layout=channels-last",
        )  # fmt: skip
    is_last = layout == "channels-last" or (layout == "auto" and last)
    if not (last if is_last else first):
        raise InputError(f"{x.dtype} of shape {x.shape}", where=where, accepted=_ACCEPTED)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2) if is_last else x))


def class_ids(y: Array, count: int, where: str) -> NDArray[np.int64]:
    """Labels as int64 [N].

    Args:
        y: Integers [N].
        count: N.
        where: File and array, for messages.

    Raises:
        InputError: No whole numbers of one dimension, another count, or a negative one.
    """
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise InputError(
            f"{y.dtype} of shape {y.shape}", where=where, accepted="whole numbers, one dimension"
        )
    if len(y) != count:
        raise InputError(f"{len(y)} labels", where=where, accepted=f"{count}, one for each sample")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high > np.iinfo(np.int64).max:
        row = int((y.argmin if low < 0 else y.argmax)())
        raise InputError(f"{y[row]} at sample {row}", where=where, accepted="0 to C-1")
    return y.astype(np.int64)


def read_arrays(path: str) -> tuple[Path, dict[str, Array]]:
    """The file and its arrays.

    Raises:
        InputError: No such file, no readable archive, or an array is missing.
    """
    file = find_file(path)
    found = read_npz(file, (*_NEEDED, *_FURTHER))
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise InputError(f"lacks the array {missing[0]!r}", where=str(file), accepted=_WANTED)
    return file, found


def find_file(path: str) -> Path:
    """The file.

    Raises:
        InputError: There is none.
    """
    if not path:
        raise InputError("no file", where="arrays", accepted=_WANTED)
    file = user_path(path, "arrays")
    if not file.is_file():
        raise InputError(f"no such file: {file}", where=f"arrays:{path}", accepted=_WANTED)
    return file


def _clean_known(arrays: Mapping[str, Array], file: Path) -> bool:
    value = arrays.get("clean_known", np.array(True))
    if value.shape != () or value.dtype != np.bool_:
        raise InputError(
            f"{value.dtype} of shape {value.shape}", where=f"{file}: clean_known",
            accepted="one truth value",
        )  # fmt: skip
    return bool(value)


def _test_groups(arrays: Mapping[str, Array], size: int, file: Path) -> SampleGroups | None:
    given = arrays.get("test_group")
    return None if given is None else sample_groups(given, size, f"{file}: test_group")


def _group_names(arrays: Mapping[str, Array], size: int, file: Path) -> list[list[str]]:
    """The group of each test sample in a list of its own; no list where there are none, so that
    files without groups keep their identity."""
    found = _test_groups(arrays, size, file)
    return [] if found is None else [found.of_samples]


@lru_cache(maxsize=64)
def _title(file: Path, changed: int) -> str:
    given = read_npz(file, ("name",)).get("name")
    text = given is not None and given.shape == () and given.dtype.kind == "U"
    return str(given) if text else file.stem


@register_dataset("arrays")
class Arrays(DataSource):
    """uint8 images or float vectors with labels, as numpy saves them."""

    options = {
        "path": Option("", ".npz file with X, y, X_test and y_test"),
        "layout": Option("auto", "where the channels of images are", choices=_LAYOUTS),
        **LIMITS,
        "asymmetric": Option(
            None, "rule that asymmetric noise means", choices=tuple(RULES), optional=True
        ),
        "augment": Option(
            "auto",
            "auto: crop_flip for images from 16 pixels on",
            choices=("auto", "none", "crop_flip"),
        ),
    }
    argument = "path"
    recipe = "packed"
    summary = "your own arrays, images or vectors, in one file: arrays:FILE.npz"
    terms = "as the origin of the file says"

    path: str
    layout: str
    limit: int | None
    test_limit: int | None
    asymmetric: str | None
    augment: str

    def default_recipe(self) -> str:
        """``packed`` for images, ``vectors`` for vectors."""
        _, arrays = read_arrays(self.path)
        return "vectors" if arrays["X"].ndim == 2 else self.recipe

    def check(self) -> None:
        """Reads the file and checks all of it."""
        self.load()

    def title(self) -> str:
        """The array ``name`` that ``prunebench.task`` writes, else the file's name."""
        file = find_file(self.path)
        return _title(file, file.stat().st_mtime_ns)

    def asymmetric_rule(self) -> str:
        """The option, else what the file's super-classes suggest."""
        if self.asymmetric:
            return self.asymmetric
        file, arrays = read_arrays(self.path)
        return default_asymmetric(text_or_numbers(arrays, "groups", "iu", file) or None)

    def folder(self) -> Path:
        """The folder with the file."""
        return find_file(self.path).parent

    def variants(self) -> tuple[str, ...]:
        """Names of the human labels; the empty one where the clean labels are not known."""
        file, arrays = read_arrays(self.path)
        own = () if _clean_known(arrays, file) else ("",)
        return (*own, *human_labels(arrays, len(arrays["X"]), file))

    def identity(self) -> str:
        """``own_identity`` of all samples and labels; read again only when the file changed."""
        return digest_once([find_file(self.path)], f"arrays {self.layout}", self._identity)

    def _identity(self) -> str:
        file, arrays = read_arrays(self.path)
        splits = self._splits(arrays, file)
        return own_identity(
            {name or "_train": (array_digest(x), y) for name, (x, y) in splits.items()},
            human_labels(arrays, len(splits[""][1]), file),
            [text_or_numbers(arrays, "class_names", "U", file),
             text_or_numbers(arrays, "groups", "iu", file), _clean_known(arrays, file),
             *_group_names(arrays, len(splits["_test"][1]), file)],
        )  # fmt: skip

    def load(self) -> RawData:
        file, arrays = read_arrays(self.path)
        return self.raw(arrays, file, self.identity())

    def raw(self, arrays: Mapping[str, Array], file: Path, identity: str) -> RawData:
        """The data set of some arrays under these options.

        Args:
            arrays: By the names of the file.
            file: The file, for messages.
            identity: Of its content.

        Raises:
            InputError: They do not fit together; the line names the array.
        """
        splits = self._splits(arrays, file)
        (train_x, y), (test_x, y_test) = splits[""], splits["_test"]
        for name, (x, _) in splits.items():
            if (x.dtype, x.shape[1:]) != (train_x.dtype, train_x.shape[1:]):
                raise InputError(
                    f"samples of shape {tuple(x.shape[1:])}", where=f"{file}: X{name}",
                    accepted=f"{tuple(train_x.shape[1:])}, as in X",
                )  # fmt: skip
        groups = text_or_numbers(arrays, "groups", "iu", file)
        human = human_labels(arrays, len(y), file)
        names = text_or_numbers(arrays, "class_names", "U", file)
        train = Labels(y, f"{file}: y", str(file), "sample", names, groups, human)
        for name in splits.keys() - {""}:
            labels = Labels(splits[name][1], f"{file}: y{name}", str(file), "sample")
            classes = count_classes(train, labels)
        test_groups = _test_groups(arrays, len(y_test), file)
        rows, test_rows = (
            limited_rows(len(labels), limit)
            for labels, limit in ((y, self.limit), (y_test, self.test_limit))
        )
        origin = Origin.of(rows, len(y), self.limit)
        reference = None
        if "_reference" in splits:
            extra_x, extra_y = splits["_reference"]
            reference = torch.arange(len(rows), len(rows) + len(extra_y))
            behind = np.arange(len(y), len(y) + len(extra_y))
            rows = np.concatenate([rows, behind])
            if origin is not None:
                origin = Origin(torch.from_numpy(rows), len(y))
            train_x, y = torch.cat([train_x, extra_x]), np.concatenate([y, extra_y])
            # A reference sample has one label.
            human = {name: np.concatenate([own, extra_y]) for name, own in human.items()}
        train_x, test_x = (
            x if len(part) == len(x) else x[torch.from_numpy(part)]
            for x, part in ((train_x, rows), (test_x, test_rows))
        )
        clean_known = _clean_known(arrays, file)
        if not clean_known:
            human = {"": y, **human}
        images = train_x.dtype == torch.uint8
        mean, std = channel_stats(train_x) if images else ((), ())
        large = images and min(train_x.shape[2:]) >= 16
        augment = ("crop_flip" if large else "none") if self.augment == "auto" else self.augment
        content = f"{identity} {self.limit} {self.test_limit} {self.layout}"
        return RawData(
            train_x=train_x,
            train_y=torch.from_numpy(y[rows]),
            test_x=test_x,
            test_y=torch.from_numpy(y_test[test_rows]),
            num_classes=classes,
            class_names=tuple(names) or tuple(f"class {c}" for c in range(classes)),
            fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
            groups=tuple(groups) or None,
            test_groups=test_groups and test_groups.rows(torch.from_numpy(test_rows)),
            asymmetric=self.asymmetric or default_asymmetric(groups or None),
            mean=mean,
            std=std,
            augment=augment if images else "none",
            human={name: torch.from_numpy(labels[rows]) for name, labels in human.items()},
            reference_rows=reference,
            train_origin=origin,
            test_origin=Origin.of(test_rows, len(y_test), self.test_limit),
            clean_known=clean_known,
            licence=self.terms,
        )

    def _splits(
        self, arrays: Mapping[str, Array], file: Path
    ) -> dict[str, tuple[Tensor, NDArray[np.int64]]]:
        """Samples and labels by the ending of their arrays' names."""
        return {
            name: self._split(arrays, name, file)
            for name in ("", "_test", "_reference")
            if f"X{name}" in arrays or f"y{name}" in arrays
        }

    def _split(
        self, arrays: Mapping[str, Array], name: str, file: Path
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """Samples and labels of the arrays whose names end so."""
        for key in (f"X{name}", f"y{name}"):
            if key not in arrays:
                raise InputError(f"lacks the array {key!r}", where=str(file))
        x = samples(arrays[f"X{name}"], self.layout, f"{file}: X{name}")
        return x, class_ids(arrays[f"y{name}"], len(x), f"{file}: y{name}")

    def portable(self) -> dict[str, Value]:
        """Options that enter the key: not the path."""
        return {name: value for name, value in self.params.items() if name != "path"}
