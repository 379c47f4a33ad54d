"""Resident inputs: gather, crop, flip and normalise as batched tensor operations.

Draws come from a hash of (stream, epoch, sample id): equal on every device, whatever else is
kept, after a resume, and with any number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prunebench.datasets.task import RawData
from prunebench.rng import Stream

#: Below this many bytes the whole epoch is gathered at once; batches are then views.
_WHOLE_EPOCH = 64 << 20


@dataclass(frozen=True)
class Draws:
    """Augmentation of n samples: ``flip`` bool [n], ``top`` and ``left`` int64 [n] in 0..2 pad."""

    flip: Tensor
    top: Tensor
    left: Tensor

    def __getitem__(self, part: slice) -> Draws:
        return Draws(self.flip[part], self.top[part], self.left[part])


def draw_crop_flip(stream: Stream, ids: Tensor, pad: int) -> Draws:
    """Crop offsets and flips of samples, a function of (stream, id) alone.

    Args:
        stream: The augmentation stream of one epoch.
        ids: int64 [n], original sample ids.
        pad: Pixels of reflection on each side.
    """
    bits = stream.bits(ids)
    span = 2 * pad + 1
    top = (((bits >> 1) & 0xFFFF) * span) >> 16
    left = (((bits >> 17) & 0xFFFF) * span) >> 16
    return Draws((bits & 1).bool(), top, left)


def _reflection(size: int, pad: int, device: torch.device) -> Tensor:
    """Source position of each of size + 2 pad positions under reflection (edge not repeated)."""
    position = torch.arange(-pad, size + pad, device=device).abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position)


class Inputs:
    """One resident array and how a batch of it becomes network input.

    Args:
        x: uint8 [N, channels, H, W] images or float32 [N, D] vectors.
        raw: The data set, for mean and standard deviation.
        augment: ``none`` or ``crop_flip``.
        pad: Reflection for the crop.
        device: Where the array is kept.
        dtype: Of the network's input.
        channels_last: Memory format of image batches.
    """

    def __init__(
        self,
        x: Tensor,
        raw: RawData,
        *,
        augment: str = "none",
        pad: int = 4,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
    ) -> None:
        self.image = x.dtype == torch.uint8
        self.shape = tuple(x.shape[1:])
        self.augment = augment if self.image else "none"
        self.dtype, self.channels_last = dtype, channels_last
        self.x = x.to(device)
        self.pad = min(pad, *(side - 1 for side in self.shape[1:])) if self.image else 0
        if self.image:
            std = torch.tensor(raw.std, dtype=torch.float32, device=device) * 255.0
            mean = torch.tensor(raw.mean, dtype=torch.float32, device=device) * 255.0
            self.scale = (1.0 / std).view(1, -1, 1, 1)
            self.shift = (-mean / std).view(1, -1, 1, 1)
        if self.augment == "crop_flip":
            self._prepare_crops()

    def _prepare_crops(self) -> None:
        channels, height, width = self.shape
        flat = self.x.permute(0, 2, 3, 1)
        if channels == 3:
            # One int32 per pixel: a gather of 32 bits costs about what one of 8 bits does.
            flat = torch.cat([flat, torch.zeros_like(flat[..., :1])], dim=3)
            self.pixels = flat.contiguous().view(torch.int32).reshape(-1)
        else:
            self.pixels = flat.reshape(-1, channels).squeeze(1).contiguous()
        device = self.x.device
        self.mirror_y = _reflection(height, self.pad, device) * width
        self.mirror_x = _reflection(width, self.pad, device)
        self.y = torch.arange(height, device=device)
        self.xs = torch.arange(width, device=device)

    def normalise(self, x: Tensor) -> Tensor:
        """Pixels to zero mean and unit variance per channel; vectors pass."""
        if not self.image:
            return x.to(self.dtype)
        y = torch.empty(x.shape, dtype=torch.float32, device=x.device).copy_(x)
        y.mul_(self.scale).add_(self.shift)
        if self.channels_last:
            y = y.contiguous(memory_format=torch.channels_last)
        return y.to(self.dtype)

    def clean(self, rows: Tensor) -> Tensor:
        """The un-augmented view of rows."""
        return self.normalise(self.x[rows])

    def augmented(self, rows: Tensor, draws: Draws) -> Tensor:
        """Random crop with reflection and horizontal flip, then normalisation."""
        channels, height, width = self.shape
        columns = torch.where(draws.flip[:, None], width - 1 - self.xs, self.xs)
        columns = self.mirror_x[draws.left[:, None] + columns] + (rows * (height * width))[:, None]
        lines = self.mirror_y[draws.top[:, None] + self.y]
        index = (lines[:, :, None] + columns[:, None, :]).view(-1)
        picked = self.pixels.index_select(0, index)
        shape = (len(rows), height, width, -1)
        pixels = (picked.view(torch.uint8) if channels == 3 else picked).view(shape)
        return self.normalise(pixels[..., :channels].permute(0, 3, 1, 2))

    def epoch(self, rows: Tensor, stream: Stream) -> EpochInputs:
        """The training view of one epoch's rows in order."""
        return EpochInputs(self, rows, stream)


class EpochInputs:
    """Batches of one epoch; draws for all its samples are made at once."""

    def __init__(self, inputs: Inputs, rows: Tensor, stream: Stream) -> None:
        self.inputs, self.rows = inputs, rows
        self.draws: Draws | None = None
        self.whole: Tensor | None = None
        if inputs.augment == "crop_flip":
            self.draws = draw_crop_flip(stream, rows, inputs.pad)
        elif len(rows) * inputs.x[0].numel() * 4 <= _WHOLE_EPOCH:
            self.whole = inputs.clean(rows)

    def batch(self, start: int, stop: int) -> Tensor:
        """Network input for positions start..stop of the epoch's order."""
        if self.whole is not None:
            return self.whole[start:stop]
        part = slice(start, stop)
        if self.draws is None:
            return self.inputs.clean(self.rows[part])
        return self.inputs.augmented(self.rows[part], self.draws[part])
