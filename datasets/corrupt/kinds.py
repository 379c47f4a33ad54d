"""Six ways to corrupt images, at severities 1 to 5; sources of the numbers are in docs/data.md.

Whatever is random about an image is a function of the stream and of its sample id, so that its
pixels depend on no other image. Arithmetic is on whole numbers, or in float64 rounded to whole grey
levels; only ``jpeg`` and ``polygon`` leave pixels to a library whose builds may differ.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from prunebench.rng import Stream

Pixels = NDArray[np.uint8]
Ids = NDArray[np.int64]

#: Standard deviation of the noise, of 1 for white.
NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)
#: Standard deviation of the blur in percent of the shorter side, of ``BLUR_SIDE`` pixels at least.
BLUR = (1.5, 2, 3, 4, 6)
BLUR_SIDE = 24
#: Quality of the file.
JPEG = (25, 18, 15, 8, 4)
#: How much fog lies over an image of weight 1.
FOG = (0.5, 0.75, 1.0, 1.5, 2.5)
#: Cells across the coarsest layer of fog; each next one has twice as many and half the weight.
FOG_CELLS, FOG_LAYERS = 2, 4
#: Share of the image behind the rectangle.
OCCLUSION = (0.05, 0.1, 0.16, 0.25, 0.4)
#: Polygons drawn over an image; each fits into a box of half its sides.
POLYGONS = (1, 2, 3, 5, 8)
CORNERS = (3, 4, 5, 6)

#: Draws are of 16 bits, four to a word.
_LEVELS = 1 << 16


def _whole(stream: Stream, ids: Ids, below: int) -> Ids:
    """A whole number 0..below-1 for each sample."""
    drawn = stream.uniform_at(torch.from_numpy(ids)).numpy()
    return (drawn * below).astype(np.int64)


def _words(stream: Stream, ids: Ids, count: int) -> NDArray[np.int64]:
    """``count`` words of 64 random bits for each sample: [n, count]."""
    counters = torch.from_numpy(ids)[:, None] * count + torch.arange(count)
    return stream.bits(counters).numpy()


def _colours(stream: Stream, ids: Ids, channels: int) -> Ids:
    """A colour for each sample: [n, channels], 0..255."""
    return _words(stream, ids, channels) & 255


def gaussian_noise(images: Pixels, ids: Ids, severity: int, stream: Stream) -> Pixels:
    """Adds normal noise to every value: quantiles at 16 bits, rounded to whole grey levels."""
    from scipy.special import ndtri

    quantiles = ndtri((np.arange(_LEVELS) + 0.5) / _LEVELS)
    noise = np.rint(255 * NOISE[severity - 1] * quantiles).astype(np.int16)
    size = math.prod(images.shape[1:])
    words = _words(stream, ids, -(-size // 4)).astype("<i8")
    drawn = words.view("<u2")[:, :size].reshape(images.shape)
    noisy: Pixels = np.clip(images + noise[drawn], 0, 255).astype(np.uint8)
    return noisy


def gaussian_blur(images: Pixels, ids: Ids, severity: int, stream: Stream) -> Pixels:
    """Blurs; edges are reflected. Nothing is drawn."""
    from scipy.ndimage import gaussian_filter

    side = max(BLUR_SIDE, min(images.shape[2:]))
    sigma = BLUR[severity - 1] * side / 100
    blurred = gaussian_filter(images, sigma, output=np.float64, axes=(2, 3), mode="reflect")
    return np.rint(blurred).astype(np.uint8)


def occlusion(images: Pixels, ids: Ids, severity: int, stream: Stream) -> Pixels:
    """Covers a rectangle with the proportions of the image by one colour, at a random place."""
    inside = np.ones((len(images), 1, 1), dtype=bool)
    for axis, name in ((2, "top"), (3, "left")):
        side = images.shape[axis]
        length = max(1, math.floor(side * math.sqrt(OCCLUSION[severity - 1]) + 0.5))
        start = _whole(stream.child(name), ids, side - length + 1)[:, None]
        covered = (np.arange(side) >= start) & (np.arange(side) < start + length)
        inside = inside & np.expand_dims(covered, 4 - axis)
    colour = _colours(stream.child("colour"), ids, images.shape[1]).astype(np.uint8)
    return np.where(inside[:, None], colour[:, :, None, None], images)


def jpeg(images: Pixels, ids: Ids, severity: int, stream: Stream) -> Pixels:
    """Stores and reads each image as a JPEG file of low quality. Nothing is drawn."""
    out = np.empty_like(images)
    for place, image in enumerate(images):
        file = io.BytesIO()
        _to_pil(image).save(file, "JPEG", quality=JPEG[severity - 1])
        with Image.open(file) as read:
            out[place] = _from_pil(read)
    return out


def fog(images: Pixels, ids: Ids, severity: int, stream: Stream) -> Pixels:
    """Lays fog of varying density over each image: what is behind it loses contrast."""
    height, width = images.shape[2:]
    density = np.zeros((len(images), height, width), dtype=np.int64)
    for layer in range(FOG_LAYERS):
        cells = FOG_CELLS << layer
        points = _words(stream.child("layer", layer), ids, (cells + 1) ** 2) & 255
        field = points.reshape(-1, cells + 1, cells + 1)
        down = _between(field, height, cells).swapaxes(1, 2)
        density += _between(down, width, cells).swapaxes(1, 2) >> layer
    low, high = (f(density, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    white = 255.0 * (density - low) / np.maximum(high - low, 1)
    weight = FOG[severity - 1]
    mixed: Pixels = np.rint((images + weight * white[:, None]) / (1 + weight)).astype(np.uint8)
    return mixed


def _between(points: Ids, side: int, cells: int) -> Ids:
    """Values at the centres of ``side`` pixels between the points of axis 1, which lie at the ends
    of ``cells`` cells; smooth at the points, times 256."""
    place = (2 * np.arange(side) + 1) * cells * 128 // side
    cell, part = place >> 8, place & 255
    part = (part * part * (768 - 2 * part) >> 16)[:, None]
    values: Ids = points[:, cell] * (256 - part) + points[:, cell + 1] * part
    return values


def polygon(images: Pixels, ids: Ids, severity: int, stream: Stream) -> Pixels:
    """Draws filled polygons of 3 to 6 corners over each image, each of one colour."""
    channels, height, width = images.shape[1:]
    box = max(2, height // 2), max(2, width // 2)
    drawn = [
        _polygon_draws(stream.child("polygon", number), ids, (height, width), box, channels)
        for number in range(POLYGONS[severity - 1])
    ]
    out = np.empty_like(images)
    for place, image in enumerate(images):
        picture = _to_pil(image)
        draw = ImageDraw.Draw(picture)
        for corners, count, colour in drawn:
            own = _around(corners[place, : count[place]].tolist())
            fill = tuple(colour[place].tolist())
            draw.polygon(own, fill=fill if channels == 3 else fill[0])
        out[place] = _from_pil(picture)
    return out


def _polygon_draws(
    stream: Stream, ids: Ids, sides: tuple[int, int], box: tuple[int, int], channels: int
) -> tuple[Ids, Ids, Ids]:
    """Corners (x, y) [n, 6, 2] in a box within the image, how many of them count [n], colours."""
    most = CORNERS[-1]
    corners = np.empty((len(ids), most, 2), dtype=np.int64)
    for axis, name in ((0, "y"), (1, "x")):
        start = _whole(stream.child(name), ids, sides[axis] - box[axis] + 1)
        for number in range(most):
            within = _whole(stream.child(name, number), ids, box[axis])
            corners[:, number, 1 - axis] = start + within
    count = CORNERS[0] + _whole(stream.child("corners"), ids, len(CORNERS))
    return corners, count, _colours(stream.child("colour"), ids, channels)


def _around(corners: list[list[int]]) -> list[tuple[int, int]]:
    """Corners in the order in which they lie around their centre, so that sides do not cross."""
    x, y = (sum(part) / len(corners) for part in zip(*corners, strict=True))
    ordered = sorted(corners, key=lambda point: math.atan2(point[1] - y, point[0] - x))
    return [(point[0], point[1]) for point in ordered]


def _to_pil(image: Pixels) -> Image.Image:
    """A picture of [c, h, w]: grey for one channel, else RGB."""
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0).copy())


def _from_pil(picture: Image.Image) -> Any:
    array = np.asarray(picture)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


#: By name: (uint8 [n, c, h, w], sample ids [n], severity, stream of the kind) -> pixels alike.
CORRUPT: Mapping[str, Callable[[Pixels, Ids, int, Stream], Pixels]] = {
    "gaussian-noise": gaussian_noise,
    "gaussian-blur": gaussian_blur,
    "occlusion": occlusion,
    "jpeg": jpeg,
    "fog": fog,
    "polygon": polygon,
}
