"""One epoch in a loop of one's own: its samples in order, and which of them came back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from prunebench.bench.train.distributed.world import World
from prunebench.errors import InputError

_MINUS_ONE = torch.tensor(-1, dtype=torch.int8)


class OwnEpoch:
    """An epoch under way. Everything but the weights lies on the host.

    Args:
        order: int64 [n], positions in the order in which they are trained.
        weights: float [N] on the device of the losses, by position; None for 1.
        unscored: int64 [m], positions to be scored without training.
        size: N.
        world: The processes that share the epoch; process r trains ``order[r::R]``.
    """

    def __init__(
        self, order: Tensor, weights: Tensor | None, unscored: Tensor, size: int, world: World
    ) -> None:
        self.order, self.weights, self.unscored = order, weights, unscored
        self.world, self.step = world, 0
        #: 1 for what is in the plan and not trained yet by this process, else 0.
        self.left = torch.zeros(size, dtype=torch.int8)
        self.left[order] = 1
        self._own = 0
        #: Whether the sampler was asked for this epoch's samples.
        self.handed_out = False
        #: Positions scored by this process.
        self.scored: list[Tensor] = []
        #: All that are to be scored.
        self.to_score = unscored

    @property
    def count(self) -> int:
        """Samples that all processes have trained, if each has as many as this one."""
        return self._own * self.world.size

    @property
    def remaining(self) -> int:
        """How many samples this process has still to train."""
        return len(range(self.world.rank, len(self.order), self.world.size)) - self._own

    @property
    def trained(self) -> Tensor:
        """int64 [N], 1 for what this process has trained."""
        trained = torch.zeros(len(self.left), dtype=torch.int64)
        trained[self.order] = 1
        return trained - self.left

    def mine(self) -> list[int]:
        """This process's samples that are not trained yet, in order."""
        self.handed_out = True
        own = self.order[self.world.rank :: self.world.size]
        found: list[int] = own[self.left[own] > 0].tolist()
        return found

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

    def note_scored(self, sample: Tensor) -> None:
        """Counts samples as scored.

        Args:
            sample: int64 [B], positions.
        """
        known = torch.isin(self.unscored, sample.cpu())
        self.scored.append(self.unscored[known])
        self.unscored = self.unscored[~known]

    def visited(self) -> tuple[Tensor, Tensor]:
        """Positions trained by all processes, in order, int64 [n], and by this one, int64 [m].

        Raises:
            InputError: There are none.
        """
        trained = self.trained
        everywhere = self.world.add(trained.clone())
        visited = self.order[everywhere[self.order] > 0]
        if len(self.order) and not len(visited):
            raise InputError(
                "nothing was trained in this epoch", where="Pruning.end_epoch",
                accepted="pruning.loss(...) for every batch",
            )  # fmt: skip
        return visited, visited[trained[visited] > 0]

    def state_dict(self) -> dict[str, Any]:
        """What it takes to go on from here in another process."""
        return {
            "order": self.order, "unscored": self.unscored, "to_score": self.to_score,
            "trained": self.trained, "step": self.step,
            "weights": None if self.weights is None else self.weights.cpu(),
        }  # fmt: skip

    @classmethod
    def of(cls, state: Mapping[str, Any], device: torch.device, world: World) -> OwnEpoch:
        """The epoch of ``state_dict``."""
        weights = state["weights"]
        epoch = cls(
            state["order"], None if weights is None else weights.to(device), state["unscored"],
            len(state["trained"]), world,
        )  # fmt: skip
        epoch.left -= state["trained"].to(torch.int8)
        epoch._own = int(state["trained"].sum())
        epoch.step, epoch.to_score = int(state["step"]), state["to_score"]
        epoch.scored = [epoch.to_score[~torch.isin(epoch.to_score, epoch.unscored)]]
        return epoch


class Numbered(Dataset[Any]):
    """A data set whose samples end with their number: ``(x, y, number)``, or ``sample`` in a dict.

    Args:
        data: Map-style; its samples are tuples, lists or dicts.
    """

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> Any:
        try:
            item = self.data[number]
        except Exception as error:
            raise unreadable(number, error) from error
        return numbered(item, number)

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """A batch in one call, which is what a loader asks for; in one read where the data can."""
        if not callable(getattr(self.data, "__getitems__", None)):
            return [self[number] for number in numbers]
        try:
            items = self.data.__getitems__(numbers)
        except Exception:
            return [self[number] for number in numbers]  # which names the sample
        return [numbered(item, number) for item, number in zip(items, numbers, strict=True)]


def numbered(item: Any, number: int) -> Any:
    """A sample with its number.

    Raises:
        InputError: It is neither a tuple nor a dict.
    """
    if isinstance(item, dict):
        return {**item, "sample": number}
    if isinstance(item, (tuple, list)):
        return (*item, number)
    raise InputError(
        f"sample {number} is a {type(item).__name__}", where="train_set",
        accepted="tuples (input, label) or dicts",
    )  # fmt: skip


def unreadable(number: int, error: Exception) -> InputError:
    """What is said of a sample that the data set does not give."""
    said = str(error).splitlines()
    return InputError(
        f"sample {number} cannot be read ({type(error).__name__}: {said[0][:120] if said else ''})",
        where="train_set", accepted="samples that can all be read",
    )  # fmt: skip


class PlanSampler(Sampler[int]):
    """The samples of the present epoch that this process has not trained, in order.

    Args:
        under_way: Gives the epoch; raises where there is none.
        size: Its length where there is none.
    """

    def __init__(self, under_way: Callable[[], OwnEpoch], size: int) -> None:
        self._under_way, self._size = under_way, size

    def __iter__(self) -> Iterator[int]:
        return iter(self._under_way().mine())

    def __len__(self) -> int:
        try:
            return self._under_way().remaining
        except InputError:
            return self._size


def size_of(data: Any, where: str) -> int:
    """Samples of a map-style data set.

    Args:
        data: The data set.
        where: Its name in the message.

    Raises:
        InputError: It has no length or no samples by number, or is empty.
    """
    try:
        size = len(data)
        data.__getitem__  # noqa: B018
    except (TypeError, AttributeError, NotImplementedError):
        raise InputError(
            f"{type(data).__name__} has no samples by number", where=where,
            accepted="a map-style data set (__len__ and __getitem__), no iterable one",
        ) from None  # fmt: skip
    if size < 1:
        raise InputError("no samples", where=where, accepted="at least one")
    return int(size)
