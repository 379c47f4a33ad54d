"""Images that stay encoded until they are read: used in place of a resident uint8 array.

``pixels`` holds the rule by which an image file becomes pixels.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.digests import channel_stats
from prunebench.datasets.images.pixels import DEFAULT_READING, MOST_PIXELS, Reading, Resize, decode
from prunebench.errors import InputError

Rows = Tensor | NDArray[np.int64] | Sequence[int]

#: File name endings that count as images (any case).
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")
#: Sets whose pixels take at most so many bytes are decoded once and kept, unless an option says
#: otherwise.
RESIDENT_BYTES = 2 << 30
_CHUNK = 64
_MEASURED = 1_000


#: The largest image that is read, with 64 bits a pixel and not compressed.
_MOST_BYTES = 8 * MOST_PIXELS


def _at_once(path: str, flags: int) -> int:
    """Opens without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


class Encoded(Protocol):
    """Encoded images by number."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Where an image comes from, as messages name it."""

    def data(self, index: int) -> bytes:
        """Its bytes.

        Raises:
            InputError: They cannot be read.
        """


def encoded_digest(images: Encoded) -> str:
    """SHA-256 over the bytes of images as they are stored, in order, in hex.

    Raises:
        InputError: An image cannot be read.
    """
    digest = hashlib.sha256()
    for index in range(len(images)):
        digest.update(hashlib.sha256(images.data(index)).digest())
    return digest.hexdigest()


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
        """Path of a file, as messages name it."""
        begin, end = self._offset[index], self._offset[index + 1]
        relative = self._block[begin:end].tobytes().decode("utf-8", "surrogateescape")
        return f"{self.root}/{relative}"

    def data(self, index: int) -> bytes:
        """The bytes of a file.

        Raises:
            InputError: It is missing, no regular file, too large, or cannot be read.
        """
        path = self.name(index)
        try:
            with open(path, "rb", opener=_at_once) as file:
                state = os.fstat(file.fileno())
                if not stat.S_ISREG(state.st_mode):
                    raise InputError("no regular file", where=path, accepted="an image file")
                if state.st_size > _MOST_BYTES:
                    raise InputError(
                        f"{state.st_size} bytes", where=path, accepted=f"at most {_MOST_BYTES:,}"
                    )
                return file.read(state.st_size + 1)
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", where=path) from None


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """N images of ``size`` x ``size`` pixels that are decoded when they are read.

    Attributes:
        encoded: The images as they are stored.
        size: Height and width S that ``read`` gives.
        resize: ``exact``: to S x S, whatever the proportions; ``short``: the short side to S,
            then the central S x S.
        rows: int64 [N], which of the encoded images, in order; None for all.
        workers: Processes that decode for training; None for one per CPU, 0 for none.
        reading: Ground and orientation.
        change: Changes decoded images in place, told the row of each (uint8 [n, 3, S, S], int64
            [n]); None for images as they are stored.
    """

    encoded: Encoded
    size: int
    resize: Resize = "exact"
    rows: NDArray[np.int64] | None = None
    workers: int | None = None
    reading: Reading = DEFAULT_READING
    change: Callable[[NDArray[np.uint8], NDArray[np.int64]], None] | None = None

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
            data, name = self.encoded.data(source), self.encoded.name(source)
            decoded = decode(data, self.size, self.resize, name, self.reading)
            pixels[place] = decoded.transpose(2, 0, 1)
        if self.change is not None:
            self.change(pixels, wanted)
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


def decode_unless_streamed(
    files: Sequence[ImageFiles], stream: str, threads: int
) -> list[Tensor | ImageFiles]:  # fmt: skip
    """Decodes the splits of a data set, or leaves them in their files.

    Args:
        files: The splits.
        stream: ``yes``: stay files; ``no``: decode; ``auto``: decode where all of them together
            take at most ``RESIDENT_BYTES``.
        threads: For decoding.

    Raises:
        InputError: See ``ImageFiles.read_all``.
    """
    size = sum(split.nbytes for split in files)
    if stream == "yes" or (stream == "auto" and size > RESIDENT_BYTES):
        return list(files)
    return [split.read_all(threads) for split in files]


def sampled_stats(
    x: Tensor | ImageFiles, threads: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of 1,000 images, evenly spaced over the set; the
    same for files and for what they decode to.

    Args:
        x: The images.
        threads: For decoding.

    Raises:
        InputError: See ``ImageFiles.read``.
    """
    n = len(x)
    rows = np.arange(min(_MEASURED, n)) * n // min(_MEASURED, n)
    if isinstance(x, ImageFiles):
        held = rows if x.rows is None else x.rows[rows]
        return channel_stats(replace(x, rows=held).read_all(threads))
    return channel_stats(x[torch.from_numpy(rows)])
