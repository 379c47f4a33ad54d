"""What a forward pass does with some tensors: whether it reads them, or their rounding to bf16."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prunebench.bench.train.step import Stepper, autocast


class Readers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations of a forward pass, but for views and for casts of the tensors to bf16.

    Args:
        watched: Tensors without gaps, of which no two overlap.

    Attributes:
        noted: Name and result types of each operation, in order.
        direct: Numbers of the tensors that an operation read as they are.
        viewed: Numbers of those that were viewed in another form.
        casts: How often each was cast to bf16.
    """

    def __init__(self, watched: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._places = sorted(
            (t.data_ptr(), t.data_ptr() + t.numel() * t.element_size(), number)
            for number, t in enumerate(watched)
            if t.numel()
        )
        self.noted: list[tuple[str, tuple[torch.dtype, ...]]] = []
        self.direct: set[int] = set()
        self.viewed: set[int] = set()
        self.casts: Counter[int] = Counter()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports the compiler, which takes seconds in every process

    def _number(self, tensor: Tensor) -> int | None:
        place = bisect_right(self._places, tensor.data_ptr(), key=lambda p: p[0]) - 1
        if place < 0 or not tensor.numel() or tensor.data_ptr() >= self._places[place][1]:
            return None
        return self._places[place][2]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        read = {number for t in _tensors(args, kwargs) if (number := self._number(t)) is not None}
        results = tuple(t.dtype for t in _tensors(made))
        if func.is_view:
            self.viewed |= read
        elif read and func is torch.ops.aten._to_copy.default and results == (torch.bfloat16,):
            self.casts.update(read)
        else:
            self.direct |= read
            self.noted.append((str(func), results))
        return made


@torch.no_grad()
def watched_pass(stepper: Stepper, watched: Sequence[Tensor], x: Tensor, training: bool) -> Readers:
    """What a forward pass in bf16 does with some tensors.

    Args:
        stepper: Gives the network, whose buffers and mode are as before afterwards.
        watched: As in ``Readers``.
        x: Input of one batch.
        training: Whether the pass is in training mode.
    """
    model, mode = stepper.model, stepper.model.training
    before = [buffer.clone() for buffer in model.buffers()]
    readers = Readers(watched)
    try:
        model.train(training)
        with autocast(True, x.device), readers:
            model(x)
    finally:
        model.train(mode)
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)
    return readers


def _tensors(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
