"""Stored samples to network input, in memory: gather, crop, flip and normalise in batches."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, Protocol

import torch
from torch import Tensor

from prunebench.bench.inputs.crops import (
    Boxes,
    Draws,
    centre_crop,
    draw_crop_flip,
    draw_resized_crop,
    reflection,
    resized_crop,
)
from prunebench.datasets.source import RawData
from prunebench.errors import InputError
from prunebench.rng import Stream

#: Below this many bytes the whole epoch is gathered at once; batches are then views.
_WHOLE_EPOCH = 64 << 20
#: Samples of one eval-mode batch at most, and pixels of it (with a least number of samples) where
#: they are images. On a CPU what a layer writes should still be in its caches when the next one
#: reads it; a card has many cores to fill.
_EVAL_BATCH, _EVAL_ON_CPU, _EVAL_ON_CARD = 2048, (64 * 32 * 32, 8), (2048 * 64 * 64, 1)
#: Arrays kept for all runs of a process: training and test split of two data sets.
_SHARED = 4


class Batches(Protocol):
    """Samples in a fixed order; batches are asked for from the first to the last."""

    def batch(self, start: int, stop: int) -> Tensor:
        """Network input of samples start..stop of that order."""

    def pixels(self, start: int, stop: int) -> Tensor:
        """The same as stored: uint8 [B, channels, H, W], vectors, or numbers of words."""


class View:
    """How stored samples become network input: crop, flip, normalisation.

    Args:
        stored: Shape of one stored sample.
        image: Whether samples are uint8 images.
        raw: The data set, for crop, mean and standard deviation.
        augment: ``none``, ``crop_flip`` or ``resized_crop``.
        pad: Reflection for the crop.
        device: Where batches are made.
        dtype: Of the network's input.
        channels_last: Memory format of image batches.

    Raises:
        InputError: The crop is larger than the images.
    """

    def __init__(
        self,
        stored: tuple[int, ...],
        image: bool,
        raw: RawData,
        *,
        augment: str = "none",
        pad: int = 4,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
    ) -> None:
        self.image, self.stored = image, stored
        self.augment = augment if image else "none"
        self.device = torch.device(device)
        self.dtype, self.channels_last = dtype, channels_last
        self.pad = min(pad, *(side - 1 for side in stored[1:])) if image else 0
        crop = getattr(raw, "crop", None) if image else None
        self.shape = stored if crop is None else (stored[0], crop, crop)
        if crop is not None and crop > min(stored[1:]):
            raise InputError(
                f"a crop of {crop} pixels", where="crop", accepted=f"at most {min(stored[1:])}"
            )
        #: Whether samples are shifted and scaled: all images, and vectors of known statistics.
        self.standardised = image or bool(raw.mean)
        if not image:
            self.shift = torch.tensor(raw.mean, dtype=torch.float32, device=device)
            self.scale = 1.0 / torch.tensor(raw.std, dtype=torch.float32, device=device)
            return
        std = torch.tensor(raw.std, dtype=torch.float32, device=device) * 255.0
        mean = torch.tensor(raw.mean, dtype=torch.float32, device=device) * 255.0
        self.scale = (1.0 / std).view(1, -1, 1, 1)
        self.shift = (-mean / std).view(1, -1, 1, 1)
        height, width = stored[1:]
        self.mirror_y = reflection(height, self.pad, self.device) * width
        self.mirror_x = reflection(width, self.pad, self.device)
        self.y = torch.arange(self.shape[1], device=device)
        self.xs = torch.arange(self.shape[2], device=device)

    @property
    def eval_batch(self) -> int:
        """Samples of one eval-mode batch."""
        if not self.image:
            return _EVAL_BATCH
        pixels, least = _EVAL_ON_CPU if self.device.type == "cpu" else _EVAL_ON_CARD
        return min(_EVAL_BATCH, max(least, pixels // math.prod(self.shape[1:])))

    def normalise(self, x: Tensor) -> Tensor:
        """Pixels to zero mean and unit variance per channel; vectors likewise per feature where
        statistics are given. Other vectors and the numbers of words stay as they are."""
        if not self.image:
            x = (x - self.shift) * self.scale if self.standardised else x
            return x.to(self.dtype) if x.is_floating_point() else x
        y = torch.empty(x.shape, dtype=torch.float32, device=x.device).copy_(x)
        y.mul_(self.scale).add_(self.shift)
        if self.channels_last:
            y = y.contiguous(memory_format=torch.channels_last)
        return y.to(self.dtype)

    def centre(self, x: Tensor) -> Tensor:
        """The unaugmented view of stored samples: the central crop, normalised."""
        if self.shape != self.stored:
            x = centre_crop(x, *self.shape[1:])
        return self.normalise(x)

    def draw(self, stream: Stream, sample_ids: Tensor) -> Draws | Boxes | None:
        """Random crops and flips of samples; None where the view has no augmentation.

        Args:
            stream: The augmentation stream of one epoch.
            sample_ids: int64 [n].
        """
        height, width = self.stored[1:] if self.image else (0, 0)
        if self.augment == "crop_flip":
            room = (height - self.shape[1], width - self.shape[2])
            return draw_crop_flip(stream, sample_ids, self.pad, room)
        if self.augment == "resized_crop":
            return draw_resized_crop(stream, sample_ids, height, width)
        return None

    def packed(self, x: Tensor) -> Tensor:
        """Images [N, channels, H, W] as one vector of pixels, for ``cropped``."""
        flat = x.permute(0, 2, 3, 1)
        if self.stored[0] == 3:
            # One int32 per pixel: a gather of 32 bits costs about what one of 8 bits does.
            flat = torch.cat([flat, torch.zeros_like(flat[..., :1])], dim=3)
            return flat.contiguous().view(torch.int32).reshape(-1)
        return flat.reshape(-1, self.stored[0]).squeeze(1).contiguous()

    def cropped(self, pixels: Tensor, images: Tensor, draws: Draws) -> Tensor:
        """Random crop with reflection and horizontal flip, then normalisation.

        Args:
            pixels: From ``packed``.
            images: int64 [B], which of its images.
            draws: Of these B samples.
        """
        channels, height, width = self.stored
        lines, across = self.shape[1:]
        columns = torch.where(draws.flip[:, None], across - 1 - self.xs, self.xs)
        columns = (
            self.mirror_x[draws.left[:, None] + columns] + (images * (height * width))[:, None]
        )
        starts = self.mirror_y[draws.top[:, None] + self.y]
        places = (starts[:, :, None] + columns[:, None, :]).view(-1)
        picked = pixels.index_select(0, places)
        shape = (len(images), lines, across, 4 if channels == 3 else channels)
        values = (picked.view(torch.uint8) if channels == 3 else picked).view(shape)
        return self.normalise(values[..., :channels].permute(0, 3, 1, 2))

    def boxed(self, x: Tensor, boxes: Boxes) -> Tensor:
        """Random resized crop and flip of stored images, then normalisation."""
        return self.normalise(resized_crop(x, boxes, *self.shape[1:]))


class Inputs(View):
    """One resident array and how a batch of it becomes network input; see ``View``.

    Args:
        x: uint8 [N, channels, H, W] images, float32 [N, D] vectors or int32 [N, L] texts.
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
        super().__init__(
            tuple(x.shape[1:]), x.dtype == torch.uint8, raw,
            augment=augment, pad=pad, device=device, dtype=dtype, channels_last=channels_last,
        )  # fmt: skip
        self.x = x.to(device)
        if self.augment == "crop_flip":
            self._pixels = self.packed(self.x)

    def pixels(self, sample_ids: Tensor) -> Tensor:
        """Samples as stored."""
        return self.x[sample_ids]

    def unaugmented(self, sample_ids: Tensor) -> Tensor:
        """The unaugmented view of samples."""
        return self.centre(self.x[sample_ids])

    def augmented(self, sample_ids: Tensor, draws: Draws | Boxes) -> Tensor:
        """The training view of samples."""
        if isinstance(draws, Boxes):
            return self.boxed(self.x[sample_ids], draws)
        return self.cropped(self._pixels, sample_ids, draws)

    def augmented_batches(self, sample_ids: Tensor, stream: Stream) -> EpochInputs:
        """The training view of samples in order."""
        return EpochInputs(self, sample_ids, self.draw(stream, sample_ids))

    def unaugmented_batches(self, sample_ids: Tensor) -> EpochInputs:
        """The unaugmented view of samples in order."""
        return EpochInputs(self, sample_ids, None)

    def close(self) -> None:
        """Nothing to release."""


