"""Images that stay encoded until they are read: a lazy stand-in for a resident uint8 array.

Pixels are those of torchvision's ``Resize`` and ``CenterCrop`` on a PIL image, bit for bit.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.packfile import Pack
from prunebench.errors import InputError

Resize = Literal["exact", "short"]
Rows = Tensor | NDArray[np.int64] | Sequence[int]

#: File name endings that count as images (any case) and the formats that are read.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
_CHUNK = 64
_WIDE = ("I", "F")  # modes of more than 8 bits, with their variants such as I;16


class Encoded(Protocol):
    """Encoded images by number."""

    def __len__(self) -> int: ...

    def data(self, index: int) -> bytes:
        """The file's bytes.

        Raises:
            InputError: It cannot be read.
        """

    def name(self, index: int) -> str:
        """What to call it in messages."""


class PathList:
    """Image files below a folder. The names lie in one block of bytes, which forked workers
    share; a list of a million strings would be copied page by page as it is touched.

    Args:
        root: The folder.
        names: Paths relative to it.
    """

    def __init__(self, root: str | Path, names: Sequence[str]) -> None:
        self.root = str(root)
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        sizes = np.array([len(name) for name in encoded], dtype=np.int64)
        self._block = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._offset = np.concatenate([[0], sizes.cumsum()]).astype(np.int64)

    def __len__(self) -> int:
        return len(self._offset) - 1

    def name(self, index: int) -> str:
        begin, end = self._offset[index], self._offset[index + 1]
        relative = self._block[begin:end].tobytes().decode("utf-8", "surrogateescape")
        return f"{self.root}/{relative}"

    def data(self, index: int) -> bytes:
        path = self.name(index)
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", where=path) from None


class PackedImages:
    """The images of a packed file."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack

    def __len__(self) -> int:
        return len(self.pack)

    def name(self, index: int) -> str:
        return f"{self.pack.path}: image {index}"

    def data(self, index: int) -> bytes:
        begin, end = self.pack.offset[index], self.pack.offset[index + 1]
        return self.pack.jpeg[begin:end].tobytes()


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """N images of ``size`` x ``size`` pixels that are decoded when they are read.

    Attributes:
        encoded: ``PathList``, ``PackedImages``, or anything alike.
        size: Height and width S that ``read`` gives.
        resize: ``exact``: to S x S, whatever the proportions; ``short``: the short side to S,
            then the central S x S.
        rows: int64 [N], which of the encoded images, in order; None for all.
        workers: Processes that decode for training; None for one per CPU, 0 for none.
    """

    encoded: Encoded
    size: int
    resize: Resize = "exact"
    rows: NDArray[np.int64] | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize):
            raise InputError(f"{self.resize!r}", where="resize", accepted="exact, short")
        if self.size < 1:
            raise InputError(f"{self.size}", where="size", accepted="1 or more pixels")

    def __len__(self) -> int:
        return len(self.encoded) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> torch.Size:
        """(N, 3, S, S)."""
        return torch.Size((len(self), 3, self.size, self.size))

    @property
    def dtype(self) -> torch.dtype:
        """uint8."""
        return torch.uint8

    @property
    def nbytes(self) -> int:
        """Bytes that all decoded images take."""
        return self.shape.numel()

    def name(self, row: int) -> str:
        """File of a row, for messages."""
        return self.encoded.name(self._source(row))

    def read(self, rows: Rows) -> Tensor:
        """Decodes some images, in the order given.

        Args:
            rows: int64 [n], 0..N-1.

        Returns:
            uint8 [n, 3, S, S].

        Raises:
            InputError: An image is missing, damaged or truncated; the line names the file.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        images = torch.empty((len(wanted), *self.shape[1:]), dtype=torch.uint8)
        pixels = images.numpy()
        for place, row in enumerate(wanted.tolist()):
            source = self._source(row)
            decoded = decode(
                self.encoded.data(source), self.size, self.resize, self.encoded.name(source)
            )
            pixels[place] = decoded.transpose(2, 0, 1)
        return images

    def read_all(self, threads: int) -> Tensor:
        """Decodes everything to a resident array in parallel threads; PIL releases the lock.

        Args:
            threads: At least 1; the result does not depend on it.

        Returns:
            uint8 [N, 3, S, S].

        Raises:
            InputError: See ``read``; the first bad image is the one reported. Or they do not fit
                into memory.
        """
        try:
            images = torch.empty(self.shape, dtype=torch.uint8)
        except RuntimeError:
            raise InputError(
                f"{len(self)} decoded images of {self.size}x{self.size} take "
                f"{self.nbytes / 2**30:.1f} GiB",
                where=self.name(0),
                accepted="what fits into memory, or streamed images",
            ) from None

        def fill(begin: int) -> None:
            stop = min(begin + _CHUNK, len(self))
            images[begin:stop] = self.read(range(begin, stop))

        with ThreadPoolExecutor(threads) as pool:
            parts = [pool.submit(fill, begin) for begin in range(0, len(self), _CHUNK)]
            try:
                for part in parts:
                    part.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        return images

    def _source(self, row: int) -> int:
        return row if self.rows is None else int(self.rows[row])


def decode(data: bytes, size: int, resize: Resize, where: str) -> NDArray[np.uint8]:
    """One encoded image as RGB pixels; grey is repeated, alpha is dropped.

    Args:
        data: The encoded image.
        size: S.
        resize: As in ``ImageFiles``.
        where: Its name, for messages.

    Returns:
        uint8 [S, S, 3].

    Raises:
        InputError: It is damaged, truncated, of an unknown format, or has more than 8 bits.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image: Any = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.mode.partition(";")[0] in _WIDE:
            raise InputError(
                f"pixels of mode {image.mode}", where=where, accepted="8 bits a channel"
            )
        image = image.convert("RGB")
    except UnidentifiedImageError:
        what = "an empty file" if not data else "unknown or damaged image format"
        raise InputError(what, where=where, accepted=", ".join(FORMATS)) from None
    except InputError:
        raise
    except Exception as error:  # PIL raises half a dozen types for damaged files
        raise InputError(
            f"damaged image ({error or type(error).__name__})", where=where, accepted="a whole file"
        ) from None
    width, height = image.size
    bilinear = Image.Resampling.BILINEAR
    if resize == "exact":
        if (width, height) != (size, size):
            image = image.resize((size, size), bilinear)
        return np.asarray(image)
    short, long = sorted((width, height))
    if short != size:
        scaled = int(size * long / short)
        width, height = (size, scaled) if width <= height else (scaled, size)
        image = image.resize((width, height), bilinear)
    left, top = round((width - size) / 2.0), round((height - size) / 2.0)
    return np.asarray(image)[top : top + size, left : left + size]
