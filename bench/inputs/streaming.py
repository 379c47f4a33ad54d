"""Streamed inputs: worker processes decode the images of an epoch in its order, ahead of the
training; crops, flips and normalisation stay batched operations on the device.

A streamed run equals the resident run of the same pixels bit for bit: draws depend on the sample
alone, and the operations on a batch are the same.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from prunebench.bench.inputs.crops import Boxes, Draws
from prunebench.bench.inputs.view import Inputs, View, shared_inputs
from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.images.pixels import default_workers
from prunebench.datasets.source import RawData
from prunebench.errors import InputError
from prunebench.rng import Stream

#: Images that one worker decodes at a time, and parts of that size that each works ahead.
CHUNK, AHEAD = 16, 4
_SHARED = "/dev/shm"

Refusal = tuple[str, str, str]


def open_inputs(
    x: Tensor | ImageFiles, raw: RawData, shared: bool = False, **options: Any
) -> Source:
    """The inputs of an array, resident or streamed; options as in ``View``.

    Args:
        x: Pixels, or where they are.
        raw: The data set.
        shared: Whether all runs of the process read one resident copy.
    """
    if isinstance(x, ImageFiles):
        return StreamedInputs(x, raw, **options)
    return shared_inputs(x, raw, **options) if shared else Inputs(x, raw, **options)


class StreamedInputs(View):
    """Encoded images and how a batch of them becomes network input; see ``View``.

    Args:
        files: The images.
    """

    def __init__(self, files: ImageFiles, raw: RawData, **options: Any) -> None:
        super().__init__(tuple(files.shape[1:]), True, raw, **options)
        self.readers = Readers(files, pin=self.device.type == "cuda")

    def pixels(self, sample_ids: Tensor) -> Tensor:
        """Images as stored, decoded in this process: for a few."""
        return self.readers.files.read(sample_ids.cpu()).to(self.device)

    def unaugmented(self, sample_ids: Tensor) -> Tensor:
        """The unaugmented view of a few samples."""
        return self.centre(self.pixels(sample_ids))

    def augmented_batches(self, sample_ids: Tensor, stream: Stream) -> StreamedEpoch:
        """The training view of samples in order."""
        return StreamedEpoch(self, sample_ids, self.draw(stream, sample_ids))

    def unaugmented_batches(self, sample_ids: Tensor) -> StreamedEpoch:
        """The unaugmented view of samples in order."""
        return StreamedEpoch(self, sample_ids, None)

    def close(self) -> None:
        """Ends the worker processes."""
        self.readers.close()


class StreamedEpoch:
    """Batches of one epoch, read in order; the workers decode ahead from the first on."""

    def __init__(
        self, inputs: StreamedInputs, sample_ids: Tensor, draws: Draws | Boxes | None
    ) -> None:
        self.inputs, self.sample_ids, self.draws = inputs, sample_ids, draws
        self._parts: Iterator[Tensor] | None = None
        self._waiting: deque[Tensor] = deque()
        self._ready = 0
        self._span = (0, 0)
        self._current = torch.empty((0, *inputs.stored), dtype=torch.uint8, device=inputs.device)

    def batch(self, start: int, stop: int) -> Tensor:
        """Network input of samples start..stop of the order."""
        inputs, x = self.inputs, self.pixels(start, stop)
        if self.draws is None:
            return inputs.centre(x)
        draws = self.draws[start:stop]
        if isinstance(draws, Boxes):
            return inputs.boxed(x, draws)
        own = torch.arange(len(x), device=x.device)
        return inputs.cropped(inputs.packed(x), own, draws)

    def pixels(self, start: int, stop: int) -> Tensor:
        """The same images as stored: uint8 [B, 3, S, S] on the device.

        Raises:
            ValueError: The samples do not follow those of the call before (a repeat may).
            InputError: An image is damaged; the line names its file.
        """
        if (start, stop) == self._span:
            return self._current
        if start != self._span[1]:
            raise ValueError(f"streamed batches come in order: {start} after {self._span[1]}")
        x = self._take(stop - start).to(self.inputs.device, non_blocking=True)
        self._span, self._current = (start, stop), x
        return x

    def _take(self, n: int) -> Tensor:
        if self._parts is None:
            self._parts = self.inputs.readers.read(self.sample_ids.cpu().numpy())
        while self._ready < n:
            part = next(self._parts)
            self._waiting.append(part)
            self._ready += len(part)
        taken: list[Tensor] = []
        missing = n
        while missing:
            part = self._waiting.popleft()
            if len(part) > missing:
                self._waiting.appendleft(part[missing:])
                part = part[:missing]
            taken.append(part)
            missing -= len(part)
        self._ready -= n
        if len(taken) == 1:
            return taken[0]
        if not taken:
            return torch.empty((0, *self.inputs.stored), dtype=torch.uint8)
        out = torch.empty((n, *self.inputs.stored), dtype=torch.uint8,
                          pin_memory=self.inputs.readers.pin)  # fmt: skip
        return torch.cat(taken, out=out)


class _Decoder(Dataset[Any]):
    """Decodes images in a worker; an ``InputError`` is returned as its three texts."""

    def __init__(self, files: ImageFiles) -> None:
        self.files = files

    def __getitem__(self, sample_ids: NDArray[np.int64]) -> Tensor | Refusal:
        try:
            return self.files.read(sample_ids)
        except InputError as error:
            return error.what, error.where, error.accepted


class _Requests(Sampler[Any]):
    """The parts of the present epoch."""

    def __init__(self) -> None:
        self.parts: list[NDArray[np.int64]] = []

    def __iter__(self) -> Iterator[Any]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


def _same(value: Any) -> Any:
    return value


class Readers:
    """Worker processes that decode images, started on first use and kept between epochs.

    Args:
        files: The images; ``files.workers`` processes, 0 decodes in this one.
        pin: Whether pixels arrive in pinned memory.
    """

    def __init__(self, files: ImageFiles, pin: bool = False) -> None:
        self.files, self.pin = files, pin
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self.workers = (
            max(1, default_workers() // local) if files.workers is None else files.workers
        )
        self._requests = _Requests()
        self._loader: DataLoader[Any] | None = None
        self._chunk = CHUNK

    def read(self, sample_ids: NDArray[np.int64]) -> Iterator[Tensor]:
        """Decodes images in order; a second call ends the first.

        Args:
            sample_ids: int64 [n].

        Yields:
            uint8 [k, 3, S, S], k at most ``CHUNK``.

        Raises:
            InputError: An image is damaged, or shared memory is too small for one image each.
        """
        if self.workers == 0:
            for begin in range(0, len(sample_ids), CHUNK):
                yield self.files.read(sample_ids[begin : begin + CHUNK])
            return
        loader = self._start()
        size = self._chunk
        self._requests.parts = [
            sample_ids[b : b + size].copy() for b in range(0, len(sample_ids), size)
        ]
        for part in loader:
            if not isinstance(part, Tensor):
                what, where, accepted = cast(Refusal, part)
                raise InputError(what, where=where, accepted=accepted)
            yield part

    def _start(self) -> DataLoader[Any]:
        if self._loader is None:
            self._chunk = self._fitting_chunk()
            forks = "fork" in multiprocessing.get_all_start_methods()
            self._loader = DataLoader(
                _Decoder(self.files),
                batch_size=None,
                sampler=self._requests,
                num_workers=self.workers,
                collate_fn=_same,
                pin_memory=self.pin,
                # Its seeds would be drawn from the global generator.
                generator=torch.Generator(),
                multiprocessing_context="fork" if forks else None,
                prefetch_factor=AHEAD,
                persistent_workers=True,
            )
        return self._loader

    def _fitting_chunk(self) -> int:
        """Images per part, so that all parts being decoded fit into shared memory."""
        if not os.path.isdir(_SHARED):
            return CHUNK
        free = shutil.disk_usage(_SHARED).free
        image = math.prod(self.files.shape[1:])
        fitting = int(0.5 * free) // (self.workers * (AHEAD + 1) * image)
        if fitting < 1:
            raise InputError(
                f"{free >> 20} MiB of shared memory for {self.workers} decoding processes",
                where=_SHARED,
                accepted="more shared memory, fewer workers, or workers=0",
            )
        return min(CHUNK, fitting)

    def close(self) -> None:
        """Ends the processes; the next ``read`` starts new ones."""
        loader, self._loader = self._loader, None
        iterator = getattr(loader, "_iterator", None)
        if iterator is not None and hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()


Source = Inputs | StreamedInputs
