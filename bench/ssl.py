"""Self-supervised features of a data set: one encoder, trained once on unlabelled images and
shared by every noise, ratio and seed (SimCLR; Chen et al., ICML 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunebench.bench.claims import Claims
from prunebench.bench.evaluate import forward_all
from prunebench.bench.evidence import Damaged, read_manifest, verify, write_manifest
from prunebench.bench.models import build_model
from prunebench.bench.normalise import with_statistics
from prunebench.bench.optim import one_cycle
from prunebench.bench.recipe import Recipe
from prunebench.bench.scratch import storing
from prunebench.bench.store import Store
from prunebench.bench.streaming import open_inputs
from prunebench.bench.strong import strong_view
from prunebench.datasets.task import RawData, Task
from prunebench.errors import SkipCell
from prunebench.record import canonical, content_key, file_digest
from prunebench.rng import Streams

if TYPE_CHECKING:
    from prunebench.bench.cell import _Cell

VERSION = 1
BATCH = 256
TEMPERATURE = 0.2
PROJECTION = 128
LR = 2e-3


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
    similarity = similarity.masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
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
        float32 [N, D] features of all rows in eval mode on the clean view, and the samples
        trained (each view counts).
    """
    augment = raw.augment if recipe.augment == "dataset" else recipe.augment
    raw = with_statistics(raw, recipe.normalise)
    inputs = open_inputs(raw.train_x, raw, augment=augment, pad=recipe.pad, device=device)
    model = build_model(recipe, raw.input_shape, raw.num_classes, streams.get("init"))
    net = cast(Any, model.to(device))
    training = raw.training_rows.to(device)
    n = len(training)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(streams.get("projector").key & 0x7FFFFFFFFFFFFFFF)
        width = net.features(inputs.clean(torch.arange(2, device=device))).shape[1]
        projector = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, PROJECTION)
        ).to(device)
    optimizer = torch.optim.Adam([*model.parameters(), *projector.parameters()], lr=LR)
    batch = min(BATCH, n)
    steps = recipe.epochs * (n // batch)
    model.train()
    for step in range(steps):
        epoch, place = divmod(step, n // batch)
        start, stop = place * batch, (place + 1) * batch
        if place == 0:
            order = training[streams.get("order", epoch).permutation(n, device)]
            stored = inputs.plain(order[: n // batch * batch])
        rows, pixels = order[start:stop], stored.pixels(start, stop)
        views = [
            strong_view(inputs, rows, streams.get("view", epoch).child(side), pixels)
            for side in "ab"
        ]
        first, second = projector(net.features(torch.cat(views))).float().split(batch)
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(step / steps, LR, pct_start=0.1)
        optimizer.zero_grad(set_to_none=True)
        nt_xent(first, second).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    autocast = torch.autocast(device.type, enabled=False)
    every = torch.arange(len(raw.train_x), device=device)
    clean = inputs.plain(every).batch
    features = forward_all(
        model, len(every), clean, autocast, features=True, size=inputs.eval_batch
    )[1]
    assert features is not None
    inputs.close()
    return features.cpu(), 2 * steps * batch


def encoder_key(cell: _Cell) -> str:
    """Key of a data set's encoder: content, architecture and schedule, nothing else."""
    recipe = cell.spec.recipe
    return content_key(
        {
            "self_supervised": VERSION,
            "dataset": cell.spec.dataset.model_dump(mode="json"),
            "model": recipe.model,
            "model_params": recipe.model_params,
            "epochs": recipe.epochs,
            "augment": recipe.augment,
            **({} if recipe.normalise == "dataset" else {"normalise": recipe.normalise}),
            **({"compat": recipe.compat} if recipe.compat else {}),
        }
    )


def ssl_features(cell: _Cell, task: Task) -> tuple[Tensor, int]:
    """Finds or trains the features of a data set.

    Returns:
        float32 [N_original, D], and the samples trained for them.

    Raises:
        Busy: Another process is training the encoder.
        SkipCell: The data are no images.
    """
    from prunebench.bench.proxies import Busy

    if task.raw.train_x.dtype != torch.uint8:
        raise SkipCell("self-supervised features need images")
    store, key = cell.store, encoder_key(cell)
    folder = store.evidence_path(key)
    found = _read(store, folder)
    if found is not None:
        return found
    with storing(store.claims):
        claim = Claims(store.claims).acquire(key)
    if claim is None:
        raise Busy(f"the self-supervised encoder {key} is being trained elsewhere")
    with claim:
        found = _read(store, folder)
        if found is not None:
            return found
        data = cell.spec.dataset
        salt = canonical([data.name, data.version, data.params, data.identity])
        streams = Streams(0, salt, "self-supervised")
        features, trained = train_encoder(task.raw, cell.spec.recipe, streams, cell.device)
        with storing(folder), store.scratch("evidence") as work:
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


def _read(store: Store, folder: Path) -> tuple[Tensor, int] | None:
    try:
        manifest = read_manifest(folder)
        if manifest is None:
            return None
        verify(folder, manifest)
    except Damaged as error:
        store.set_aside(folder, str(error))
        return None
    features = np.load(folder / "features.npy", allow_pickle=False)
    return torch.from_numpy(features), int(manifest["trained"])
