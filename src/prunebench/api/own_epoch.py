"""One epoch in a loop of one's own: its samples in order, and which of them came back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from prunebench.bench.train.distributed.world import World
from prunebench.errors import InputError


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
        self.trained, self.in_plan = (torch.zeros(size, dtype=torch.int64) for _ in range(2))
        self.in_plan[order] = 1
        #: Positions scored by this process.
        self.scored: list[Tensor] = []
        #: All that are to be scored.
        self.to_score = unscored

    @property
    def count(self) -> int:
        """Samples that all processes have trained, if each has as many as this one."""
        return int(self.trained.sum()) * self.world.size

    def mine(self) -> list[int]:
        """This process's samples that are not trained yet, in order."""
        own = self.order[self.world.rank :: self.world.size]
        found: list[int] = own[self.trained[own] == 0].tolist()
        return found

    def note(self, sample: Tensor) -> None:
        """Counts a batch as trained.

        Args:
            sample: int64 [B], positions.

        Raises:
            InputError: One is not in the plan, or was trained before.
        """
        here = sample.cpu()
        known = bool(((here >= 0) & (here < len(self.in_plan))).all())
        if not known or bool((self.in_plan[here] <= self.trained[here]).any()):
            raise InputError(
                "samples that this epoch does not train, or has trained", where="Pruning.loss",
                accepted="a loader of pruning.dataset with sampler=pruning.sampler, each batch "
                "once",
            )  # fmt: skip
        self.trained[here] = 1

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
        everywhere = self.world.add(self.trained.clone())
        visited = self.order[everywhere[self.order] > 0]
        if len(self.order) and not len(visited):
            raise InputError(
                "nothing was trained in this epoch", where="Pruning.end_epoch",
                accepted="pruning.loss(...) for every batch",
            )  # fmt: skip
        return visited, visited[self.trained[visited] > 0]

    def state_dict(self) -> dict[str, Any]:
        """What it takes to go on from here in another process."""
        return {
            "order": self.order, "unscored": self.unscored, "to_score": self.to_score,
            "trained": self.trained.clone(), "step": self.step,
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
        epoch.trained.copy_(state["trained"])
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
        item = self.data[number]
        if isinstance(item, dict):
            return {**item, "sample": number}
        if isinstance(item, (tuple, list)):
            return (*item, number)
        raise InputError(
            f"sample {number} is a {type(item).__name__}", where="train_set",
            accepted="tuples (input, label) or dicts",
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
            return len(self._under_way().mine())
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
