"""One strongly augmented view, batched on the device: flip, a random affine map, brightness,
contrast, saturation, solarisation, and a cut-out square of half the side.

The published loops draw one AutoAugment policy per image with PIL; drawn per sample from hashes,
this view costs a few tensor operations per batch and is the same on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from prunebench.bench.inputs.crops import draw_crop_flip
from prunebench.bench.inputs.streaming import Source
from prunebench.bench.inputs.view import View
from prunebench.errors import SkipCell
from prunebench.rng import Stream

#: Why a run that needs strong views of vectors or texts is skipped.
NO_STRONG_VIEW = "no strong view for data that are no images"
#: What a strong view draws, each from a child of its stream.
DRAWS = ("flip", "angle", "shear", "dx", "dy", "brightness", "contrast", "saturation", "solarise",
         "cy", "cx")  # fmt: skip


def strong_batches(
    inputs: Source, sample_ids: Tensor, stream: Stream
) -> Callable[[int, int], Tensor]:
    """Strong views of samples in order, batch by batch: a function of (start, stop)."""
    _need_images(inputs)
    stored = inputs.unaugmented_batches(sample_ids).pixels
    return lambda start, stop: strong_view(
        inputs, sample_ids[start:stop], stream, stored(start, stop)
    )


def _need_images(inputs: View) -> None:
    if not inputs.image:
        raise SkipCell(NO_STRONG_VIEW)


def strong_view(
    inputs: Source, sample_ids: Tensor, stream: Stream, stored: Tensor | None = None
) -> Tensor:
    """Network input of a strong view.

    Args:
        inputs: The images.
        sample_ids: int64 [B].
        stream: Stream of this epoch.
        stored: uint8 [B, channels, H, W], these samples as stored, where they are loaded already.

    Returns:
        float [B, channels, H, W] of the central crop, normalised.

    Raises:
        SkipCell: The data are no images.
    """
    draws = strong_draws(inputs, sample_ids, stream)
    return strongly_varied(inputs, inputs.pixels(sample_ids) if stored is None else stored, draws)


def strong_draws(inputs: View, sample_ids: Tensor, stream: Stream) -> Tensor:
    """What the strong views of samples draw, each number a function of (stream, id) alone.

    Args:
        inputs: The images.
        sample_ids: int64 [B].
        stream: Stream of this epoch.

    Returns:
        float32 [n, B], a row for each of ``DRAWS``.

    Raises:
        SkipCell: The data are no images.
    """
    _need_images(inputs)
    _, height, width = inputs.shape
    ranges = {
        "angle": (-math.pi / 9, math.pi / 9), "shear": (-0.2, 0.2), "dx": (-0.25, 0.25),
        "dy": (-0.25, 0.25), "brightness": (0.6, 1.4), "contrast": (0.6, 1.4),
        "saturation": (0.4, 1.6), "solarise": (0.0, 1.0), "cy": (0, height), "cx": (0, width),
    }  # fmt: skip
    flip = draw_crop_flip(stream.child("flip"), sample_ids, inputs.pad).flip
    rows = [flip.float()]
    for name in DRAWS[1:]:
        low, high = ranges[name]
        rows.append(low + (high - low) * stream.child(name).uniform_at(sample_ids).float())
    return torch.stack(rows)


def strongly_varied(inputs: View, stored: Tensor, draws: Tensor) -> Tensor:
    """Network input of the strong views that were drawn.

    Args:
        inputs: The images.
        stored: uint8 [B, channels, H, W], as stored.
        draws: float32 [n, B], from ``strong_draws``.

    Returns:
        float [B, channels, H, W] of the central crop, normalised.
    """
    flat = dict(zip(DRAWS, draws.unbind(), strict=True))
    drawn = {name: row.view(-1, 1, 1, 1) for name, row in flat.items()}
    x = stored.float() / 255.0
    channels, height, width = inputs.shape
    if inputs.augment != "none":
        x = torch.where(drawn["flip"] > 0, x.flip(-1), x)
    angle = flat["angle"]
    matrix = torch.stack(
        [angle.cos(), flat["shear"] - angle.sin(), flat["dx"],
         angle.sin(), angle.cos(), flat["dy"]], dim=1,
    ).view(-1, 2, 3)  # fmt: skip
    if inputs.shape != inputs.stored:
        across, down = width / inputs.stored[2], height / inputs.stored[1]
        matrix = torch.cat(
            [matrix[..., :1] * across, matrix[..., 1:2] * down, matrix[..., 2:]], dim=2
        )
    grid = F.affine_grid(matrix, [len(x), channels, height, width], align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    x = x * drawn["brightness"]
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (x - mean) * drawn["contrast"]
    if channels == 3:
        grey = x.mean(dim=1, keepdim=True)
        x = grey + (x - grey) * drawn["saturation"]
    x = x.clamp(0.0, 1.0)
    x = torch.where((drawn["solarise"] < 0.1) & (x > 0.5), 1.0 - x, x)
    half_y, half_x = max(1, height // 4), max(1, width // 4)
    away_y = (torch.arange(height, device=x.device).view(1, 1, -1, 1) - drawn["cy"]).abs()
    away_x = (torch.arange(width, device=x.device).view(1, 1, 1, -1) - drawn["cx"]).abs()
    x = x.masked_fill((away_y < half_y) & (away_x < half_x), 0.5)
    return inputs.normalise(x * 255.0)
