"""Self-supervised features of a data set: one encoder, trained once on unlabelled images and
shared by every noise, ratio and seed (SimCLR; Chen et al., ICML 2020)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunebench.bench.inputs.statistics import with_statistics
from prunebench.bench.inputs.streaming import open_inputs
from prunebench.bench.inputs.strong import strong_view
from prunebench.bench.networks.build import build_model
from prunebench.bench.results.atomic import folder_errors
from prunebench.bench.results.claims import Busy, Claims
from prunebench.bench.results.manifest import (
    Damaged,
    check_numbers,
    read_array,
    read_manifest,
    verify,
    write_manifest,
)
from prunebench.bench.results.store import Store
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train.evaluate import forward_all
from prunebench.bench.train.schedules import one_cycle
from prunebench.datasets.source import RawData
from prunebench.datasets.task import Task
from prunebench.errors import SkipCell
from prunebench.record import canonical, content_key, file_digest
from prunebench.rng import Streams

VERSION = 1
BATCH = 256
TEMPERATURE = 0.2
PROJECTION = 128
LR = 2e-3
_FEW = 16


def nt_xent(first: Tensor, second: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Normalised temperature-scaled cross-entropy between two views (SimCLR, Eq. 1).

    Args:
        first: float [B, P], projections of one view.
        second: float [B, P], of the other.
        temperature: Softmax temperature.

    Returns:
        Scalar mean loss over the 2 B anchors.
    """
    z = F.normalize(torch.cat([first, second]), dim=1)
    similarity = z @ z.T / temperature
    similarity = similarity.masked_fill(
        torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf
    )
    n = len(first)
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(similarity, partner)


def train_encoder(
    raw: RawData, recipe: Recipe, streams: Streams, device: torch.device
) -> tuple[Tensor, int]:
    """Trains the recipe's network without labels and embeds the original training split.

    Args:
        raw: The data set; labels are never read.
        recipe: Gives architecture, epochs and augmentation.
        streams: Seed 0 of the data set, free of noise.
        device: Where to train.

    Returns:
        float32 [N, D] features of all rows in eval mode on the unaugmented view, and the samples
        trained (each view counts).
    """
    trial = _Encoder(raw, recipe, streams, device, BATCH)
    for _ in trial.steps():
        pass
    features = trial.embed()
    trial.inputs.close()
    return features, 2 * trial.count * trial.batch


class _Encoder:
    """One training, step by step; arguments as of ``train_encoder``."""

    def __init__(
        self, raw: RawData, recipe: Recipe, streams: Streams, device: torch.device, batch: int
    ) -> None:
        self.device, self.streams = device, streams
        augment = raw.augment if recipe.augment == "dataset" else recipe.augment
        raw = with_statistics(raw, recipe.normalise)
        self.inputs = open_inputs(raw.train_x, raw, augment=augment, pad=recipe.pad, device=device)
        model = build_model(recipe, raw.input_shape, raw.num_classes, streams.get("init"))
        self.net = cast(Any, model.to(device))
        self.total, self.training = len(raw.train_x), raw.training_rows.to(device)
        self.batch = min(batch, len(self.training))
        self.per_epoch = len(self.training) // self.batch
        self.count = recipe.epochs * self.per_epoch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(streams.get("projector").key & 0x7FFFFFFFFFFFFFFF)
            two = torch.arange(2, device=device)
            width = self.net.features(self.inputs.unaugmented(two)).shape[1]
            self.projector = nn.Sequential(
                nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, PROJECTION)
            ).to(device)
        params = [*model.parameters(), *self.projector.parameters()]
        self.optimizer = torch.optim.Adam(params, lr=LR)

    def steps(self) -> Iterator[None]:
        """Trains, and yields after every step."""
        inputs, streams, batch = self.inputs, self.streams, self.batch
        self.net.train()
        for step in range(self.count):
            epoch, place = divmod(step, self.per_epoch)
            start, stop = place * batch, (place + 1) * batch
            if place == 0:
                order = streams.get("order", epoch).permutation(len(self.training), self.device)
                order = self.training[order]
                stored = inputs.unaugmented_batches(order[: self.per_epoch * batch])
            rows, pixels = order[start:stop], stored.pixels(start, stop)
            views = [
                strong_view(inputs, rows, streams.get("view", epoch).child(side), pixels)
                for side in "ab"
            ]
            projected = self.projector(self.net.features(torch.cat(views))).float()
            first, second = projected.split(batch)
            for group in self.optimizer.param_groups:
                group["lr"] = one_cycle(step / self.count, LR, pct_start=0.1)
            self.optimizer.zero_grad(set_to_none=True)
            nt_xent(first, second).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            yield

    def embed(self) -> Tensor:
        """float32 [N, D], features of all rows."""
        autocast = torch.autocast(self.device.type, enabled=False)
        every = torch.arange(self.total, device=self.device)
        batches, size = self.inputs.unaugmented_batches(every).batch, self.inputs.eval_batch
        features = forward_all(self.net, self.total, batches, autocast, features=True, size=size)[1]
        assert features is not None
        return features.cpu()


