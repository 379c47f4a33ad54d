"""Encoded images to one resident uint8 array, in parallel threads."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.packfile import Pack
from prunebench.errors import InputError

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_DEPTH = 24  # place of the bit depth in a PNG file
_CHUNK = 256
#: Where Pillow begins to warn; a header may claim any size, and room is made before decoding.
MOST_PIXELS = 89_478_485


def default_workers() -> int:
    """Decoding threads: the CPUs this process may use, at most 16."""
    usable = getattr(os, "sched_getaffinity", None)
    return min(16, len(usable(0)) if usable else os.cpu_count() or 1)


def decode_images(pack: Pack, rows: NDArray[np.int64], workers: int) -> Tensor:
    """Decodes images of a packed file (torchvision's decoders, which release the GIL).

    Args:
        pack: The file.
        rows: int64 [n], n >= 1, which images.
        workers: Threads; the result does not depend on it.

    Returns:
        uint8 [n, 3, H, W]; grey images are repeated over the channels, alpha is dropped.

    Raises:
        InputError: An image is truncated, is neither JPEG nor PNG, has more than 8 bits, or has
            another size than the first; the line names its index in the file. Or the decoded
            images do not fit into memory.
    """
    data = torch.from_numpy(pack.jpeg)
    first = _decode(pack, data, int(rows[0]))
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
            image = _decode(pack, data, int(rows[place]))
            if image.shape != first.shape:
                raise _refused(
                    pack,
                    int(rows[place]),
                    f"{image.shape[1]}x{image.shape[2]} pixels",
                    f"{first.shape[1]}x{first.shape[2]}, the size of image {int(rows[0])}",
                )
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


def _decode_png(data: bytes) -> Tensor:
    """PNG through PIL: torchvision's decoder takes the process down on some damaged files.

    Raises:
        Exception: Whatever PIL makes of it.
    """
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        pixels = np.array(image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


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


def _decode(pack: Pack, data: Tensor, index: int) -> Tensor:
    from torchvision.io import ImageReadMode, decode_image

    begin, end = int(pack.offset[index]), int(pack.offset[index + 1])
    head, tail = pack.jpeg[begin : begin + 8].tobytes(), pack.jpeg[end - 8 : end].tobytes()
    if not head.startswith(_JPEG) and head != _PNG:
        raise _refused(pack, index, "unknown image format", "JPEG or PNG")
    if head == _PNG and tail != _PNG_END:
        raise _refused(pack, index, "truncated", "a whole PNG file")
    encoded = pack.jpeg[begin:end].tobytes()
    height, width = _size(encoded)
    if height * width > MOST_PIXELS:
        raise _refused(
            pack, index, f"claims {height}x{width} pixels", f"at most {MOST_PIXELS:,} pixels"
        )
    if head == _PNG and encoded[_DEPTH : _DEPTH + 1] > b"\x08":
        raise _refused(pack, index, f"{encoded[_DEPTH]}-bit pixels", "8 bits a channel")
    try:
        if head == _PNG:
            return _decode_png(encoded)
        image: Tensor = decode_image(data[begin:end], ImageReadMode.RGB)
    except Exception as error:  # PIL raises half a dozen types for damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0].rpartition(", ")[2]
        raise _refused(pack, index, f"damaged ({reason})", "a whole image") from None
    return image
