"""Optimisers whose every number lives on the device, so that a captured step can be replayed.

Learning rate and momentum are 0-dim tensors that a step reads on the device, and state starts at
zero instead of appearing in the first step; both are what a CUDA graph needs, and neither changes
the rules (0 x momentum + d is the first step's d). Weights, gradients and state lie in one buffer
each (``flat``), and an update is a handful of operations on the buffers, whatever the number of
tensors.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.flat import Block, Part
from prunebench.bench.train.optimizers import Eager


class OnDevice(Eager):
    """One group of tensors; ``lr`` and ``momentum`` are 0-dim tensors beside them.

    Args:
        params: Tensors on one device; they become views of a buffer, their strides stay.
        lr: Learning rate.
        momentum: Of the buffer; beta1 for Adam.
        weight_decay: Enters the gradient, or as the class says.
        names: State per tensor, zeros like it.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float,
        weight_decay: float,
        names: tuple[str, ...],
    ) -> None:
        tensors = list(params)
        #: Both in one tensor, which a captured step writes in one call.
        self.rates = torch.tensor((lr, momentum), dtype=tensors[0].dtype, device=tensors[0].device)
        self.lr, self.momentum = self.rates.unbind()
        self.weight_decay = weight_decay
        super().__init__(tensors, {"lr": self.lr, "momentum": self.momentum})
        types = dict.fromkeys(p.dtype for p in tensors)
        self.blocks = [Block([p for p in tensors if p.dtype == t], names) for t in types]
        for block in self.blocks:
            for number, p in enumerate(block.params):
                self.state[p] = {name: block.state_views[name][number] for name in names}
        #: Leaves in bf16 that a network may read in place of tensors, see ``capture.shadow``.
        self.halves: dict[Tensor, nn.Parameter] = {}
        self._rounded: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every tensor that has a gradient; nothing is read back."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        parts = [p for b in self.blocks for p in b.parts([self._gradient(p) for p in b.params])]
        if parts:
            self._begin()
        for part in parts:
            self._update(part)
        return loss

    def _gradient(self, p: Tensor) -> Tensor | None:
        """Of a tensor, whichever form of it the network read."""
        half = self.halves[p].grad if p in self.halves else None
        return half if p.grad is None else p.grad if half is None else p.grad + half

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Frees the gradients, or clears them, also those of the rounded tensors."""
        super().zero_grad(set_to_none)
        for half in self.halves.values():
            half.grad = None

    @torch.no_grad()
    def shadow(self, params: Iterable[Tensor]) -> None:
        """Gives some tensors, and no others, leaves in bf16 whose gradients count as theirs."""
        chosen = set(params)
        self.halves, self._rounded = {}, []
        for block in self.blocks:
            if chosen.isdisjoint(block.params):
                continue
            buffer = block.layout.zeros(torch.bfloat16)
            self._rounded.append((buffer, block.weights))
            for p, view in zip(block.params, block.layout.views(buffer), strict=True):
                if p in chosen:
                    self.halves[p] = nn.Parameter(view, p.requires_grad)
        self.round_weights()

    @torch.no_grad()
    def round_weights(self) -> None:
        """Fills the leaves in bf16 with the weights of now."""
        for buffer, weights in self._rounded:
            buffer.copy_(weights)

    def _begin(self) -> None:
        """Called once before the updates of a step."""

    @abstractmethod
    def _update(self, part: Part) -> None: ...

    def tensors(self) -> list[Tensor]:
        """Everything at a fixed address that a step reads or writes, gradients apart."""
        own = [tensor for block in self.blocks for tensor in block.tensors()]
        return [self.rates, *own, *(buffer for buffer, _ in self._rounded)]

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores state in place, zeros where there is none: a captured step knows its addresses.

        Raises:
            KeyError: Some of the state is missing.
        """
        for number, p in enumerate(self.param_groups[0]["params"]):
            found = state_dict["state"].get(number)
            for name, value in self.state[p].items():
                value.zero_() if found is None else value.copy_(found[name])


