"""Where captured steps read an epoch: a chunk of it at a time, one row a step, at fixed addresses.

Images are augmented and normalised a chunk at once, in a few calls launched between two replays,
and stored as the network's first layer takes them; a step then finds its batch by one counter, in
one call for each table. A chunk is bounded in bytes, so that large data and several interleaved
runs fit into memory. Nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prunebench.bench.inputs.strong import DRAWS, strong_draws
from prunebench.bench.train.capture.keyed_streams import signed_keys
from prunebench.bench.train.epoch_steps import EpochSteps
from prunebench.bench.train.evaluate import sent
from prunebench.bench.train.setup import RunView
from prunebench.rng import Stream

#: Bytes of network input in one chunk; it holds one step at least. Making it takes about seven
#: times as much for a moment. 42 steps of 128 images of 32 x 32 pixels in bf16.
CHUNK_BYTES = 32 << 20


class EpochBuffers:
    """An epoch on its way into captured steps.

    Args:
        run: Gives labels and batch size.
        x: Network input of the run's first batch, for the steps of the warm-up.
        dtype: What network input is stored in.
        kept: Samples that are trained of each batch, for batch-level methods; 0 for the others.
        names: Of the draws of batch-level selection.
    """

    def __init__(
        self,
        run: RunView,
        x: Tensor,
        dtype: torch.dtype,
        kept: int,
        names: tuple[str, ...],
    ) -> None:
        self.device, self.names, self.inputs = x.device, names, run.inputs
        self.shape, self.stride, size = x.shape, x.stride(), len(x)
        bytes_of_step = x.numel() * dtype.itemsize
        steps = max(1, min(len(run.sample_ids) // size, CHUNK_BYTES // bytes_of_step))

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros((steps, *shape), dtype=dtype, device=x.device)

        #: Network input; a row holds a batch as it lies in memory.
        self.x = zeros(x.numel(), dtype=dtype)
        #: Positions, sample ids and labels.
        self.ids = zeros(3, size)
        self.weights = zeros(size, dtype=torch.float32).fill_(1.0)
        #: Learning rate and momentum.
        self.rates = zeros(2, dtype=torch.float32)
        self.select_keys = zeros(len(names))
        #: Positions that were chosen, written by the steps.
        self.chosen = zeros(kept)
        #: What second views draw, where the criterion wants them.
        self.strong: Tensor | None = None
        if run.criterion.views == 2:
            self.strong = zeros(len(DRAWS), size, dtype=torch.float32)
        self._draw(run.sample_ids[:size], Stream(0))
        #: Row of the next step.
        self.step = torch.zeros(1, dtype=torch.int64, device=x.device)
        self._write(x, torch.arange(size, device=x.device), run.sample_ids[:size],
                    run.labels[:size])  # fmt: skip
        self._epoch: EpochSteps | None = None
        self._choices: list[Tensor] = []
        self._next = self._end = 0  # step of the epoch: first of the next chunk, end of the last
        self._row = self._rows = self._handed = 0  # of the chunk: trained, filled, handed over

    def rewind(self) -> None:
        """Sets the counter to the chunk's first step."""
        self.step.zero_()

    def batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Network input, ids [3, B], weights and draws of second views [n, B], or None for these,
        of the step at the counter."""
        x = self.x.index_select(0, self.step).as_strided(self.shape, self.stride)
        ids, weights = (table.index_select(0, self.step)[0] for table in (self.ids, self.weights))
        strong = None if self.strong is None else self.strong.index_select(0, self.step)[0]
        return x, ids, weights, strong

    def begin(
        self, epoch: EpochSteps, stream: Callable[[str, int], Stream], first: int, count: int
    ) -> None:
        """Notes an epoch, whose chunks are filled as they are reached.

        Args:
            epoch: What to train.
            stream: Gives the run's stream for a purpose in a step of the epoch.
            first: The step to begin with.
            count: How many steps, all of them whole batches.
        """
        self._epoch, self._next, self._end = epoch, first, first + count
        self._row = self._rows = self._handed = 0
        self._choices.clear()  # of an epoch that was broken off
        self._rates = self._sent(epoch.rates, torch.float32)
        self._strong = stream("strong", 0)
        if self.names:
            steps = range(first + count)
            self._keys = self._sent([signed_keys(stream("select", i), self.names) for i in steps])

    def advance(self) -> None:
        """Makes the next step's row ready: fills a chunk where the last one is used up."""
        if self._row == self._rows:
            self._collect()
            self._fill()
        self._row += 1

    def end(self) -> None:
        """Frees what is left of the epoch; its last chunk stays."""
        self._epoch = None

    def choices(self) -> Tensor:
        """Positions that the steps of a batch-level method have chosen since the last call."""
        self._collect()
        made, self._choices = self._choices, []
        return torch.cat(made) if made else self.chosen.new_empty(0)

    def _collect(self) -> None:
        if self._handed < self._row:
            self._choices.append(self.chosen[self._handed : self._row].flatten().clone())
            self._handed = self._row

    def _fill(self) -> None:
        epoch, first = self._epoch, self._next
        assert epoch is not None
        last = self._next = min(first + len(self.x), self._end)
        self._row, self._rows, self._handed = 0, last - first, 0
        start, stop = epoch.bounds[first][0], epoch.bounds[last - 1][1]
        ids = epoch.positions, epoch.sample_ids, epoch.labels
        x = epoch.inputs.batch(start - epoch.done, stop - epoch.done)
        self._write(x, *(table[start:stop] for table in ids))
        if epoch.weights is None:
            self.weights.fill_(1.0)
        else:
            self.weights[: self._rows].view(-1).copy_(epoch.weights[start:stop])
        self._draw(epoch.sample_ids[start:stop], self._strong)
        self.rates[: self._rows].copy_(self._rates[first:last])
        if self.names:
            self.select_keys[: self._rows].copy_(self._keys[first:last])
        self.rewind()
        if last == self._end:
            self.end()

    def _write(self, x: Tensor, *ids: Tensor) -> None:
        """Input and ids of as many batches as there are, rounded once where they are rounded."""
        steps = len(x) // self.shape[0]
        rows = self.x.as_strided((steps, *self.shape), (self.x.shape[1], *self.stride))
        rows.copy_(x.view(steps, *self.shape))
        for column, table in enumerate(ids):
            self.ids[:steps, column].copy_(table.view(steps, -1))

    def _draw(self, sample_ids: Tensor, stream: Stream) -> None:
        """What the second views of as many batches draw, where the criterion wants them."""
        if self.strong is not None:
            draws = strong_draws(self.inputs, sample_ids, stream)
            rows = draws.view(len(DRAWS), -1, self.shape[0]).transpose(0, 1)
            self.strong[: len(rows)].copy_(rows)

    def _sent(self, values: object, dtype: torch.dtype = torch.int64) -> Tensor:
        return sent(values, self.device, dtype)
