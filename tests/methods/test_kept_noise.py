"""What the methods keep under label noise, on real images: the behaviour the papers report."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from prunebench.bench.results.manifest import merge
from prunebench.bench.runs.evidence import RecordedEvidence, Recorder
from prunebench.bench.runs.view_files import ViewFiles
from prunebench.bench.train.task import load_task, streams_of
from prunebench.datasets.images.packed_format import write_packed
from prunebench.methods.compose import resolve_method
from support.cells import small_cell
from support.runs import trainer_of

METHODS = ("random", "small-loss", "margin", "grand", "el2n", "oracle-clean")


def kept_noise(folder: Path, **fields) -> tuple[dict[str, float], float]:
    """Noise rate among the half that each method keeps, and the base rate, for one seed."""
    folder.mkdir()
    cell = small_cell("full", **fields)
    spec = cell.spec
    task, streams = load_task(spec, cell.data), streams_of(spec)
    epochs, warmup = spec.recipe.epochs, spec.recipe.scoring_epoch
    pruners = {name: resolve_method(name).build() for name in METHODS}
    need = merge(p.needs(epochs, warmup) for p in pruners.values())
    recorder = Recorder(need, ViewFiles(folder / "checkpoints" / "run"))
    trainer = trainer_of(cell, callbacks=[recorder])
    trainer.fit()
    evidence_folder = folder / "evidence"
    evidence_folder.mkdir()
    recorder.write(evidence_folder, trainer, {})
    rates = {}
    for name, pruner in pruners.items():
        evidence = RecordedEvidence(task, epochs, warmup, [evidence_folder], oracle=pruner.oracle)
        k = len(task.train) // 2
        kept = pruner.keep(evidence, k, streams.get(f"keep:{name}")).indices
        rates[name] = float(task.flipped[kept].double().mean())
    return rates, float(task.flipped.double().mean())


def check(found: list[tuple[dict[str, float], float]]) -> None:
    base = np.mean([rate for _, rate in found])
    mean = {name: float(np.mean([rates[name] for rates, _ in found])) for name in METHODS}
    assert mean["oracle-clean"] == 0.0
    assert mean["small-loss"] < 0.25 * base
    assert abs(mean["random"] - base) < 0.03
    for name, excess in (("margin", 0.01), ("grand", 0.1), ("el2n", 0.1)):
        assert mean[name] > base + excess, (name, mean[name], base)
    assert mean["el2n"] > 1.5 * base


def test_digits(tmp_path):
    check([kept_noise(tmp_path / str(seed), seed=seed, recipe_params={"epochs": 24})
           for seed in range(5)])  # fmt: skip


@pytest.mark.soak
@pytest.mark.skipif("PRUNEBENCH_DATA" not in os.environ, reason="PRUNEBENCH_DATA is not set")
def test_mnist(tmp_path):
    source = Path(os.environ["PRUNEBENCH_DATA"]) / "mnist"
    for part, prefix, n in (("train", "train", 3000), ("test", "t10k", 500)):
        with gzip.open(source / f"{prefix}-images-idx3-ubyte.gz") as file:
            images = np.frombuffer(file.read(16 + n * 784)[16:], np.uint8).copy()
        with gzip.open(source / f"{prefix}-labels-idx1-ubyte.gz") as file:
            labels = np.frombuffer(file.read(8 + n)[8:], np.uint8)
        pixels = torch.from_numpy(images).view(n, 1, 28, 28)
        write_packed(tmp_path / f"{part}.npz", pixels, labels)
    recipe = {
        "epochs": 12,
        "warmup": 6,
        "batch_size": 64,
        "lr": 0.1,
        "model_params": {"width": 8, "depth": 3},
        "augment": "none",
    }
    check([kept_noise(tmp_path / str(seed), dataset=f"packed:{tmp_path}", seed=seed,
                      recipe_params=recipe) for seed in range(2)])  # fmt: skip
