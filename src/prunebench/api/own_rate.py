"""A factor on the learning rate of somebody else's optimizer, in the steps that it makes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from torch.optim import Optimizer

from prunebench.errors import InputError


class RateFactor:
    """Multiplies the learning rates of optimizers while they make a step.

    Before and after a step the rates are what they were, so that schedules see their own.

    Args:
        who: The method, for messages.
        factor: Gives the factor of the present step.
    """

    def __init__(self, who: str, factor: Callable[[], float]) -> None:
        self.who, self.factor = who, factor
        self._scaled: WeakSet[Optimizer] = WeakSet()
        #: Kinds of the optimizers whose steps cannot be watched.
        self._others: list[str] = []

    def apply(self, optimizer: Any) -> None:
        """From now on the optimizer's steps have the factor.

        Args:
            optimizer: Of torch, or a wrapper with an attribute ``optimizer`` (Accelerate).

        Raises:
            InputError: See ``check``.
        """
        inner = optimizer
        while inner is not None and not hasattr(inner, "_optimizer_step_pre_hooks"):
            inner = getattr(inner, "optimizer", None)
        if inner is None:
            self._others.append(type(optimizer).__name__)
            self.check()
            return
        if inner in self._scaled:
            return
        self._scaled.add(inner)
        before: list[Any] = []

        def multiply(within: Optimizer, *_: Any) -> None:
            now, before[:] = self.factor(), [group["lr"] for group in within.param_groups]
            if now != 1:
                for group in within.param_groups:
                    group["lr"] = group["lr"] * now

        def put_back(within: Optimizer, *_: Any) -> None:
            for group, rate in zip(within.param_groups, before, strict=True):
                group["lr"] = rate

        inner.register_step_pre_hook(multiply)
        inner.register_step_post_hook(put_back)

    def check(self) -> None:
        """Checks that the present factor reaches every optimizer.

        Raises:
            InputError: It is not 1, and one of them is none of torch.
        """
        if self._others and self.factor() != 1:
            raise InputError(
                f"{self.who} multiplies the learning rate by {self.factor():g}, which cannot be "
                f"put on a {self._others[0]}", where="Pruning.apply_lr_factor",
                accepted="an optimizer of torch.optim, or options of the method without lr_factor",
            )  # fmt: skip
