"""Optimisers whose every number lives on the device, so that a captured step can be replayed.

Learning rate and momentum are 0-dim tensors that a step reads on the device, and state starts at
zero instead of appearing in the first step; both are what a CUDA graph needs, and neither changes
the rules (0 x momentum + d is the first step's d).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.optimizers import Eager

Tensors = list[Tensor]


class OnDevice(Eager):
    """One group of tensors; ``lr`` and ``momentum`` are 0-dim tensors beside them.

    Args:
        params: Tensors on one device.
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
        for p in tensors:
            self.state[p] = {name: torch.zeros_like(p) for name in names}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every tensor that has a gradient; nothing is read back."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        params = [p for p in self.param_groups[0]["params"] if p.grad is not None]
        if params:
            self._update(params, [cast(Tensor, p.grad) for p in params])
        return loss

    @abstractmethod
    def _update(self, params: Tensors, grads: Tensors) -> None: ...

    def _states(self, params: Tensors, name: str) -> Tensors:
        return [self.state[p][name] for p in params]

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

    def _update(self, params: Tensors, grads: Tensors) -> None:
        moved = grads
        if self.weight_decay:
            moved = list(torch._foreach_add(grads, params, alpha=self.weight_decay))
        if self.buffered:
            buffers = self._states(params, "momentum_buffer")
            torch._foreach_mul_(buffers, self.momentum)
            torch._foreach_add_(buffers, moved)
            if self.nesterov:
                moved = list(torch._foreach_add(moved, torch._foreach_mul(buffers, self.momentum)))
            else:
                moved = buffers
        torch._foreach_sub_(params, torch._foreach_mul(moved, self.lr))


class DeviceLARS(OnDevice):
    """LARS as ``bench.optim.LARS`` has it, all norms in a few launches."""

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float, weight_decay: float,
        trust: float = 1e-3, eps: float = 0.0,
    ) -> None:  # fmt: skip
        self.trust, self.eps = trust, eps
        super().__init__(params, lr, momentum, weight_decay, ("momentum_buffer",))

    def _update(self, params: Tensors, grads: Tensors) -> None:
        decay = self.weight_decay
        weight_norm = torch.stack(torch._foreach_norm(params))
        grad_norm = torch.stack(torch._foreach_norm(grads))
        ratio = self.trust * weight_norm / (grad_norm + decay * weight_norm + self.eps)
        both = (weight_norm > 0) & (grad_norm > 0)
        ratio = torch.where(both, ratio, torch.ones_like(ratio)).clamp_(0.0, 50.0)
        scales = (ratio * self.lr).unbind()
        moved = list(torch._foreach_add(grads, params, alpha=decay))
        torch._foreach_clamp_max_(moved, 10.0)
        torch._foreach_clamp_min_(moved, -10.0)
        buffers = self._states(params, "momentum_buffer")
        torch._foreach_mul_(buffers, self.momentum)
        torch._foreach_add_(buffers, moved)
        for p, buffer, scale in zip(params, buffers, scales, strict=True):
            p.addcmul_(buffer, scale, value=-1.0)


class DeviceAdam(OnDevice):
    """Adam and AdamW as torch has them, with beta1 on the device."""

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float, weight_decay: float,
        decoupled: bool = False, beta2: float = 0.999, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        self.decoupled, self.beta2, self.eps = decoupled, beta2, eps
        super().__init__(params, lr, momentum, weight_decay, ("exp_avg", "exp_avg_sq"))
        first = self.param_groups[0]["params"][0]
        self.steps = torch.zeros((), dtype=torch.float32, device=first.device)
        for state in self.state.values():
            state["step"] = self.steps

    def _update(self, params: Tensors, grads: Tensors) -> None:
        beta1, beta2, decay = self.momentum, self.beta2, self.weight_decay
        self.steps.add_(1)
        count = self.steps.double()
        rate = (self.lr / (1 - beta1.double() ** count)).to(self.lr.dtype)
        bend = (1 - beta2**count).rsqrt().to(self.lr.dtype)
        if decay and self.decoupled:
            torch._foreach_mul_(params, 1 - self.lr * decay)
        elif decay:
            grads = list(torch._foreach_add(grads, params, alpha=decay))
        means, squares = (self._states(params, name) for name in ("exp_avg", "exp_avg_sq"))
        torch._foreach_mul_(means, beta1)
        torch._foreach_add_(means, torch._foreach_mul(grads, 1 - beta1))
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, value=1 - beta2)
        below = list(torch._foreach_sqrt(squares))
        torch._foreach_mul_(below, bend)
        torch._foreach_add_(below, self.eps)
        moved = list(torch._foreach_div(means, below))
        torch._foreach_mul_(moved, rate)
        torch._foreach_sub_(params, moved)


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
