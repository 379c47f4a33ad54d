"""Random crops as draws and batched tensor operations.

Draws are hashes of (stream, epoch, sample id): the same on every device, whichever other samples
are kept, after a resume, and with any number of workers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from prunebench.rng import Stream

#: Area share and proportions of a resized crop (Szegedy et al., CVPR 2015; torchvision's
#: ``RandomResizedCrop``), and how often a box that does not fit is drawn again.
SCALE = (0.08, 1.0)
RATIO = (3.0 / 4.0, 4.0 / 3.0)
_TRIES = 10


@dataclass(frozen=True)
class Draws:
    """Crops of n samples at their own size.

    Attributes:
        flip: bool [n].
        top: int64 [n], first line in the padded image.
        left: int64 [n], first column.
    """

    flip: Tensor
    top: Tensor
    left: Tensor

    def __getitem__(self, part: slice) -> Draws:
        return Draws(self.flip[part], self.top[part], self.left[part])


@dataclass(frozen=True)
class Boxes:
    """Crops of n samples that are brought to one size.

    Attributes:
        flip: bool [n].
        top: int64 [n].
        left: int64 [n].
        height: int64 [n], at least 1.
        width: int64 [n].
    """

    flip: Tensor
    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    def __getitem__(self, part: slice) -> Boxes:
        return Boxes(
            self.flip[part], self.top[part], self.left[part], self.height[part], self.width[part]
        )


def draw_crop_flip(
    stream: Stream, sample_ids: Tensor, pad: int, room: tuple[int, int] = (0, 0)
) -> Draws:  # fmt: skip
    """Crop offsets and flips of samples, a function of (stream, id) alone.

    Args:
        stream: The augmentation stream of one epoch.
        sample_ids: int64 [n].
        pad: Pixels of reflection on each side.
        room: Lines and columns by which the image exceeds the crop.
    """
    bits = stream.bits(sample_ids)
    top = (((bits >> 1) & 0xFFFF) * (2 * pad + room[0] + 1)) >> 16
    left = (((bits >> 17) & 0xFFFF) * (2 * pad + room[1] + 1)) >> 16
    return Draws((bits & 1).bool(), top, left)


def draw_resized_crop(stream: Stream, sample_ids: Tensor, height: int, width: int) -> Boxes:
    """Boxes as torchvision's ``RandomResizedCrop`` draws them, all samples at once.

    The area is uniform in ``SCALE`` of the image, the proportions log-uniform in ``RATIO``; the
    first of ten boxes that fits is taken, else the largest central one within the proportions.

    Args:
        stream: The augmentation stream of one epoch.
        sample_ids: int64 [n].
        height: Of the stored image.
        width: Of the stored image.
    """
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    box_w = min(width, round(height * RATIO[1]))
    box_h = min(height, round(width / RATIO[0]))
    tall, wide = torch.full_like(sample_ids, box_h), torch.full_like(sample_ids, box_w)
    top = torch.full_like(sample_ids, (height - box_h) // 2)
    left = torch.full_like(sample_ids, (width - box_w) // 2)
    found = torch.zeros_like(sample_ids, dtype=torch.bool)
    for number in range(_TRIES):
        attempt = stream.child("box", number)
        scale, shape, down, across = (
            attempt.child(name).uniform_at(sample_ids)
            for name in ("scale", "shape", "down", "across")
        )
        area = height * width * (SCALE[0] + (SCALE[1] - SCALE[0]) * scale)
        ratio = (low + (high - low) * shape).exp()
        w, h = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
        fits = ~found & (w > 0) & (h > 0) & (w <= width) & (h <= height)
        tall, wide = torch.where(fits, h, tall), torch.where(fits, w, wide)
        top = torch.where(fits, (down * (height - h + 1)).long(), top)
        left = torch.where(fits, (across * (width - w + 1)).long(), left)
        found |= fits
    return Boxes((stream.bits(sample_ids) & 1).bool(), top, left, tall, wide)


def resized_crop(x: Tensor, boxes: Boxes, height: int, width: int) -> Tensor:
    """Cuts every image's box and brings it to one size, bilinear without antialiasing, then
    flips. Pixels stay whole levels, as those of image libraries do.

    On CPUs images are resized one by one in whole numbers, in a fifth of the time; elsewhere one
    ``grid_sample`` serves the batch. The two differ by at most one level, in a sixth of the pixels.

    Args:
        x: uint8 [B, channels, H, W].
        boxes: Of these B images.
        height: Wanted.
        width: Wanted.

    Returns:
        [B, channels, height, width]: uint8 on CPUs, elsewhere float32.

    Source:
        ``torchvision.transforms.v2.functional.resized_crop`` on uint8 tensors, which it equals on
        CPUs.
    """
    crops = crops_one_by_one if x.device.type == "cpu" else crops_at_once
    return crops(x, boxes, height, width)


def crops_one_by_one(x: Tensor, boxes: Boxes, height: int, width: int) -> Tensor:
    """``resized_crop`` in whole numbers, for CPUs."""
    made = x.new_empty(len(x), x.shape[1], height, width)
    places = torch.stack([boxes.top, boxes.left, boxes.height, boxes.width, boxes.flip.long()], 1)
    for image, target, (top, left, h, w, flip) in zip(x, made, places.tolist(), strict=True):
        part = image[None, :, top : top + h, left : left + w]
        part = part.contiguous(memory_format=torch.channels_last)
        part = F.interpolate(part, (height, width), mode="bilinear", align_corners=False)[0]
        target.copy_(part.flip(2) if flip else part)
    return made


def crops_at_once(x: Tensor, boxes: Boxes, height: int, width: int) -> Tensor:
    """``resized_crop`` for the whole batch in a few launches, for cards."""

    def place(size: int, first: Tensor, extent: Tensor, whole: int, flip: Tensor | None) -> Tensor:
        step = torch.arange(size, device=x.device, dtype=torch.float32) + 0.5
        steps = step if flip is None else torch.where(flip[:, None], size - step, step)
        begin, length = first[:, None].float(), extent[:, None].float()
        at = begin + steps * (length / size) - 0.5
        at = torch.minimum(torch.maximum(at, begin), begin + length - 1)
        return (2 * at + 1) / whole - 1

    down = place(height, boxes.top, boxes.height, x.shape[2], None)
    across = place(width, boxes.left, boxes.width, x.shape[3], boxes.flip)
    grid = torch.stack(
        [across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], dim=3
    )
    return F.grid_sample(x.float(), grid, padding_mode="border", align_corners=False).round_()


def centre_crop(x: Tensor, height: int, width: int) -> Tensor:
    """The central part of images [..., H, W], at torchvision's offsets."""
    top, left = round((x.shape[-2] - height) / 2.0), round((x.shape[-1] - width) / 2.0)
    return x[..., top : top + height, left : left + width]


def reflection(size: int, pad: int, device: torch.device) -> Tensor:
    """Source position of each of size + 2 pad positions under reflection (edge not repeated)."""
    position = torch.arange(-pad, size + pad, device=device).abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position)
