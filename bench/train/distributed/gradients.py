"""One network in several processes: gradients summed over the union of their batches."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from prunebench.bench.train.distributed.world import World
from prunebench.errors import InputError
from prunebench.methods.criterion import Criterion


class Reducer:
    """Keeps one network equal in all processes.

    Args:
        world: The processes.
        model: The network, with the same weights everywhere.
        criterion: Refused where its loss is not a sum over samples.

    Raises:
        InputError: The criterion does not split.
    """

    def __init__(self, world: World, model: nn.Module, criterion: Criterion) -> None:
        kind = type(criterion)
        if kind.batch_term is not Criterion.batch_term or kind.step is not Criterion.step:
            raise InputError(
                f"criterion {kind.__name__} needs whole batches or trains parameters of its own",
                where="torchrun",
                accepted="a per-sample loss such as ce, or a single process",
            )
        self.world, self.model = world, model
        self.params = [p for p in model.parameters() if p.requires_grad]
        self._used: list[nn.Parameter] | None = None

    def begin(self, epoch: int) -> None:
        """Checks that every process starts from the same state.

        Raises:
            Lost: One of them does not.
        """
        self.world.agree(
            f"the network at epoch {epoch}",
            [epoch, *self.model.parameters(), *self.model.buffers()],
        )

    def reduce(self) -> None:
        """Sums the gradients of all processes; one without a share of the batch adds nothing."""
        if self._used is None:
            device = self.params[0].device
            found = torch.tensor([float(p.grad is not None) for p in self.params], device=device)
            counts = self.world.add(found).tolist()
            self._used = [p for p, n in zip(self.params, counts, strict=True) if n > 0]
        for p in self._used:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        grads = [cast(Tensor, p.grad) for p in self._used]
        sizes = [grad.numel() for grad in grads]
        flat = self.world.add(torch.cat([grad.reshape(-1) for grad in grads]))
        for grad, part in zip(grads, torch.split(flat, sizes), strict=True):
            grad.copy_(part.view_as(grad))

    def end_epoch(self) -> None:
        """Averages running statistics, which each process took of its own samples; counters take
        the largest. Those of a frozen body stay: a mean of equal numbers may round."""
        frozen = getattr(self.model, "frozen", False)
        for buffer in () if frozen else self.model.buffers():
            if buffer.is_floating_point():
                self.world.add(buffer).div_(self.world.size)
            else:
                self.world.largest(buffer)
