"""How the benchmarks are run, and the data and networks that they share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from prunebench.bench.perf.contenders import Solo, Workload, streams
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.task import load_raw
from prunebench.datasets.source import RawData
from prunebench.rng import Stream


@dataclass(frozen=True)
class Settings:
    """Sizes and repeats.

    Attributes:
        repeats: StepGenerator of every contender that count.
        device: Where to compute.
        n: Training images N.
        batch: Batch size B.
        width: Channels of the narrow ResNet-18's first stage.
        wide: Of the full one's.
        side: Height and width of the images.
        steps: Batches of the part of an epoch that is timed.
        threads: Of this process.
        epochs: Of the whole runs that are timed.
        compile: Whether the compiled network takes part, which takes minutes to make.
        official: The user's clone of the InfoBatch repository.
    """

    repeats: int = 5
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    n: int = 50_000
    batch: int = 128
    width: int = 16
    wide: int = 64
    side: int = 32
    steps: int = 4
    threads: int = 1
    epochs: int = 10
    compile: bool = False
    official: Path | None = None

    @property
    def reference(self) -> int:
        """Clean images held out: 1,000, and a tenth of small data."""
        return min(1000, max(1, self.n // 10))

    @property
    def part(self) -> int:
        """Images of the timed part of an epoch."""
        return min(self.n, self.steps * self.batch)

    @property
    def raw(self) -> RawData:
        """Generated images, N for training, the reference ones, and N / 5 for the test."""
        return load_raw("synthetic", self.data)

    @property
    def data(self) -> dict[str, int]:
        """Options of that data set."""
        return {"n": self.n + self.reference, "test": max(20, self.n // 5), "classes": 10,
                "superclasses": 1, "size": self.side}  # fmt: skip

    def work(self, count: int | None = None, precision: str = "fp32") -> Workload:
        """The narrow ResNet-18 under the paper's recipe with LARS.

        Args:
            count: Training images, the reference not counted; None for all.
            precision: As in a recipe.
        """
        raw, reference = self.raw, self.reference
        if count is not None:
            reference = min(reference, max(1, count // 10))
            rows = slice(0, count + reference)
            raw = replace(raw, train_x=tensor(raw.train_x)[rows], train_y=raw.train_y[rows])
        return Workload(
            raw, self.device, model_params={"width": self.width}, batch=self.batch,
            precision=precision, reference=reference,
        )  # fmt: skip

    def epoch_part(
        self, precision: str = "fp32", execution: ExecutionOptions | None = None
    ) -> Solo:
        """Our trainer on a part of an epoch, losses recorded."""
        return Solo(self.work(self.part, precision), execution or ExecutionOptions(graph="off"))

    def stream(self, name: str) -> Stream:
        """Draws of a benchmark."""
        return streams(0).get(name)


def tensor(x: object) -> Tensor:
    """Images that lie in memory."""
    assert isinstance(x, Tensor)
    return x


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Computes on so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
