"""Any image data set to packed files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.images.packed_format import write_packed
from prunebench.datasets.images.pixels import (
    Reading,
    is_transparent,
    open_image,
    rgb,
    transposition,
)
from prunebench.datasets.noise.rules import default_asymmetric
from prunebench.datasets.source import RawData
from prunebench.errors import InputError

_AS_THEY_ARE = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
ORIGIN = "origin.txt"


@dataclass(frozen=True)
class Packed:
    """What was written.

    Attributes:
        folder: With ``train.npz``, ``test.npz`` and a note on the origin.
        train: Training images.
        test: Test images.
        size: Bytes of both files.
        notes: What the format could not carry, one line each.
    """

    folder: Path
    train: int
    test: int
    size: int
    notes: tuple[str, ...]


def pack(raw: RawData, name: str, folder: Path) -> Packed:
    """Writes a loaded data set as packed files.

    Resident images are stored lossless as PNG; JPEG and PNG files keep their bytes unless they
    are transparent or to be turned, and then become PNG like other formats, as they are read here.
    Labels, class names, super-classes, mean, standard deviation and human labels are written too;
    reference samples of the set's own and groups of test samples are not.

    Args:
        raw: The data set.
        name: Its name, for the note on the origin.
        folder: New or without packed files.

    Raises:
        InputError: The set holds no images or some of several sizes, or the folder has such files
            already.
    """
    if not raw.images:
        raise InputError(f"{name} holds vectors", where="data pack", accepted="a set of images")
    targets = [folder / "train.npz", folder / "test.npz"]
    for path in targets:
        if path.exists():
            raise InputError("exists already", where=str(path), accepted="a new folder")
    rows = raw.training_rows
    write = partial(
        write_packed,
        class_names=raw.class_names,
        groups=raw.groups or (),
        mean=raw.mean if len(raw.mean) == 3 else raw.mean * 3,
        std=raw.std if len(raw.std) == 3 else raw.std * 3,
    )
    sizes: list[tuple[int, int]] = []
    human = {variant: labels[rows] for variant, labels in raw.human.items()}
    try:
        write(targets[0], _images(raw.train_x, rows, sizes), raw.train_y[rows], human=human)
        every = torch.arange(len(raw.test_y))
        write(targets[1], _images(raw.test_x, every, sizes), raw.test_y)
        (folder / ORIGIN).write_text(
            f"{name}, content {raw.fingerprint}\n{raw.licence or 'licence unknown'}\n",
            encoding="utf-8",
        )
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=str(folder)) from None
    except InputError:
        targets[0].unlink(missing_ok=True)  # half a set would be in the way of the next try
        raise
    size = sum(path.stat().st_size for path in targets)
    return Packed(folder, len(rows), len(raw.test_y), size, tuple(_notes(raw)))


def _notes(raw: RawData) -> Iterator[str]:
    if raw.train_origin is not None:
        yield "sample ids count the packed rows, not those of the original split"
    if raw.reference_rows is not None:
        yield f"{len(raw.reference_rows)} reference samples of its own are left out"
    if raw.test_groups is not None:
        yield "groups of test samples are left out, and with them accuracy by group"
    if raw.asymmetric != default_asymmetric(raw.groups):
        yield f"asymmetric noise as here: --dataset-param asymmetric={raw.asymmetric}"
    if raw.train_x.shape[1] == 1:
        yield "grey images load as three equal channels"


def _images(
    x: Tensor | ImageFiles, rows: Tensor, sizes: list[tuple[int, int]]
) -> Tensor | Iterator[bytes]:
    return x[rows] if isinstance(x, Tensor) else _files(x, rows, sizes)


def _files(x: ImageFiles, rows: Tensor, sizes: list[tuple[int, int]]) -> Iterator[bytes]:
    """The encoded images, all of one size: that in ``sizes``, where the first puts its own."""
    sources = rows.numpy() if x.rows is None else x.rows[rows.numpy()]
    for source in sources.tolist():
        data, name = x.encoded.data(source), x.encoded.name(source)
        data, size = _packable(data, name, x.reading)
        if not sizes:
            sizes.append(size)
        first = sizes[0]
        if size != first:
            raise InputError(
                f"{size[1]}x{size[0]} pixels", where=name,
                accepted=f"{first[1]}x{first[0]}, as the first; packed files hold one size: "
                "stream=no with size=N brings images to one",
            )  # fmt: skip
        yield data


def _packable(data: bytes, name: str, reading: Reading) -> tuple[bytes, tuple[int, int]]:
    """An image as it is stored, with width and height: its own bytes where a reader of packed
    files sees the same pixels in them, else a PNG file of what is seen here."""
    image = open_image(data, name)
    plain = not is_transparent(image) and transposition(image) is None
    if plain and data.startswith(_AS_THEY_ARE):
        return data, image.size
    pixels, out = rgb(data, name, reading), io.BytesIO()
    pixels.save(out, "PNG")
    return out.getvalue(), pixels.size


def summary(packed: Packed) -> Mapping[str, object]:
    """The result as plain values."""
    return {
        "folder": str(packed.folder), "train": packed.train, "test": packed.test,
        "bytes": packed.size, "notes": list(packed.notes),
    }  # fmt: skip
