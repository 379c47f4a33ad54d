"""Several processes on one run (``torchrun``): who trains what, and how it comes together.

Every process holds all tables and computes the same plan; process r takes positions r::R of each
batch of it. Gradients are summed so that the union is the step of one process, weights and uneven
tails included, which is why the averaging of DistributedDataParallel (equal shares, none of them
empty) is not used. Losses reach the other tables once per epoch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from prunebench.errors import InputError
from prunebench.rng import Stream

T = TypeVar("T")
Bounds = list[tuple[int, int]]

# A dead process is noticed by torchrun and by its broken connection; waiting for one that scores
# or writes alone is no fault.
_PATIENCE = timedelta(days=7)


class Lost(InputError):
    """Another process of the run is gone, or does not agree; no result of the cell."""


@dataclass(frozen=True)
class World:
    """This process among those of one run.

    Attributes:
        rank: Of this process.
        size: Number of processes.
        carrier: Where tensors are brought to be exchanged; None: they are exchanged where they lie.
    """

    rank: int = 0
    size: int = 1
    carrier: torch.device | None = None

    @property
    def is_single(self) -> bool:
        """Whether it is the only one."""
        return self.size == 1

    def shares(self, bounds: Sequence[tuple[int, int]]) -> tuple[Tensor, Bounds]:
        """What this process takes of each batch: positions r::R.

        Args:
            bounds: (start, stop) of each batch in the plan.

        Returns:
            int64 [n], positions in the plan; and per batch (start, stop) in these.
        """
        parts = [
            torch.arange(min(start + self.rank, stop), stop, self.size) for start, stop in bounds
        ]
        local: Bounds = []
        begin = 0
        for part in parts:
            local.append((begin, begin + len(part)))
            begin += len(part)
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64), local

    def owned(self, chosen: Tensor) -> Tensor:
        """Positions in this process's share of a batch, of the chosen positions of the batch."""
        if self.is_single:
            return chosen
        return chosen[chosen % self.size == self.rank] // self.size

    def part(self, n: int) -> slice:
        """A contiguous share of n rows for evaluation; see ``gather_rows``."""
        if self.is_single:
            return slice(0, n)
        each = -(-n // self.size)
        return slice(min(n, self.rank * each), min(n, (self.rank + 1) * each))

    def gather_rows(self, part: Tensor, n: int) -> Tensor:
        """All n rows from everybody's ``part``, the same on all."""
        if self.is_single:
            return part
        return torch.cat(self._gather(part, -(-n // self.size)))[:n]

    def gather_interleaved(self, part: Tensor, n: int) -> Tensor:
        """All n rows of a batch from everybody's r::R, the same on all."""
        if self.is_single:
            return part
        gathered = self._gather(part, -(-n // self.size))
        return torch.stack(gathered, dim=1).flatten(0, 1)[:n]

    def _gather(self, part: Tensor, rows: int) -> list[Tensor]:
        padded = part.new_zeros((rows, *part.shape[1:]))
        padded[: len(part)] = part
        carried = padded.to(self.carrier or padded.device)
        parts = [torch.empty_like(carried) for _ in range(self.size)]
        _call(lambda: dist.all_gather(parts, carried))
        return [found.to(part.device) for found in parts]

    def add(self, x: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        return self._reduced(x, dist.ReduceOp.SUM)

    def largest(self, x: Tensor) -> Tensor:
        """The element-wise maximum over all processes, in place."""
        return self._reduced(x, dist.ReduceOp.MAX)

    def _reduced(self, x: Tensor, how: Any) -> Tensor:
        if self.is_single:
            return x
        carried = x.to(self.carrier or x.device)
        _call(lambda: dist.all_reduce(carried, how))
        return x if carried is x else x.copy_(carried)

    def merge(self, tables: Mapping[str, Tensor], visited: Tensor, mine: Tensor) -> None:
        """Brings one epoch's entries of per-sample tables to every process.

        Args:
            tables: float [N] or [N, C] each, written in place.
            visited: int64 [n], all positions trained or scored in the epoch, each once.
            mine: int64 [m], those that this process wrote.

        Raises:
            Lost: A position was written by none or by two.
        """
        if self.is_single or not len(visited):
            return
        first = next(iter(tables.values()))
        seen = torch.zeros(len(first), dtype=torch.bool, device=first.device)
        seen[mine] = True
        own = seen[visited]
        rows = [table[visited].view(len(visited), -1).t() for table in tables.values()]  # [C, n]
        mine_alone = [torch.where(own, row, 0.0) for row in rows]
        both = self.add(torch.cat([*mine_alone, own.float()[None]]))
        if not bool((both[-1] == 1).all()):
            raise Lost("the processes did not share the epoch's samples exactly once")
        parts = torch.split(both[:-1], [len(row) for row in rows])
        for table, part in zip(tables.values(), parts, strict=True):
            table.index_copy_(0, visited, part.t().reshape(-1, *table.shape[1:]))

    def agree(self, what: str, values: Iterable[Tensor | float | None]) -> None:
        """Checks that every process holds the same bytes.

        Raises:
            Lost: One of them differs.
        """
        if self.is_single:
            return
        digest = hashlib.blake2b(digest_size=7)
        for value in values:
            data = value.detach().cpu().contiguous() if isinstance(value, Tensor) else repr(value)
            digest.update(data.encode() if isinstance(data, str) else data.numpy().tobytes())
        own = torch.tensor([[int.from_bytes(digest.digest(), "big")]])
        found = self.gather_rows(own, self.size).flatten().tolist()
        if len(set(found)) > 1:
            odd = [rank for rank, value in enumerate(found) if value != found[0]]
            raise Lost(
                f"{what} of process {odd[0]} differs from that of process 0",
                where="torchrun",
                accepted="the same code, data and kind of device in every process",
            )

    def rank_stream(self, stream: Stream) -> Stream:
        """A stream of this process's own; alone, the stream itself."""
        return stream if self.is_single else stream.child("process", self.rank)


def _call(collective: Callable[[], T]) -> T:
    try:
        return collective()
    except RuntimeError as error:
        raise Lost(
            "another process of the run is gone; its own line says why",
            where="torchrun",
            accepted=f"the same command again ({str(error).splitlines()[0][:80]})",
        ) from None


class _State:
    """The group of this process."""

    world = World()
    leading = False


def current() -> World:
    """The world of this process; of size 1 unless ``start`` was called under torchrun."""
    return _State.world


def joined() -> World:
    """The world of torch's default group, whoever began it: that of a loop of one's own.

    A group that only exchanges tensors of a device (``nccl``) gets them there.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return World()
    places = [pair.partition(":")[0] for pair in dist.get_backend_config().split(",")]
    carrier = None if "cpu" in places else torch.device(places[0])
    return World(dist.get_rank(), dist.get_world_size(), carrier)


def start() -> World:
    """Joins the processes that torchrun started.

    Raises:
        InputError: The process was not started by torchrun, or the group does not form.
    """
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local = int(os.environ.get("LOCAL_RANK", "0"))
    except (KeyError, ValueError):
        raise InputError(
            "not started by torchrun",
            where="prunebench.bench.ddp",
            accepted="torchrun --nproc_per_node=2 -m prunebench.bench.ddp run ...",
        ) from None
    if size > 1:
        cards = torch.cuda.device_count() if dist.is_nccl_available() else 0
        if cards > local:
            torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl" if cards > local else "gloo"
        try:
            dist.init_process_group(backend, timeout=_PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"the process group does not form ({error})", where="torchrun"
            ) from None
        _State.world = World(rank, size)
    return _State.world


def broadcast_job(job: object | None) -> None:
    """Process 0 asks the others to train with it; None ends them.

    Raises:
        Lost: An earlier run broke off, so the others no longer listen.
    """
    if _State.world.is_single:
        return
    if _State.leading:
        raise Lost("an earlier run of these processes broke off", where="torchrun",
                   accepted="the same command again")  # fmt: skip
    # Marked after the broadcast: a job that cannot be sent leaves the others listening.
    _call(lambda: dist.broadcast_object_list([job], src=0, device=torch.device("cpu")))
    _State.leading = job is not None


def job_done() -> None:
    """Process 0: the announced job ended the same way everywhere."""
    _State.leading = False


def receive_job() -> Any:
    """The other processes: the next job, None at the end."""
    box: list[Any] = [None]
    _call(lambda: dist.broadcast_object_list(box, src=0, device=torch.device("cpu")))
    return box[0]


def abandoned() -> bool:
    """Whether a job broke off half-way, so that the others may wait in it for ever."""
    return _State.leading


def finish() -> None:
    """Leaves the group."""
    if not _State.world.is_single:
        dist.destroy_process_group()
        _State.world = World()
