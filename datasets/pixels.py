"""One encoded image to pixels, as torchvision's ``Resize`` and ``CenterCrop`` give them of a PIL
image."""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import InputError

Resize = Literal["exact", "short"]

#: What is read; others (PostScript, say) would start foreign programs.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
_WIDE = ("I", "F")  # modes of more than 8 bits, with their variants such as I;16
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


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

    if data.startswith(_PNG) and _PNG_END not in data:
        raise InputError("truncated", where=where, accepted="a whole PNG file")
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