class DeviceSGD(OnDevice):
    """SGD as ``torch.optim.SGD`` has it."""

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float, weight_decay: float,
        nesterov: bool = False, buffered: bool = True,
    ) -> None:  # fmt: skip
        self.nesterov, self.buffered = nesterov, buffered
        names = ("momentum_buffer",) if buffered else ()
        super().__init__(params, lr, momentum, weight_decay, names)

    def _update(self, part: Part) -> None:
        moved = part.grads
        if self.weight_decay:
            moved.add_(part.weights, alpha=self.weight_decay)
        if self.buffered:
            buffer = part.states["momentum_buffer"]
            torch.addcmul(moved, buffer, self.momentum, out=buffer)
            moved = moved.addcmul_(buffer, self.momentum) if self.nesterov else buffer
        part.weights.addcmul_(moved, self.lr, value=-1.0)


class DeviceLARS(OnDevice):
    """LARS as ``bench.optim.LARS`` has it."""

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float, weight_decay: float,
        trust: float = 1e-3, eps: float = 0.0,
    ) -> None:  # fmt: skip
        self.trust, self.eps = trust, eps
        super().__init__(params, lr, momentum, weight_decay, ("momentum_buffer",))

    def _update(self, part: Part) -> None:
        decay, buffer = self.weight_decay, part.states["momentum_buffer"]
        norms = torch._foreach_norm([*part.weight_views, *part.grad_views])
        weight_norm, grad_norm = torch.stack(norms).view(2, -1)
        below = torch.add(grad_norm, weight_norm, alpha=decay)
        if self.eps:
            below.add_(self.eps)
        ratio = (self.trust * weight_norm).div_(below)
        both = torch.minimum(weight_norm, grad_norm) > 0
        scale = torch.where(both, ratio, part.ones).clamp_(0.0, 50.0).mul_(self.lr)
        moved = part.grads.add_(part.weights, alpha=decay).clamp_(-10.0, 10.0)
        torch.addcmul(moved, buffer, self.momentum, out=buffer)
        part.weights.addcmul_(buffer, part.per_row(scale), value=-1.0)


class DeviceAdam(OnDevice):
    """Adam and AdamW as torch has them, with beta1 on the device and steps counted for all tensors
    together, also for those without a gradient in some of them."""

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float, weight_decay: float,
        decoupled: bool = False, beta2: float = 0.999, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        self.decoupled, self.beta2, self.eps = decoupled, beta2, eps
        super().__init__(params, lr, momentum, weight_decay, ("exp_avg", "exp_avg_sq"))
        self.steps = torch.zeros((), dtype=torch.float32, device=self.lr.device)
        for state in self.state.values():
            state["step"] = self.steps

    def _begin(self) -> None:
        self.steps.add_(1)
        count, dtype = self.steps.double(), self.lr.dtype
        self._rate = (self.lr / (1 - self.momentum.double() ** count)).to(dtype)
        self._bend = (1 - self.beta2**count).rsqrt().to(dtype)

    def _update(self, part: Part) -> None:
        grads, decay = part.grads, self.weight_decay
        if decay and self.decoupled:
            part.weights.mul_(1 - self.lr * decay)
        elif decay:
            grads.add_(part.weights, alpha=decay)
        means, squares = part.states["exp_avg"], part.states["exp_avg_sq"]
        means.lerp_(grads, (1 - self.momentum).to(grads.dtype))
        squares.mul_(self.beta2).addcmul_(grads, grads, value=1 - self.beta2)
        below = squares.sqrt().mul_(self._bend).add_(self.eps)
        part.weights.addcdiv_(means * self._rate, below, value=-1.0)


def make_device_optimizer(recipe: Recipe, params: Iterable[Tensor]) -> OnDevice:
    """The recipe's optimiser in the form that can be captured."""
    tensors = list(params)
    rates = (recipe.lr, recipe.momentum, recipe.weight_decay)
    if recipe.optimizer == "lars":
        return DeviceLARS(tensors, *rates)
    if recipe.optimizer in ("adam", "adamw"):
        return DeviceAdam(tensors, *rates, decoupled=recipe.optimizer == "adamw")
    return DeviceSGD(tensors, *rates, nesterov=recipe.nesterov, buffered=has_momentum(recipe))


def has_momentum(recipe: Recipe) -> bool:
    """Whether momentum is above zero at some time of the run."""
    cycles = recipe.schedule == "one_cycle" and recipe.cycle_momentum
    return bool(recipe.momentum or cycles or recipe.tail_momentum)
