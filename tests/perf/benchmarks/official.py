"""A further contender: the user's own clone of the InfoBatch repository, run as its example runs
it. Nothing of that repository is ours; its code is imported from where the user says."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from prunebench.bench.perf.contenders import Pictures
from prunebench.datasets.source import RawData
from prunebench.errors import InputError

SHIM = "IBSampler.__iter__ = lambda s: (s.reset(), iter(s.sample_indices))[1]"
_SURFACE = ("update", "sampler")
_EPOCHS = 10_000


def load(path: Path) -> Any:
    """The package ``infobatch`` of a clone.

    Raises:
        InputError: There is none, it cannot be imported, or it lacks what the example uses.
    """
    accepted = "a clone of the InfoBatch repository: a folder that holds infobatch/"
    where = str(path)
    if not (path / "infobatch" / "__init__.py").is_file():
        raise InputError("no package infobatch there", where=where, accepted=accepted)
    root = str(path.resolve())
    sys.path.insert(0, root)
    try:
        package = importlib.import_module("infobatch")
    except Exception as error:  # whatever the clone's code does
        line = f"{type(error).__name__}: {error}"
        raise InputError(f"its code does not import: {line}", where=where) from None
    finally:
        sys.path.remove(root)
    if not str(package.__file__).startswith(root):
        raise InputError(
            f"another package of that name is loaded: {package.__file__}", where=where,
            accepted=accepted,
        )  # fmt: skip
    missing = [n for n in _SURFACE if not hasattr(getattr(package, "InfoBatch", None), n)]
    if missing:
        what = f"its InfoBatch has no {' and no '.join(missing)}"
        raise InputError(what, where=where, accepted=accepted)
    return package


class OfficialLoop:
    """The loop of the clone's example: its data set wrapper and sampler around PIL images, its
    weighting of the losses, one optimiser step and two read-backs per batch.

    The one change is ``SHIM``: since ``BatchSampler`` calls ``iter`` for every batch, the
    sampler as published starts anew each time and an epoch never ends.

    Args:
        path: The clone.
        raw: The data set.
        model: The network.
        device: Where to train.
        batch: Batch size.
        count: Images of the data set; at the default r = 0.5 an epoch trains fewer.

    Raises:
        InputError: As ``load``.
    """

    def __init__(
        self, path: Path, raw: RawData, model: nn.Module, device: torch.device, batch: int,
        count: int,
    ) -> None:  # fmt: skip
        package = load(path)
        self.model, self.device = model.to(device), device
        self.data: Any = package.InfoBatch(Pictures(raw, count), _EPOCHS, 0.0, 0.875)
        sampler = self.data.sampler
        patched = type(sampler)
        if hasattr(patched, "reset") and hasattr(sampler, "sample_indices"):
            patched.__iter__ = lambda s: (s.reset(), iter(s.sample_indices))[1]
        self.loader: DataLoader[Any] = DataLoader(self.data, batch, sampler=sampler)
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
        )
        self.criterion = nn.CrossEntropyLoss(reduction="none")
        self.notes = [
            f"official InfoBatch: the user's clone, r = 0 so that every image is trained, SGD, "
            f"with the disclosed shim {SHIM}"
        ]

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for drawn in self.loader:
            # The package's hook on the loader takes the indices off; without it they are here.
            pair = drawn[1] if isinstance(drawn[1], list | tuple) else drawn
            yield pair[0].to(self.device), pair[1].to(self.device)

    def epoch(self) -> int:
        """One epoch; returns the images trained."""
        self.model.train()
        seen, total, right = 0, 0.0, 0
        for x, y in self._batches():
            logits = self.model(x)
            loss = self.data.update(self.criterion(logits, y))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
            right += int((logits.argmax(1) == y).sum().item())
            seen += len(y)
        return seen
