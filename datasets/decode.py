"""Images of a packed file to one resident uint8 array, in parallel threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.packfile import Pack
from prunebench.datasets.pixels import MOST_PIXELS, USUAL, Reading, rgb
from prunebench.errors import InputError
from prunebench.untrusted import TIMES

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
#: What a JPEG file that may have to be turned holds; the others need no Pillow.
_NOTES = (b"Exif\0\0", b"http://ns.adobe.com/xap")
_CHUNK = 256
#: Bytes that all images together may decode to, and ``TIMES`` the file's bytes beyond.
_PLENTY = 1 << 29


def default_workers() -> int:
    """Decoding threads: the CPUs this process may use, at most 16."""
    usable = getattr(os, "sched_getaffinity", None)
    return min(16, len(usable(0)) if usable else os.cpu_count() or 1)


def check_headers(pack: Pack, rows: NDArray[np.int64] | None = None) -> None:
    """Looks at what the images of a packed file claim to be, without decoding them.

    Args:
        pack: The file.
        rows: int64 [n], which images; None for all.

    Raises:
        InputError: An image is neither JPEG nor PNG, claims too many pixels or is of another size
            than the first, or all together take far more memory than the file; the line names it.
    """
    chosen = range(len(pack)) if rows is None else rows.tolist()
    first: tuple[int, int] | None = None
    for index in chosen:
        begin, end = int(pack.offset[index]), int(pack.offset[index + 1])
        head = pack.jpeg[begin : begin + 32].tobytes()
        if not head.startswith(_JPEG) and not head.startswith(_PNG):
            raise _refused(pack, index, "unknown image format", "JPEG or PNG")
        encoded = head if head.startswith(_PNG) else pack.jpeg[begin:end].tobytes()
        height, width = _size(encoded)
        if height * width > MOST_PIXELS:
            raise _refused(
                pack, index, f"claims {height}x{width} pixels", f"at most {MOST_PIXELS:,} pixels"
            )
        if not height * width:
            continue  # damaged: decoding tells
        if first is None:
            first, total = (height, width), 3 * height * width * len(chosen)
            most = _PLENTY + TIMES * len(pack.jpeg)
            if total > most:
                raise InputError(
                    f"{len(chosen)} images of {height}x{width} pixels in {len(pack.jpeg)} bytes "
                    f"take {total / 2**30:.1f} GiB",
                    where=str(pack.path),
                    accepted=f"at most {most / 2**30:.1f} GiB: limit=N reads fewer, and folder:PATH"
                    " reads image files at a smaller size",
                )
        if sorted(first) != sorted((height, width)):  # which may yet be turned
            raise _other_size(pack, index, (height, width), first, int(chosen[0]))


def _other_size(
    pack: Pack, index: int, found: Sequence[int], first: Sequence[int], start: int
) -> InputError:
    return _refused(
        pack, index, f"{found[0]}x{found[1]} pixels",
        f"{first[0]}x{first[1]}, the size of image {start}; folder:PATH reads image files of any "
        "size and brings them to one (size=N)",
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
    check_headers(pack, rows)
    data = torch.from_numpy(pack.jpeg)
    first = _decode(pack, data, int(rows[0]), reading)
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
            image = _decode(pack, data, int(rows[place]), reading)
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


def _size(data: bytes) -> tuple[int, int]:
    """Height and width that a header claims; (0, 0) where it is damaged, which decoding tells."""
    if data.startswith(_PNG):
        return int.from_bytes(data[20:24]), int.from_bytes(data[16:20])
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
        elif 0xD0 <= marker <= 0xD8 or marker == 0x01:
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    return 0, 0


def _decode(pack: Pack, data: Tensor, index: int, reading: Reading) -> Tensor:
    begin, end = int(pack.offset[index]), int(pack.offset[index + 1])
    encoded = pack.jpeg[begin:end].tobytes()
    if encoded.startswith(_PNG) and not encoded.endswith(_PNG_END):
        raise _refused(pack, index, "truncated", "a whole PNG file")
    if encoded.startswith(_JPEG) and not (reading.upright and any(n in encoded for n in _NOTES)):
        from torchvision.io import ImageReadMode, decode_image

        try:  # three times as fast for small images, and the same pixels
            image: Tensor = decode_image(data[begin:end], ImageReadMode.RGB)
        except Exception as error:  # whatever damaged bytes provoke
            reason = (str(error) or type(error).__name__).splitlines()[0].rpartition(", ")[2]
            raise _refused(pack, index, f"damaged image ({reason})", "a whole file") from None
        return image
    # PNG goes through Pillow: torchvision's decoder takes the process down on some damaged files.
    pixels = np.array(rgb(encoded, f"{pack.path}: image {index}", reading, ("JPEG", "PNG")))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
