"""One encoded image to pixels: the rule of every reader and writer of images.

Of an opaque image without an orientation the pixels are those of torchvision's ``Resize`` and
``CenterCrop`` on a PIL image.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import InputError
from prunebench.options import Option

Resize = Literal["exact", "short"]

#: What is read; others (PostScript, say) would start foreign programs.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
#: Where Pillow begins to warn; a header may claim any size, and room is made before decoding.
MOST_PIXELS = 89_478_485
#: Modes that Pillow turns into RGB; a channel has 8 bits, or the upper 8 of 16 in colour images.
_OPAQUE = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
_TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
_MODES = "8 bits a channel: black and white, grey, palette, RGB, CMYK, YCbCr, transparency"
_GROUNDS = {"white": 255, "grey": 128, "black": 0}
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Reading:
    """How an image becomes RGB.

    Attributes:
        ground: Grey level, 0 to 255, behind transparent pixels.
        upright: Whether images are turned as their EXIF header says.
    """

    ground: int = 255
    upright: bool = True

    @classmethod
    def from_options(cls, ground: str, upright: str) -> Reading:
        """That of the options ``reading_options`` gives."""
        return cls(_GROUNDS[ground], upright == "yes")


DEFAULT_READING = Reading()


def reading_options(upright: str) -> Mapping[str, Option]:
    """The options ``ground`` and ``upright`` of a data set.

    Args:
        upright: Default of the latter, ``yes`` or ``no``.
    """
    return {
        "ground": Option("white", "the colour behind transparent pixels", choices=tuple(_GROUNDS)),
        "upright": Option(
            upright, "whether images are turned as their EXIF header says", choices=("yes", "no")
        ),
    }


def default_workers() -> int:
    """Decoding threads: the CPUs this process may use, at most 16."""
    usable = getattr(os, "sched_getaffinity", None)
    return min(16, len(usable(0)) if usable else os.cpu_count() or 1)


def open_image(data: bytes, where: str, formats: Sequence[str] = FORMATS) -> Any:
    """An image of Pillow's with its header checked; nothing is decoded yet.

    Args:
        data: The encoded image.
        where: Its name, for messages.
        formats: Pillow's names of the accepted formats.

    Raises:
        InputError: It is truncated, damaged, of an unknown format, too large, or has pixels of a
            mode that no 8 bits a channel can be made of.
    """
    from PIL import Image, UnidentifiedImageError

    _quieten()
    if data.startswith(_PNG) and _PNG_END not in data:
        raise InputError("truncated", where=where, accepted="a whole PNG file")
    try:
        image = Image.open(io.BytesIO(data), formats=tuple(formats))
    except UnidentifiedImageError:
        what = "an empty file" if not data else "unknown or damaged image format"
        raise InputError(what, where=where, accepted=", ".join(formats)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(
            "claims too many pixels", where=where, accepted=f"at most {MOST_PIXELS:,} pixels"
        ) from None
    except Exception as error:  # PIL raises half a dozen types for damaged files
        raise _damaged(error, where) from None
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise InputError(
            f"claims {height}x{width} pixels", where=where,
            accepted=f"at most {MOST_PIXELS:,} pixels",
        )  # fmt: skip
    if image.mode not in (*_OPAQUE, *_TRANSPARENT):
        raise InputError(f"pixels of mode {image.mode}", where=where, accepted=_MODES)
    return image


@cache
def _quieten() -> None:
    """Pillow warns where this module refuses."""
    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _damaged(error: Exception, where: str) -> InputError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"damaged image ({reason})", where=where, accepted="a whole file")


def is_transparent(image: Any) -> bool:
    """Whether an opened image says that some of its pixels may be transparent."""
    return image.mode in _TRANSPARENT or "transparency" in image.info


def transposition(image: Any) -> Any:
    """How Pillow has to transpose an opened image to show it upright; None where it is."""
    from PIL import Image

    turns = Image.Transpose
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a header that cannot be read turns nothing
        return None
    return {
        2: turns.FLIP_LEFT_RIGHT, 3: turns.ROTATE_180, 4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE, 6: turns.ROTATE_270, 7: turns.TRANSVERSE, 8: turns.ROTATE_90,
    }.get(value)  # fmt: skip


def rgb(
    data: bytes,
    where: str,
    reading: Reading = DEFAULT_READING,
    formats: Sequence[str] = FORMATS,
) -> Any:
    """The first frame of an encoded image as an RGB image of Pillow's.

    Grey is repeated, palettes and CMYK are resolved, transparency is composited on the ground.

    Raises:
        InputError: As ``open_image``, or the pixels are damaged.
    """
    from PIL import Image

    image = open_image(data, where, formats)
    try:
        image.load()
        turn = transposition(image) if reading.upright else None
        if is_transparent(image):
            ground = Image.new("RGBA", image.size, (reading.ground,) * 3 + (255,))
            image = Image.alpha_composite(ground, image.convert("RGBA"))
        image = image.convert("RGB")
        return image if turn is None else image.transpose(turn)
    except Exception as error:  # PIL raises half a dozen types for damaged files
        raise _damaged(error, where) from None


def decode(
    data: bytes,
    size: int,
    resize: Resize,
    where: str,
    reading: Reading = DEFAULT_READING,
) -> NDArray[np.uint8]:
    """One encoded image as RGB pixels of one size, see ``rgb``.

    Args:
        data: The encoded image.
        size: S.
        resize: As in ``ImageFiles``.
        where: Its name, for messages.
        reading: Ground and orientation.

    Returns:
        uint8 [S, S, 3].

    Raises:
        InputError: As ``rgb``.
    """
    from PIL import Image

    image = rgb(data, where, reading)
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