class EpochInputs:
    """Batches of one epoch; draws for all its samples are made at once."""

    def __init__(self, inputs: Inputs, sample_ids: Tensor, draws: Draws | Boxes | None) -> None:
        self.inputs, self.sample_ids, self.draws = inputs, sample_ids, draws
        self.whole: Tensor | None = None
        if draws is None and len(sample_ids) * math.prod(inputs.shape) * 4 <= _WHOLE_EPOCH:
            self.whole = inputs.unaugmented(sample_ids)

    def batch(self, start: int, stop: int) -> Tensor:
        """Network input of samples start..stop of the order."""
        if self.whole is not None:
            return self.whole[start:stop]
        part = slice(start, stop)
        if self.draws is None:
            return self.inputs.unaugmented(self.sample_ids[part])
        return self.inputs.augmented(self.sample_ids[part], self.draws[part])

    def pixels(self, start: int, stop: int) -> Tensor:
        """The same samples as stored."""
        return self.inputs.pixels(self.sample_ids[start:stop])


# The host's array is kept too, so that no other array gets its address.
_shared: OrderedDict[tuple[Any, ...], tuple[Inputs, Tensor]] = OrderedDict()


def shared_inputs(x: Tensor, raw: RawData, **options: Any) -> Inputs:
    """The inputs of an array, one copy on the device for every run that views it in the same way.

    Args:
        x: The array on the host.
        raw: The data set.
        options: As in ``View``.
    """
    view = (raw.mean, raw.std, getattr(raw, "crop", None) if x.dtype == torch.uint8 else None)
    key = (x.data_ptr(), tuple(x.shape), x.dtype, *view, *sorted(options.items(), key=str))
    if key not in _shared:
        made = Inputs(x, raw, **options)
        if made.device.type == "cuda":
            torch.cuda.synchronize(made.device)  # other streams then find it complete
        _shared[key] = made, x
    _shared.move_to_end(key)
    while len(_shared) > _SHARED:
        _, (old, _) = _shared.popitem(last=False)
        if old.device.type == "cuda":
            torch.cuda.synchronize(old.device)
    return _shared[key][0]
