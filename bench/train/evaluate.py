"""Forward passes without gradient, in large batches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, nn

#: Samples per eval-mode batch, unless the inputs ask for fewer.
EVAL_BATCH = 2048


@torch.no_grad()
def forward_all(
    model: nn.Module,
    n: int,
    batch: Callable[[int, int], Tensor],
    autocast: AbstractContextManager[None],
    *,
    features: bool = False,
    size: int = EVAL_BATCH,
) -> tuple[Tensor, Tensor | None]:
    """Logits (and features) of n samples in eval mode; the model's mode is restored.

    Args:
        model: A network with ``features`` and ``head``.
        n: Number of samples.
        batch: Gives the network input for positions start..stop.
        autocast: Precision context.
        features: Whether the features are wanted too.
        size: Samples per batch.

    Returns:
        float32 [n, C] and float32 [n, D] or None.
    """
    training = model.training
    model.eval()
    logits: list[Tensor] = []
    vectors: list[Tensor] = []
    net = cast(Any, model)
    with autocast:
        # Without samples one empty batch still gives the right shapes.
        for start in range(0, max(n, 1), size):
            f = net.features(batch(start, min(start + size, n)))
            logits.append(net.head(f).float())
            if features:
                vectors.append(f.float())
    model.train(training)
    return torch.cat(logits), torch.cat(vectors) if features else None


class Readback:
    """Figures on their way to the host; nobody waits for them until they are asked for.

    Args:
        value: A tensor of one or more numbers.
    """

    def __init__(self, value: Tensor) -> None:
        self._value = value
        self._event: torch.cuda.Event | None = None
        if value.device.type == "cuda":
            self._value = torch.empty_like(value, device="cpu", pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def get(self) -> float:
        """The figure, where it is one."""
        (value,) = self.values()
        return value

    def values(self) -> list[float]:
        """All of them."""
        if self._event is not None:
            self._event.synchronize()
        return [float(value) for value in self._value.flatten().tolist()]


def sent(values: object, device: torch.device, dtype: torch.dtype = torch.int64) -> Tensor:
    """Numbers of the host on a device, which nobody waits for."""
    host = torch.tensor(values, dtype=dtype)
    if device.type == "cuda":
        host = host.pin_memory()
    return host.to(device, non_blocking=True)
