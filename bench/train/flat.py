"""Parameters of one type in one buffer, so that one operation of an optimiser reaches them all.

A parameter becomes a view of the buffer, with its own shape and strides; so do its gradient and
what an optimiser keeps for it. Every tensor begins at a row of its own, and a factor per tensor
therefore reaches the elements as a factor per row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

import torch
from torch import Tensor

#: Elements of a row: 256 bytes in single precision, as CUDA's libraries want tensors aligned.
ROW = 64
Tensors = list[Tensor]


class Layout:
    """Where tensors lie in a buffer of rows; what is left of a tensor's last row is never read.

    Args:
        tensors: On one device; at least one.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        # Of a tensor with gaps or overlaps the strides that a copy of it would have.
        self._forms = [(tensor.shape, torch.empty_like(tensor).stride()) for tensor in tensors]
        counts = [-(-tensor.numel() // ROW) for tensor in tensors]
        #: First row of each tensor, and the number of rows.
        self.firsts = [0, *accumulate(counts)]
        self.device, self.dtype = tensors[0].device, tensors[0].dtype
        numbers = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        #: int64 [R], whose each row is.
        self.owners = numbers.to(self.device)

    def zeros(self, dtype: torch.dtype | None = None) -> Tensor:
        """A buffer, [R, ROW]."""
        shape = (self.firsts[-1], ROW)
        return torch.zeros(shape, dtype=dtype or self.dtype, device=self.device)

    def views(self, buffer: Tensor) -> Tensors:
        """The tensors in a buffer."""
        places = zip(self._forms, self.firsts, strict=False)
        return [buffer.as_strided(*form, first * ROW) for form, first in places]


@dataclass(frozen=True)
class Part:
    """Neighbours in a buffer: all of its T tensors, or a run of them.

    Attributes:
        weights: [R, ROW].
        grads: [R, ROW], of raw gradients; an update may write here.
        states: [R, ROW] each, by name.
        weight_views: T tensors.
        grad_views: T tensors.
        owners: int64 [R], which of the T a row belongs to.
        ones: [T].
    """

    weights: Tensor
    grads: Tensor
    states: dict[str, Tensor]
    weight_views: Tensors
    grad_views: Tensors
    owners: Tensor
    ones: Tensor

    def per_row(self, factors: Tensor) -> Tensor:
        """A factor per tensor, [T], as one per row, [R, 1]."""
        return factors.index_select(0, self.owners).unsqueeze(1)


class Block:
    """Parameters of one type with gradients and state, each kind in a buffer of its own.

    Args:
        params: Tensors of one device and type; from now on they are views of the buffer.
        names: State per tensor, zeros.
    """

    @torch.no_grad()
    def __init__(self, params: Sequence[Tensor], names: Sequence[str]) -> None:
        # Those that are not trained last, so that they part nobody.
        self.params = sorted(params, key=lambda p: not p.requires_grad)
        self.layout = Layout(self.params)
        self.weights, self.grads = self.layout.zeros(), self.layout.zeros()
        self.states = {name: self.layout.zeros() for name in names}
        self.weight_views, self.grad_views = map(self.layout.views, (self.weights, self.grads))
        self.state_views = {name: self.layout.views(s) for name, s in self.states.items()}
        torch._foreach_copy_(self.weight_views, [p.detach() for p in self.params])
        for p, view in zip(self.params, self.weight_views, strict=True):
            p.data = view
        self._parts: dict[tuple[int, int], Part] = {}
        self._part(0, len(self.params))

    def parts(self, gradients: Sequence[Tensor | None]) -> list[Part]:
        """The runs of tensors that have a gradient, their gradients copied in.

        Args:
            gradients: Of every parameter, of any floating type.
        """
        pairs = zip(self.grad_views, gradients, strict=True)
        found = [(view, grad) for view, grad in pairs if grad is not None]
        for dtype in {grad.dtype for _, grad in found}:  # a call takes one type
            chosen = [pair for pair in found if pair[1].dtype == dtype]
            torch._foreach_copy_([view for view, _ in chosen], [grad for _, grad in chosen])
        return [self._part(*run) for run in _runs([grad is not None for grad in gradients])]

    def _part(self, first: int, stop: int) -> Part:
        if (first, stop) not in self._parts:
            rows = slice(self.layout.firsts[first], self.layout.firsts[stop])
            self._parts[first, stop] = Part(
                self.weights[rows],
                self.grads[rows],
                {name: state[rows] for name, state in self.states.items()},
                self.weight_views[first:stop],
                self.grad_views[first:stop],
                self.layout.owners[rows] - first,
                torch.ones(stop - first, dtype=self.layout.dtype, device=self.layout.device),
            )
        return self._parts[first, stop]

    def tensors(self) -> Tensors:
        """Everything at a fixed address that updates read or write."""
        own = [self.weights, self.grads, *self.states.values()]
        return own + [t for part in self._parts.values() for t in (part.owners, part.ones)]


def _runs(flags: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """First and end of each run of true flags."""
    for flag, run in groupby(range(len(flags)), flags.__getitem__):
        places = list(run)
        if flag:
            yield places[0], places[-1] + 1
