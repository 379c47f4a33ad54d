"""Guards around a method: forbidden reads are noted, global random generators are restored."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

Notes = list[str]


class Guard:
    """Passes on the attributes of an interface and notes every other that is read.

    Args:
        inner: The object that answers.
        interface: Class or protocol that names what may be read.
        notes: Receives one line per forbidden attribute.
        forbidden: Names of the interface that are closed all the same.
    """

    def __init__(
        self, inner: object, interface: type, notes: Notes, forbidden: tuple[str, ...] = ()
    ) -> None:
        fields = getattr(interface, "__dataclass_fields__", {})
        names = {name for name in dir(interface) if not name.startswith("_")} | set(fields)
        self.__dict__.update(
            _inner=inner, _open=names - set(forbidden), _notes=notes, _kind=interface.__name__
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._open:
            self._notes.append(f"reads {self._kind}.{name}")
            error = PermissionError if name == "clean_labels" else AttributeError
            raise error(f"{self._kind}.{name} is closed to this method")
        return getattr(self._inner, name)


def global_state() -> dict[str, object]:
    """The state of every global generator, comparable with ``==``."""
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "random": random.getstate(),
        "numpy.random": (kind, np.asarray(keys).tobytes(), tuple(rest)),
        "torch": torch.random.get_rng_state().numpy().tobytes(),
    }


@contextmanager
def seeded_generators(seed: int = 0) -> Iterator[None]:
    """Seeds the global generators alike for every caller and puts their state back afterwards,
    so that a method that draws from them breaks one check and not all."""
    python, tensor = random.getstate(), torch.random.get_rng_state()
    legacy = np.random.get_state()  # noqa: NPY002
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.random.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.random.set_rng_state(tensor)
