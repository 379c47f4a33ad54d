"""The data path, a training epoch and the command line beside their plain counterparts."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from prunebench.bench.budget import Clock
from prunebench.bench.images import Inputs
from prunebench.bench.models import build_model
from prunebench.bench.optim import make_optimizer
from prunebench.bench.tasks import load_task, streams_of
from prunebench.bench.trainer import Trainer
from prunebench.bench.training import Setup
from prunebench.methods.compose import resolve_method
from prunebench.registry import CRITERIA
from prunebench.rng import Streams
from support.cells import small_cell
from support.timing import side_by_side, tell

pytestmark = pytest.mark.perf

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


class Pictures(Dataset[tuple[Tensor, int]]):
    """Arrays that become PIL images on access, as torchvision's CIFAR classes have them."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.pixels = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.RandomCrop(32, 4, padding_mode="reflect"),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def test_data_path_against_torchvision() -> None:
    n, size = 10_000, 128
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8))
    labels = torch.from_numpy(rng.integers(0, 10, n))
    raw: Any = SimpleNamespace(mean=MEAN, std=STD)
    inputs = Inputs(pixels, raw, augment="crop_flip", pad=4)
    loader = DataLoader(Pictures(pixels, labels), batch_size=size, shuffle=True, num_workers=0)
    stream = Streams(0, "perf", "clean").get("augment")

    def theirs() -> int:
        return sum(len(x) for x, _ in loader)

    def ours() -> int:
        rows = torch.randperm(n)
        epoch, seen = inputs.epoch(rows, stream), 0
        for start in range(0, n, size):
            stop = min(start + size, n)
            seen += len(epoch.batch(start, stop)) * (len(labels[rows[start:stop]]) > 0)
        return seen

    assert theirs() == ours() == n
    what = f"Epoch of crop and flip, {n:,} images of 3 x 32 x 32, torchvision's loader / ours"
    assert side_by_side(what, theirs, ours) >= 20


def test_digits_epoch_against_the_barest_loop() -> None:
    cell = small_cell("full", noise="clean", recipe_params={"epochs": 60})
    spec, recipe = cell.spec, cell.spec.recipe
    task, streams = load_task(spec, cell.data), streams_of(spec)
    pruner: Any = resolve_method("full").build()
    clock = Clock(len(task.train), recipe.epochs, 0.0, "samples", 0.0)
    criterion = CRITERIA.get("ce").target()
    setup = Setup(task, recipe, pruner, criterion, streams, clock, torch.device("cpu"))
    trainer = Trainer(setup)

    shape = tuple(task.raw.train_x.shape[1:])
    model = build_model(recipe, shape, task.raw.num_classes, streams.get("init"))
    optimizer = make_optimizer(recipe, model.parameters())
    images, labels = trainer.inputs.clean(trainer.rows), trainer.labels
    bare: list[float] = []

    def barest(_: Trainer) -> None:
        start = time.perf_counter()
        model.train()
        order = torch.randperm(len(labels))
        for first in range(0, len(order), recipe.batch_size):
            index = order[first : first + recipe.batch_size]
            loss = F.cross_entropy(model(images[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        bare.append(time.perf_counter() - start)

    trainer.fit(barest)
    assert trainer.ledger.trained == len(labels) * recipe.epochs
    what = f"Epoch of {len(labels):,} digits, batch {recipe.batch_size}, ours / barest loop"
    assert tell(what, trainer.seconds[5:], bare[5:]) <= 1.15


def test_help_against_importing_click() -> None:
    script = Path(sys.executable).with_name("prunebench")

    def run(*words: str) -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    ratio = side_by_side(
        "prunebench --help / python -c 'import click'",
        lambda: run(sys.executable, str(script), "--help"),
        lambda: run(sys.executable, "-c", "import click"),
        11,
    )
    assert ratio <= 3
