"""CIFAR-10 and CIFAR-100 as files: the python, the binary and the packed layout."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.images.packed_format import decode_images, read_pack
from prunebench.datasets.images.pixels import default_workers
from prunebench.datasets.locate import (
    ROOT_VARIABLE,
    data_root,
    files_identity,
    limited_rows,
    require,
)
from prunebench.datasets.restricted_pickle import read_published
from prunebench.datasets.sources.cifar.tables import LAYOUTS, PACKED, Family
from prunebench.errors import InputError
from prunebench.untrusted import user_path

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Images:
    """Where the images lie: layout and folder."""

    layout: str
    folder: Path


def find_images(family: Family, path: str | None, layout: str, where: str) -> Images:
    """Looks for the images; ``auto`` takes the first layout that is there, originals first.

    Raises:
        InputError: None of them is there.
    """
    choices = LAYOUTS if layout == "auto" else (layout,)
    root = user_path(path, where) if path is not None else data_root()
    for choice in choices:
        first, own = family.files(choice)[0], family.folders[choice]
        for place in (own, f"{family.name}/{own}", family.name, ""):
            if (root / place / first).is_file():
                return Images(choice, root / place)
    wanted = [f"{family.folders[choice]}/{family.files(choice)[0]}" for choice in choices]
    raise InputError(
        f"{' or '.join(wanted)} not found below {root}",
        where=f"dataset {where}",
        accepted=f"{where}:FOLDER or {ROOT_VARIABLE}=FOLDER that holds one of them; "
        f"`prunebench data prepare {where}` downloads",
    )


def check_images(family: Family, found: Images, where: str) -> list[Path]:
    """The files, training first, after their published checksum or size was compared.

    Raises:
        InputError: One is missing or is not the published one.
    """
    if found.layout == "python":
        return [require(found.folder / f.path, where, f.digest) for f in family.python]
    paths = [require(found.folder / name, where) for name in family.files(found.layout)]
    if found.layout == "binary":
        record = PIXELS + 1 + bool(family.coarse)
        for path, (_, images) in zip(paths, family.binary, strict=True):
            if path.stat().st_size != images * record:
                raise InputError(
                    f"{path.stat().st_size} bytes",
                    where=str(path),
                    accepted=f"{images * record}, {images} images of {record} bytes",
                )
    return paths


def images_identity(family: Family, found: Images, where: str) -> str:
    """SHA-256 over layout and files. The layouts never share one: a packed set may be a lossy
    copy, and what is not the same bytes is not taken for the same pixels."""
    digest = files_identity(check_images(family, found, where))
    return hashlib.sha256(f"{found.layout} {digest}".encode()).hexdigest()


def check_order(family: Family, found: Images) -> None:
    """Compares labels with the published ones, without decoding images; where checksums of the
    files are published there is no need.

    Raises:
        InputError: The labels are not those of the published set in the published order.
    """
    if found.layout == "python":
        return
    paths = [found.folder / name for name in family.files(found.layout)]
    for train, part in ((True, paths[:-1]), (False, paths[-1:])):
        if found.layout == "packed":
            labels = read_pack(part[0]).label
        else:
            labels = np.concatenate([_read_binary(family, path)[1] for path in part])
        _check_labels(family, part, labels, train)


def read_split(
    family: Family, found: Images, train: bool, limit: int | None, where: str
) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """Images and labels of one split.

    Args:
        family: Which set.
        found: Its files.
        train: Training or test split.
        limit: At most this many images (``files.limited_rows``).
        where: Data set, for messages.

    Returns:
        uint8 [n, 3, 32, 32], int64 [n], and the labels of the whole split, int64 [N].

    Raises:
        InputError: A file is damaged, or its labels are not those of the published set in the
            published order.
    """
    paths = check_images(family, found, where)
    paths = paths[:-1] if train else paths[-1:]
    if found.layout == "packed":
        pack = read_pack(paths[0])
        labels = pack.label
        _check_labels(family, paths, labels, train)
        rows = limited_rows(len(labels), limit)
        images = decode_images(pack, rows, default_workers())
        if images.shape[1:] != (3, 32, 32):
            raise InputError(
                f"images of {tuple(images.shape[2:])} pixels",
                where=str(paths[0]),
                accepted="32 x 32",
            )
        return images, torch.from_numpy(labels[rows]), labels
    if found.layout == "python":
        digests = {file.path: file.digest for file in family.python}
        parts = [_read_python(family, path, digests[path.name]) for path in paths]
    else:
        parts = [_read_binary(family, path) for path in paths]
    labels = np.concatenate([y for _, y in parts])
    _check_labels(family, paths, labels, train)
    rows = limited_rows(len(labels), limit)
    pixels = np.concatenate([x for x, _ in parts])[rows].reshape(-1, 3, 32, 32)
    return torch.from_numpy(pixels), torch.from_numpy(labels[rows]), labels


def is_lossy(found: Images) -> bool:
    """Whether the images are JPEG, which the published ones are not."""
    if found.layout != "packed":
        return False
    return read_pack(found.folder / PACKED[0]).jpeg[:3].tobytes() == b"\xff\xd8\xff"


def _read_python(
    family: Family, path: Path, digest: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content: Any = read_published(path, digest)
    content = content if isinstance(content, dict) else {}
    pixels, labels = content.get("data"), content.get(family.label_key)
    shape = (len(labels), PIXELS) if isinstance(labels, list) else None
    good = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape == shape
    if not good or not isinstance(pixels, np.ndarray):
        raise InputError(
            f"no images with {family.label_key}", where=str(path),
            accepted=f"data uint8 [n, {PIXELS}] and {family.label_key} of n integers",
        )  # fmt: skip
    if family.coarse:
        _check_coarse(family, path, labels, content.get("coarse_labels"))
    return pixels, _integers(path, labels)


def _read_binary(family: Family, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    head = 1 + bool(family.coarse)
    records = np.memmap(path, np.uint8, "r").reshape(-1, head + PIXELS)
    labels = records[:, head - 1].astype(np.int64)
    if family.coarse:
        _check_coarse(family, path, labels.tolist(), records[:, 0].tolist())
    return records[:, head:], labels


def _integers(path: Path, labels: Any) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise InputError("labels are no integers", where=str(path))
    return array.astype(np.int64)


def _check_coarse(family: Family, path: Path, fine: Any, coarse: Any) -> None:
    ids = _integers(path, fine)
    inside = ((ids >= 0) & (ids < len(family.class_names))).all()
    if not inside or np.asarray(family.coarse)[ids].tolist() != coarse:
        raise InputError(
            "coarse labels do not belong to the fine ones", where=str(path),
            accepted=f"the published files of {family.name}",
        )  # fmt: skip


def _check_labels(
    family: Family, paths: list[Path], labels: NDArray[np.int64], train: bool
) -> None:
    classes = len(family.class_names)
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    where = ", ".join(str(path) for path in paths)
    if len(bad):
        raise InputError(
            f"label {labels[bad[0]]} at image {bad[0]}", where=where, accepted=f"0 to {classes - 1}"
        )
    measured = hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()
    if train and measured != family.train_labels:
        raise InputError(
            f"{len(labels)} training labels, not those of {family.name} in the published order",
            where=where, accepted=f"{family.name}; other images: packed:FOLDER",
        )  # fmt: skip