def encoder_seconds(
    raw: RawData, recipe: Recipe, device: torch.device, limit_s: float = 2.0
) -> float:
    """Seconds per view of training an encoder, from its first steps; 0 where there are no images.

    Args:
        raw: The data set, or one of its shape.
        recipe: As of ``train_encoder``.
        device: Where to train.
        limit_s: Seconds that a step of the usual size may take; slower ones are judged by smaller
            batches.
    """
    if raw.train_x.dtype != torch.uint8:
        return 0.0
    each = 0.0
    for batch in (_FEW, BATCH):
        if each * 2 * batch > limit_s:
            break
        trial = _Encoder(raw, recipe, Streams(0, "calibration", "self-supervised"), device, batch)
        times = [time.perf_counter()]
        for _ in trial.steps():
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter())
            if len(times) == 4:
                break
        trial.inputs.close()
        taken = [b - a for a, b in pairwise(times)]
        each = statistics.median(taken[1:] or taken) / (2 * trial.batch)  # the first warms up
    return each


def encoder_key(spec: RunSpec) -> str:
    """Key of a data set's encoder: content, architecture and schedule, nothing else."""
    recipe = spec.recipe
    return content_key(
        {
            "self_supervised": VERSION,
            "dataset": spec.dataset.model_dump(mode="json"),
            "model": recipe.model,
            "model_params": recipe.model_params,
            "epochs": recipe.epochs,
            "augment": recipe.augment,
            **({} if recipe.normalise == "dataset" else {"normalise": recipe.normalise}),
            **({"compat": recipe.compat} if recipe.compat else {}),
        }
    )


def ssl_features(
    spec: RunSpec, store: Store, task: Task, device: torch.device
) -> tuple[Tensor, int]:
    """Finds or trains the features of a data set.

    Args:
        spec: The run that needs them: its data set, and the recipe of the encoder.
        store: The results folder.
        task: The data.
        device: Where the encoder is trained.

    Returns:
        float32 [N_original, D], and the samples trained for them.

    Raises:
        Busy: Another process is training the encoder.
        SkipCell: The data are no images.
    """
    if task.raw.train_x.dtype != torch.uint8:
        raise SkipCell("self-supervised features need images")
    key = encoder_key(spec)
    folder = store.evidence_path(key)
    rows = len(task.raw.train_x)
    found = _read(store, folder, rows)
    if found is not None:
        return found
    with folder_errors(store.claims):
        claim = Claims(store.claims).acquire(key)
    if claim is None:
        raise Busy(f"the self-supervised encoder {key} is being trained elsewhere")
    with claim:
        found = _read(store, folder, rows)
        if found is not None:
            return found
        data = spec.dataset
        salt = canonical([data.name, data.version, data.params, data.identity])
        streams = Streams(0, salt, "self-supervised")
        features, trained = train_encoder(task.raw, spec.recipe, streams, device)
        with folder_errors(folder), store.temporary_folder("evidence") as work:
            np.save(work / "features.npy", features.numpy(), allow_pickle=False)
            manifest = {
                "key": key,
                "needs": {"signals": [], "snapshots": [], "strong": []},
                "trained": trained,
                "files": {"features.npy": file_digest(work / "features.npy")},
            }
            write_manifest(work, manifest)
            store.publish_folder(work, folder)
        return features, trained


def _read(store: Store, folder: Path, rows: int) -> tuple[Tensor, int] | None:
    try:
        manifest = read_manifest(folder)
        if manifest is None:
            return None
        verify(folder, manifest)
        path = folder / "features.npy"
        check_numbers(path, read_array(path, "float32", (rows, None)))
        if type(manifest.get("trained")) is not int or manifest["trained"] < 0:
            raise Damaged(f"{folder}: no number of samples trained")
    except Damaged as error:
        store.set_aside(folder, str(error))
        return None
    features = np.load(folder / "features.npy", allow_pickle=False)
    return torch.from_numpy(features), int(manifest["trained"])
