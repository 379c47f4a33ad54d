"""One epoch in a loop of one's own: its samples in order, and which of them came back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from prunebench.bench.train.distributed.world import World, joined
from prunebench.bench.train.epoch_steps import in_order
from prunebench.bench.train.loss_weight import batch_means
from prunebench.errors import InputError
from prunebench.methods.base import Plan
from prunebench.rng import Stream

_MINUS_ONE = torch.tensor(-1, dtype=torch.int8)


class OwnEpoch:
    """An epoch under way. Everything but the weights lies on the host.

    Args:
        order: int64 [n], positions in the order in which they are trained.
        weights: float [N] on the device of the losses, by position; None for 1.
        to_score: int64 [m], positions to be scored without training.
        size: N.
        world: The processes that share the epoch; process r trains ``order[r::R]`` and scores
            ``to_score[r::R]``.
        lr_factor: On the learning rate of every step.
        batch_weights: Whether the mean of a batch's weights counts for all of it.
    """

    def __init__(
        self,
        order: Tensor,
        weights: Tensor | None,
        to_score: Tensor,
        size: int,
        world: World,
        lr_factor: float = 1.0,
        batch_weights: bool = False,
    ) -> None:
        self.order, self.weights, self.to_score = order, weights, to_score
        self.world, self.step = world, 0
        self.lr_factor, self.batch_weights = lr_factor, batch_weights
        #: Batches trained by this process, and int64 [N], in which of them a sample was; -1: none.
        self.batches, self.batch_of = 0, torch.full((size,), -1, dtype=torch.int64)
        #: 1 for what is in the plan and not trained yet by this process, else 0.
        self.left = torch.zeros(size, dtype=torch.int8)
        self.left[order] = 1
        #: bool [N], what a batch-level method did not choose of this process's batches.
        self.passed = torch.zeros(size, dtype=torch.bool)
        self._own = self._passed = 0
        #: Whether the sampler was asked for this epoch's samples.
        self.handed_out = False
        #: What this process has still to score.
        self.unscored = to_score[world.rank :: world.size]

    @classmethod
    def of_plan(
        cls, plan: Plan, ids: Tensor, stream: Stream, room: int | None, device: torch.device,
        world: World,
    ) -> OwnEpoch:  # fmt: skip
        """A plan in order, cut to the budget and to a multiple of the processes.

        Args:
            plan: The plan.
            ids: int64 [N], by which the order is drawn.
            stream: Of the epoch's order.
            room: Samples that may still be trained; None for any number.
            device: Of the weights.
            world: The processes.

        Raises:
            InputError: There are fewer samples than processes.
        """
        order, weights = in_order(plan, ids.to(plan.indices.device), stream)
        keep = len(order) if room is None else min(room, len(order))
        each = keep // world.size
        if keep and not each:
            raise InputError(
                f"{keep} samples for {world.size} processes", where="Pruning.begin_epoch",
                accepted="a smaller ratio or fewer processes",
            )  # fmt: skip
        order = order[: each * world.size]
        table = None
        if weights is not None:
            table = weights.new_ones(len(ids))
            table[order] = weights[: len(order)]
            table = table.to(device)
        to_score = order[:0] if plan.forward_only is None else plan.forward_only
        asked = float(plan.lr_factor), plan.batch_weights
        return cls(order.cpu(), table, to_score.cpu(), len(ids), world, *asked)

    @property
    def count(self) -> int:
        """Samples that all processes have trained, if each has as many as this one."""
        return self._own * self.world.size

    @property
    def share(self) -> float:
        """Share of the epoch's samples that was trained or passed over."""
        done = (self._own + self._passed) * self.world.size
        return min(1.0, done / max(1, len(self.order)))

    @property
    def remaining(self) -> int:
        """How many samples this process has still to train."""
        if self._passed:
            return int(self._mine().sum())
        return len(range(self.world.rank, len(self.order), self.world.size)) - self._own

    @property
    def trained(self) -> Tensor:
        """int64 [N], 1 for what this process has trained."""
        trained = torch.zeros(len(self.left), dtype=torch.int64)
        trained[self.order] = 1
        return trained - self.left

    def mine(self) -> list[int]:
        """This process's samples that are neither trained nor passed over, in order."""
        self.handed_out = True
        found: list[int] = self.order[self.world.rank :: self.world.size][self._mine()].tolist()
        return found

    def _mine(self) -> Tensor:
        own = self.order[self.world.rank :: self.world.size]
        return (self.left[own] > 0) & ~self.passed[own]

    def pass_over(self, sample: Tensor) -> None:
        """Counts what was not chosen of a batch.

        Args:
            sample: int64 [m], positions.
        """
        here = sample.cpu()
        self._passed += int((~self.passed[here]).sum())
        self.passed[here] = True

    def note(self, sample: Tensor) -> None:
        """Counts a batch as trained. It is called in every step, so it looks at the batch alone.

        Args:
            sample: int64 [B], positions.

        Raises:
            InputError: The sampler was not asked, or one is not in the plan, was trained before or
                is there twice.
        """
        if not self.handed_out:
            raise InputError(
                "the loader has not asked pruning.sampler for this epoch's samples",
                where="Pruning.loss",
                accepted="a loader of pruning.dataset with sampler=pruning.sampler, begun anew in "
                "every epoch",
            )  # fmt: skip
        here = sample.cpu()
        try:
            self.left.index_select(0, here)  # places outside [0, N) end here
            self.left.index_add_(0, here, _MINUS_ONE.expand(len(here)))
            known = not len(here) or int(self.left.index_select(0, here).min()) >= 0
            if not known:
                self.left.index_add_(0, here, _MINUS_ONE.expand(len(here)), alpha=-1)
        except (IndexError, RuntimeError):
            known = False
        if not known:
            raise InputError(
                "samples that this epoch does not train, or has trained", where="Pruning.loss",
                accepted="a loader of pruning.dataset with sampler=pruning.sampler, each batch "
                "once",
            )  # fmt: skip
        self._own += len(here)
        self.batch_of.index_fill_(0, here, self.batches)
        self.batches += 1

    def weights_of(self, sample: Tensor) -> Tensor | None:
        """float [B], the factors on the losses of a batch, on the weights' device; None for 1.

        Means are those of the batches of all processes, which then have to call this at once.

        Args:
            sample: int64 [B], positions.
        """
        if self.weights is None:
            return None
        own: Tensor = self.weights.index_select(0, sample.to(self.weights.device))
        if not self.batch_weights or not len(own):
            return own
        if self.world.is_single:
            return batch_means(own, [len(own)])
        sums = torch.stack([own.double().sum(), torch.ones_like(own, dtype=torch.float64).sum()])
        whole, count = self.world.add(sums)
        mean: Tensor = (whole / count).to(own.dtype)
        return mean.expand(len(own))

    def by_batch(self) -> tuple[Tensor, list[int]]:
        """Positions trained by all processes, int64 [n], batch after batch, and the batches'
        sizes; a batch is what the processes trained at once."""
        positions, _ = self.visited()
        number, order = self.world.add(self.batch_of + 1)[positions].sort(stable=True)
        sizes = number.bincount()
        return positions[order], sizes[sizes > 0].tolist()

    def note_scored(self, sample: Tensor) -> None:
        """Counts samples as scored.

        Args:
            sample: int64 [B], positions.

        Raises:
            InputError: One is not to be scored, was scored before or is there twice.
        """
        here = sample.cpu()
        known = torch.isin(self.unscored, here)
        if int(known.sum()) != len(here):
            raise InputError(
                "samples that are not to be scored, or were scored before", where="Pruning.record",
                accepted="those of pruning.unscored, each once",
            )  # fmt: skip
        self.unscored = self.unscored[~known]

    def visited(self) -> tuple[Tensor, Tensor]:
        """Positions trained by all processes, in order, int64 [n], and by this one, int64 [m]."""
        return self._by_all(self.order, self.trained)

    def scored(self) -> tuple[Tensor, Tensor]:
        """Positions scored by all processes, in order, int64 [n], and by this one, int64 [m]."""
        scored = torch.zeros(len(self.left), dtype=torch.int64)
        scored[self.to_score[self.world.rank :: self.world.size]] = 1
        scored[self.unscored] = 0
        return self._by_all(self.to_score, scored)

    def _by_all(self, positions: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        everywhere = self.world.add(own.clone())
        done = positions[everywhere[positions] > 0]
        return done, done[own[done] > 0]

    def state_dict(self, gather: bool = False) -> dict[str, Any]:
        """What it takes to go on from here in another process.

        Args:
            gather: Whether it holds what all processes did, so that each can go on from it; all
                have to call it at once.
        """
        trained, unscored, batch_of = self.trained, self.unscored, self.batch_of
        passed = self.passed
        if gather:
            trained = self.world.add(trained)
            passed = self.world.add(passed.long()) > 0
            batch_of = self.world.add(batch_of + 1) - 1
            unscored = self.to_score[~torch.isin(self.to_score, self.scored()[0])]
        return {
            "order": self.order, "unscored": unscored, "to_score": self.to_score,
            "trained": trained, "step": self.step, "processes": self.world.size,
            "process": -1 if gather else self.world.rank,
            "weights": None if self.weights is None else self.weights.cpu(),
            "lr_factor": self.lr_factor, "batch_weights": self.batch_weights,
            "batches": self.batches, "batch_of": batch_of, "passed": passed,
        }  # fmt: skip

    @classmethod
    def of(cls, state: Mapping[str, Any], device: torch.device, world: World) -> OwnEpoch:
        """The epoch of ``state_dict``.

        Raises:
            InputError: Another number of processes shared it, or it is the state of another one.
        """
        saved = int(state.get("process", 0)), int(state.get("processes", 1))
        if saved[1] != world.size or saved[0] not in (-1, world.rank):
            raise InputError(
                f"an epoch under way in process {max(0, saved[0])} of {saved[1]}, for process "
                f"{world.rank} of {world.size}", where="Pruning.load_state_dict",
                accepted="each process's own state, state_dict(gather=True), or one saved between "
                "epochs",
            )  # fmt: skip
        weights = state["weights"]
        epoch = cls(
            state["order"], None if weights is None else weights.to(device), state["to_score"],
            len(state["trained"]), world, state.get("lr_factor", 1.0),
            state.get("batch_weights", False),
        )  # fmt: skip
        own = epoch.order[world.rank :: world.size]
        trained = state["trained"][own]
        epoch.left[own] -= trained.to(torch.int8)
        epoch._own, epoch.step = int(trained.sum()), int(state["step"])
        if "passed" in state:
            epoch.pass_over(own[state["passed"][own]])
        if "batch_of" in state:
            epoch.batch_of[own] = state["batch_of"][own]
        else:  # of a version that did not tell batches apart
            epoch.batch_of[own] = trained - 1
        epoch.batches = int(state.get("batches", 1))
        epoch.unscored = epoch.unscored[torch.isin(epoch.unscored, state["unscored"])]
        return epoch


class PlanSampler(Sampler[int]):
    """The samples of the present epoch that this process has still to train, in order.

    Args:
        under_way: Gives the epoch; raises where there is none.
        size: N; divided by the processes, its length where there is none.
    """

    def __init__(self, under_way: Callable[[], OwnEpoch], size: int) -> None:
        self._under_way, self._size = under_way, size

    def __iter__(self) -> Iterator[int]:
        return iter(self._under_way().mine())

    def __len__(self) -> int:
        try:
            return self._under_way().remaining
        except InputError:
            return -(-self._size // joined().size)
