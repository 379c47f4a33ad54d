"""Whether a network's input may be stored in bf16: it may where autocast rounds it anyway."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prunebench.bench.train.step import Stepper, autocast


class _Readers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations of a forward pass, but for views of its input and casts to bf16.

    Attributes:
        x: The input.
        noted: Name and result types of each, in order.
        direct: Whether one of them read the input itself.
    """

    def __init__(self, x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.x, self.place = x, x.untyped_storage().data_ptr()
        self.noted: list[tuple[str, tuple[torch.dtype, ...]]] = []
        self.direct = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports the compiler, which takes seconds in every process

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        reads = any(t.untyped_storage().data_ptr() == self.place for t in _tensors(args, kwargs))
        results = tuple(t.dtype for t in _tensors(made))
        cast = func is torch.ops.aten._to_copy.default and results == (torch.bfloat16,)
        if reads and (func.is_view or cast):
            return made
        self.direct |= reads
        self.noted.append((str(func), results))
        return made


def _tensors(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


@torch.no_grad()
def input_dtype(stepper: Stepper, x: Tensor, scores: bool) -> torch.dtype:
    """What a network's input can be stored in without a change of any bit of its results.

    Args:
        stepper: Gives network and precision; the network's buffers are as before afterwards.
        x: float32, input of one batch.
        scores: Whether the network also reads it in eval mode, to choose samples.

    Returns:
        bfloat16 where every forward pass reads ``x`` through autocast's rounding alone, and goes
        on in the same way where it is rounded already; float32 otherwise.
    """
    if not stepper.half:
        return torch.float32
    model = stepper.model
    before, mode = [buffer.clone() for buffer in model.buffers()], model.training
    try:
        for training in (True, False)[: 1 + scores]:
            model.train(training)
            readers = [_Readers(given) for given in (x, x.to(torch.bfloat16))]
            for reader in readers:
                with autocast(True, x.device), reader:
                    model(reader.x)
            if readers[0].direct or readers[0].noted != readers[1].noted:
                return torch.float32
    finally:
        model.train(mode)
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)
    return torch.bfloat16
