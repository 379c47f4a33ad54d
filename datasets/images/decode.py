"""Images of a packed file to one resident uint8 array, in parallel threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.images.packed_format import Pack
from prunebench.datasets.images.pixels import MOST_PIXELS, USUAL, Reading, opened, rgb
from prunebench.errors import InputError
from prunebench.untrusted import TIMES

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_FORMATS = ("JPEG", "PNG")
#: What a JPEG file that may have to be turned holds; the others need no Pillow.
_NOTES = (b"Exif\0\0", b"http://ns.adobe.com/xap")
#: Second bytes of JPEG markers: those of frames, which hold the size, and those of the segments
#: that may come before.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEGMENTS = frozenset((0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE))
_CHUNK = 256
#: Bytes that all images together may decode to, and ``TIMES`` the file's bytes beyond.
_PLENTY = 1 << 29


def default_workers() -> int:
    """Decoding threads: the CPUs this process may use, at most 16."""
    usable = getattr(os, "sched_getaffinity", None)
    return min(16, len(usable(0)) if usable else os.cpu_count() or 1)


def check_headers(pack: Pack, rows: NDArray[np.int64]) -> tuple[int, int]:
    """Looks at what the images of a packed file claim to be, without decoding them.

    Args:
        pack: The file.
        rows: int64 [n], n >= 1, which images.

    Returns:
        Height and width of the first, as its header says.

    Raises:
        InputError: An image is neither JPEG nor PNG, has a damaged header, claims no pixels or too
            many, or is of another size than the first, or all together take far more memory than
            the file; the line names it.
    """
    first: tuple[int, int] | None = None
    for index in rows.tolist():
        height, width = _claimed(pack, index)
        if not 0 < height * width <= MOST_PIXELS:
            raise _refused(
                pack, index, f"claims {height}x{width} pixels", f"1 to {MOST_PIXELS:,} pixels"
            )
        if first is None:
            first, total = (height, width), 3 * height * width * len(rows)
            most = _PLENTY + TIMES * len(pack.jpeg)
            if total > most:
                raise InputError(
                    f"{len(rows)} images of {height}x{width} pixels in {len(pack.jpeg)} bytes "
                    f"take {total / 2**30:.1f} GiB",
                    where=str(pack.path),
                    accepted=f"at most {most / 2**30:.1f} GiB: limit=N reads fewer, and folder:PATH"
                    " reads image files at a smaller size",
                )
        if sorted(first) != sorted((height, width)):  # which may yet be turned
            raise _other_size(pack, index, (height, width), first, int(rows[0]))
    assert first is not None
    return first


def _other_size(
    pack: Pack, index: int, found: Sequence[int], first: Sequence[int], start: int
) -> InputError:
    return _refused(
        pack, index, f"{found[0]}x{found[1]} pixels",
        f"{first[0]}x{first[1]}, the size of image {start}; folder:PATH reads image files of any "
        "size and resizes them to one (size=N)",
    )  # fmt: skip


def decode_images(
    pack: Pack,
    rows: NDArray[np.int64],
    workers: int,
    reading: Reading = USUAL,
) -> Tensor:
    """Decodes images of a packed file by the rule of ``pixels.rgb``.

    Args:
        pack: The file.
        rows: int64 [n], n >= 1, which images.
        workers: Threads; the result does not depend on it.
        reading: Ground and orientation.

    Returns:
        uint8 [n, 3, H, W].

    Raises:
        InputError: As ``check_headers`` and ``pixels.rgb``; the line names the image's index in
            the file. Or the decoded images do not fit into memory.
    """
    claimed = check_headers(pack, rows)
    first = _decode(pack, int(rows[0]), reading)
    if sorted(first.shape[1:]) != sorted(claimed):  # a file with two headers
        raise _other_size(pack, int(rows[0]), first.shape[1:], claimed, int(rows[0]))
    try:
        images = torch.empty(len(rows), *first.shape, dtype=torch.uint8)
    except RuntimeError:
        size = len(rows) * first.numel() / 2**30
        raise InputError(
            f"{len(rows)} decoded images of {first.shape[1]}x{first.shape[2]} take {size:.1f} GiB",
            where=str(pack.path),
            accepted="what fits into memory; the option limit reads fewer",
        ) from None

    def fill(begin: int) -> None:
        for place in range(begin, min(begin + _CHUNK, len(rows))):
            image = _decode(pack, int(rows[place]), reading)
            if image.shape != first.shape:
                found, wanted = image.shape[1:], first.shape[1:]
                raise _other_size(pack, int(rows[place]), found, wanted, int(rows[0]))
            images[place] = image

    with ThreadPoolExecutor(workers) as pool:
        parts = [pool.submit(fill, begin) for begin in range(0, len(rows), _CHUNK)]
        try:
            for part in parts:  # in order, so that the first bad image is the one reported
                part.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return images


def _refused(pack: Pack, index: int, what: str, accepted: str) -> InputError:
    return InputError(what, where=f"{pack.path}: image {index}", accepted=accepted)


def _claimed(pack: Pack, index: int) -> tuple[int, int]:
    """Height and width that the header of an image claims."""
    begin, end = int(pack.offset[index]), int(pack.offset[index + 1])
    head = pack.jpeg[begin : begin + 32].tobytes()
    if head.startswith(_PNG) and head[12:16] == b"IHDR":
        return int.from_bytes(head[20:24]), int.from_bytes(head[16:20])
    if not head.startswith((_JPEG, _PNG)):
        raise _refused(pack, index, "unknown image format", "JPEG or PNG")
    encoded = pack.jpeg[begin:end].tobytes()
    found = _jpeg_size(encoded) if head.startswith(_JPEG) else None
    if found is not None:
        return found
    width, height = opened(encoded, f"{pack.path}: image {index}", _FORMATS).size
    return height, width


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width that a JPEG header claims; None unless it is laid out plainly, so that every
    decoder finds this size and no other."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _FRAMES:
            return int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
        elif marker in _SEGMENTS:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
        else:
            return None
    return None


def _decode(pack: Pack, index: int, reading: Reading) -> Tensor:
    data = pack.jpeg[int(pack.offset[index]) : int(pack.offset[index + 1])]
    encoded = data.tobytes()
    turned = reading.upright and any(note in encoded for note in _NOTES)
    # torchvision knows no limit of pixels, and its PNG decoder ends the process on some damaged
    # files; JPEG files whose size is known it reads three times as fast, to the same pixels.
    if encoded.startswith(_JPEG) and not turned and _jpeg_size(encoded) is not None:
        from torchvision.io import ImageReadMode, decode_image

        try:
            image: Tensor = decode_image(torch.from_numpy(data), ImageReadMode.RGB)
        except Exception as error:  # whatever damaged bytes provoke
            reason = (str(error) or type(error).__name__).splitlines()[0].rpartition(", ")[2]
            raise _refused(pack, index, f"damaged image ({reason})", "a whole file") from None
        return image
    pixels = np.array(rgb(encoded, f"{pack.path}: image {index}", reading, _FORMATS))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
