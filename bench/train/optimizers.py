"""Optimisers that launch every operation; LARS as the official InfoBatch loop has it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from prunebench.bench.spec.recipe import Recipe


class Eager(Optimizer):
    """An optimiser without the wrappers that torch puts around its methods to keep them out of
    compiled graphs: they import the compiler, which takes seconds in every process."""

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)


class EagerSGD(Eager, SGD):
    """``torch.optim.SGD``, same arithmetic."""

    step = torch.no_grad()(inspect.unwrap(SGD.step))


class EagerAdam(Eager, Adam):
    """``torch.optim.Adam``, same arithmetic."""

    step = torch.no_grad()(inspect.unwrap(Adam.step))


class LARS(Eager):
    """Layer-wise adaptive rate scaling, as in the InfoBatch repository (examples/lars.py).

    For every tensor p with gradient g: trust ratio t = trust |p| / (|g| + wd |p| + eps), 1 where a
    norm is zero, clamped to [0, 50]; d = clamp(g + wd p, -10, 10); b = momentum b + d (first step
    b = d); p -= lr t b. Norms are those of the raw gradient; no tensor is excluded. The trust
    ratio multiplies the buffer, which is where timm and apex differ. Nothing leaves the device.

    Args:
        params: Tensors or groups.
        lr: Learning rate.
        momentum: Factor of the buffer.
        weight_decay: Decoupled from nothing: it enters norm and gradient as above.
        trust: The coefficient eta.
        eps: Added to the denominator.

    Raises:
        ValueError: A negative argument.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        eps: float = 0.0,
    ) -> None:
        for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay),
                            ("trust", trust), ("eps", eps)):  # fmt: skip
            if value < 0:
                raise ValueError(f"LARS: {name} must not be negative, got {value}")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "eps": eps,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every tensor that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group)
        return loss

    def _update(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        decay, momentum = group["weight_decay"], group["momentum"]
        weight_norm, grad_norm = torch.linalg.vector_norm(p), torch.linalg.vector_norm(g)
        ratio = group["trust"] * weight_norm / (grad_norm + decay * weight_norm + group["eps"])
        both = (weight_norm > 0) & (grad_norm > 0)
        ratio = torch.where(both, ratio, torch.ones_like(ratio)).clamp_(0.0, 50.0)
        state = self.state[p]
        direction = torch.add(g, p, alpha=decay).clamp_(-10.0, 10.0)
        if momentum == 0:
            buffer = direction
        elif "momentum_buffer" not in state:
            buffer = state["momentum_buffer"] = direction
        else:
            buffer = state["momentum_buffer"]
            buffer.mul_(momentum).add_(direction)
        p.addcmul_(buffer, ratio * group["lr"], value=-1.0)


def make_optimizer(recipe: Recipe, params: Iterable[Tensor]) -> Optimizer:
    """The recipe's optimiser over the network's parameters."""
    tensors = list(params)
    if recipe.optimizer == "lars":
        return LARS(tensors, recipe.lr, recipe.momentum, recipe.weight_decay)
    if recipe.optimizer in ("adam", "adamw"):
        return EagerAdam(
            tensors,
            lr=recipe.lr,
            betas=(recipe.momentum, 0.999),
            weight_decay=recipe.weight_decay,
            decoupled_weight_decay=recipe.optimizer == "adamw",
            fused=True,
        )
    return EagerSGD(
        tensors,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=True,
    )


def set_schedule(optimizer: Optimizer, lr: float, momentum: float) -> None:
    """Writes learning rate and momentum (beta1 for Adam) into every group."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):  # on the device, where a captured step reads it
            group["lr"].fill_(lr)
            group["momentum"].fill_(momentum)
            continue
        group["lr"] = lr
        if "momentum" in group:
            group["momentum"] = momentum
        elif "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
