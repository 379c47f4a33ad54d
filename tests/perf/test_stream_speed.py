"""Streamed epochs beside torchvision's plain ImageFolder loader, with the same worker processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from prunebench.bench.inputs.streaming import StreamedInputs
from prunebench.datasets.sources.folder import Folder
from prunebench.rng import Stream
from support.timing import machine

pytestmark = pytest.mark.perf

COPIES, DISTINCT, BATCH, REPEATS = 6, 100, 64, 5
WORKERS = min(8, len(os.sched_getaffinity(0)))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RATIOS = (0.0, 0.5, 0.7)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 JPEG files of 500 x 375 pixels, the usual size of ImageNet's."""
    root: Path = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(DISTINCT):
        coarse = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
        for split, copies in (("train", COPIES), ("test", 1)):
            folder = root / split / f"class_{number % 4}"
            folder.mkdir(parents=True, exist_ok=True)
            for copy in range(copies):
                path = folder / f"{number:03d}_{copy}.jpg"
                if copy or split == "test":
                    path.write_bytes(
                        (root / "train" / folder.name / f"{number:03d}_0.jpg").read_bytes()
                    )
                else:
                    image.save(path, quality=90)
    return root


def seconds(run: Callable[[], int], images: int) -> float:
    start = time.perf_counter()
    assert run() == images
    return time.perf_counter() - start


@pytest.mark.parametrize("augment", ["crop_flip", "resized_crop"])
def test_epochs_against_torchvision(tree: Path, augment: str) -> None:
    """``resized_crop`` does more here than there: torchvision's resizes the box alone; ours brings
    the whole image to its stored size first."""
    torch.set_num_threads(1)
    tail = [
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    crops = {
        "crop_flip": [transforms.Resize((256, 256)), transforms.RandomCrop(224, 4)],
        "resized_crop": [transforms.RandomResizedCrop(224)],
    }
    pictures = ImageFolder(tree / "train", transforms.Compose([*crops[augment], *tail]))
    plain = DataLoader(pictures, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    raw = Folder(path=str(tree), size=256, crop=224, stream="yes", workers=WORKERS).load()
    inputs = StreamedInputs(raw.train_x, raw, augment=augment)  # type: ignore[arg-type]
    n = len(raw.train_y)

    def theirs() -> int:
        return sum(len(x) for x, _ in plain)

    def ours(ratio: float, repeat: int) -> Callable[[], int]:
        rows = Stream(repeat).permutation(n)[: round((1 - ratio) * n)]

        def run() -> int:
            epoch = inputs.augmented_batches(rows, Stream(repeat))
            bounds = [(a, min(a + BATCH, len(rows))) for a in range(0, len(rows), BATCH)]
            return sum(len(epoch.batch(a, b)) for a, b in bounds)

        return run

    times: dict[float | str, list[float]] = {"plain": [], **{ratio: [] for ratio in RATIOS}}
    for repeat in range(REPEATS + 1):
        for ratio in RATIOS:
            pair = seconds(theirs, n), seconds(ours(ratio, repeat), round((1 - ratio) * n))
            if repeat:
                times["plain"].append(pair[0])
                times[ratio].append(pair[1])
    inputs.close()
    base = median(times["plain"])
    print(
        f"\n{augment}: {n} JPEG files of 500 x 375 to 224 x 224, {WORKERS} workers, {REPEATS} "
        f"repeats, {machine()}\nplain: {n / base:.0f} images/s, {min(times['plain']):.2f} to "
        f"{max(times['plain']):.2f} s an epoch"
    )
    gain = {}
    for place, ratio in enumerate(RATIOS):
        kept, mine = round((1 - ratio) * n), times[ratio]
        beside = times["plain"][place :: len(RATIOS)]
        pairs = sorted(a / b for a, b in zip(beside, mine, strict=True))
        gain[ratio] = median(pairs)
        spread = f"{min(mine):.2f} to {max(mine):.2f} s an epoch"
        print(
            f"streamed, {ratio:.0%} pruned: {kept / median(mine):.0f} images/s, {spread}; "
            f"{gain[ratio]:.2f}x (pairs {pairs[0]:.2f} to {pairs[-1]:.2f})"
        )
    own = median(a / b for a, b in zip(times[0.0], times[0.5], strict=True))
    print(f"streamed, 0% pruned / 50% pruned: {own:.2f}x")
    assert own >= 1.8
    assert gain[0.5] >= 1.8
