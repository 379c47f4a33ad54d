"""What the benchmarks train, at which sizes, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prunebench.bench.networks.build import build_model
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.budget import Clock
from prunebench.bench.train.setup import Setup
from prunebench.bench.train.task import load_raw
from prunebench.bench.train.trainer import Trainer
from prunebench.datasets.build import make_task
from prunebench.datasets.noise.names import parse_noise
from prunebench.datasets.source import RawData
from prunebench.methods.compose import resolve_method
from prunebench.registry import CRITERIA
from prunebench.rng import Stream, Streams

#: Every operation is launched by itself.
LAUNCHED = ExecutionOptions(graph="off")
#: Methods whose runs at half the samples are timed beside full training.
HALVES = ("random", "random-dynamic", "infobatch", "seta", "infobatch+align")
#: More epochs than any measurement takes: a clock that never runs out.
_MANY = 10_000


@dataclass(frozen=True)
class Workload:
    """What is trained.

    Attributes:
        raw: The data set.
        device: Where.
        model: Registered network.
        model_params: Its parameters.
        batch: Batch size.
        precision: ``bf16`` or ``fp32``.
        optimizer: As in a recipe.
        reference: Clean images held out.
        epochs: Of the recipe.
        augment: As in a recipe.
    """

    raw: RawData
    device: torch.device
    model: str = "resnet18"
    model_params: dict[str, Any] = field(default_factory=dict)
    batch: int = 128
    precision: str = "bf16"
    optimizer: str = "lars"
    reference: int = 1000
    epochs: int = _MANY
    augment: Literal["dataset", "none", "crop_flip"] = "crop_flip"

    @property
    def recipe(self) -> Recipe:
        """The recipe of every run."""
        return Recipe(
            name="perf", model=self.model, model_params=self.model_params, epochs=self.epochs,
            batch_size=self.batch, optimizer=self.optimizer, lr=5.2, augment=self.augment,
            precision=self.precision,
        )  # fmt: skip

    def network(self) -> nn.Module:
        """The network with its initial weights."""
        init = streams(0).get("init")
        return build_model(self.recipe, self.raw.input_shape, self.raw.num_classes, init)

    def setup(
        self, execution: ExecutionOptions = LAUNCHED, method: str = "infobatch", ratio: float = 0.0,
        seed: int = 0,
    ) -> Setup:  # fmt: skip
        """A run; by default InfoBatch that prunes nothing, which records every loss."""
        task = make_task(
            self.raw, parse_noise("symmetric:0.4"), streams(seed), reference_size=self.reference
        )
        nothing_pruned = method == "infobatch" and ratio == 0.0
        pruner: Any = resolve_method(method).build({"r": 0.0} if nothing_pruned else {})
        return Setup(
            task, self.recipe, pruner, CRITERIA.get("ce").target(smoothing=0.0), streams(seed),
            Clock(len(task.train), self.epochs, ratio), self.device,
            reference=task.reference if pruner.reference else None, execution=execution,
        )  # fmt: skip

    def trainer(
        self, execution: ExecutionOptions = LAUNCHED, method: str = "infobatch", ratio: float = 0.0,
        seed: int = 0,
    ) -> Trainer:  # fmt: skip
        """As ``setup``, ready to train."""
        return Trainer(self.setup(execution, method, ratio, seed))


def streams(seed: int) -> Streams:
    """Of one measured run."""
    return Streams(seed, "perf", "symmetric:0.4")


@dataclass(frozen=True)
class Settings:
    """Sizes and repeats.

    Attributes:
        repeats: Turns of every contender that count.
        device: Where to compute.
        n: Training images N.
        batch: Batch size B.
        width: Channels of the ResNet-18's first stage.
        side: Height and width of the images.
        steps: Batches of the part of an epoch that is timed.
        threads: Of this process.
        epochs: Of the whole runs that are timed.
        compile: Whether the compiled network takes part, which takes minutes to make.
        packed: A packed data set; empty for generated images.
    """

    repeats: int = 5
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    n: int = 50_000
    batch: int = 128
    width: int = 16
    side: int = 32
    steps: int = 4
    threads: int = 1
    epochs: int = 10
    compile: bool = False
    packed: str = ""

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
        """The images: N for training, the reference ones, and N / 5 for the test."""
        if self.packed:
            return load_raw("packed", {"path": self.packed})
        return load_raw("synthetic", self.data)

    @property
    def data(self) -> dict[str, int]:
        """Options of the generated data set."""
        return {"n": self.n + self.reference, "test": max(20, self.n // 5), "classes": 10,
                "superclasses": 1, "size": self.side}  # fmt: skip

    def work(self, count: int | None = None, precision: str = "fp32") -> Workload:
        """The ResNet-18 under the paper's recipe with LARS.

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

    def stream(self, name: str) -> Stream:
        """Draws of a benchmark."""
        return streams(0).get(name)


def tensor(x: object) -> Tensor:
    """Images that lie in memory."""
    assert isinstance(x, Tensor)
    return x


def random_images(shape: tuple[int, ...], num_classes: int, n: int) -> RawData:
    """A data set of random images and labels, the same for training and test.

    Args:
        shape: (channels, height, width) of one image.
        num_classes: C.
        n: How many.
    """
    made = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=made)
    y = torch.randint(0, num_classes, (n,), generator=made)
    return RawData(
        train_x=x, train_y=y, test_x=x, test_y=y, num_classes=num_classes,
        class_names=tuple(map(str, range(num_classes))), fingerprint="",
        mean=(0.5,) * shape[0], std=(0.25,) * shape[0],
        augment="crop_flip" if shape[0] == 3 else "none",
    )  # fmt: skip


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Computes on so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
