"""The card's random generators: draws that follow its own state and leave the host's alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_Generator = torch.Generator


class Generator:
    """``torch.Generator``; the card's hold their state in one of the host, which several may share.

    Attributes:
        state: Where the next draw comes from.
    """

    state: torch.Generator

    def __new__(cls, device: Any = "cpu") -> Any:
        """Of the card, or a usual one."""
        if torch.device(device).type != "cuda":
            return _Generator(device)
        made = super().__new__(cls)
        made.state = _Generator()
        return made

    def graphsafe_get_state(self) -> Generator:
        """Another generator of the same state."""
        other = Generator("cuda")
        other.state = self.state
        return other

    def graphsafe_set_state(self, other: Generator) -> Generator:
        """Shares the state of another one."""
        self.state = other.state
        return self

    def manual_seed(self, seed: int) -> Generator:
        """Seeds the state."""
        self.state.manual_seed(seed)
        return self

    def get_state(self) -> torch.Tensor:
        """A copy of the state, on the host."""
        return self.state.get_state()

    def set_state(self, state: torch.Tensor) -> Generator:
        """Takes over a copy."""
        self.state.set_state(state)
        return self


def drawn(state: torch.Generator, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What an operator gives that draws from torch's default generator, drawn from a state."""
    host = torch.default_generator.get_state()
    torch.default_generator.set_state(state.get_state())
    try:
        return func(*args, **kwargs)
    finally:
        state.set_state(torch.default_generator.get_state())
        torch.default_generator.set_state(host)
