"""One of the processes that share runs of ``Pruning``; words: RANK SIZE FOLDER METHOD..."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from prunebench.api.pruning import Pruning


def data(n: int = 52) -> TensorDataset:
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, torch.arange(n) % 4)


def fit(method: str, batch: int) -> dict[str, object]:
    """Losses that depend on sample and epoch alone; returns what this process saw."""
    pruning = Pruning(data(), method, epochs=8, ratio=0.3, seed=2, reference=data(8),
                      params={"threshold": 1.0} if method == "ies" else {})  # fmt: skip
    loader = DataLoader(pruning.dataset, batch_size=batch, sampler=pruning.sampler)
    order = []
    for epoch in pruning.epochs():
        order.append([])
        for _, _, sample in loader:
            losses = 1.2 + (sample.float() * 0.7 + epoch).sin()
            pruning.loss(losses, sample)
            order[-1].append(sample.tolist())
        pruning.score(nn.Linear(4, 4).requires_grad_(False).apply(_constant))
        pruning.end_epoch(0.5 / (epoch + 1))
    tables = {name: table.nan_to_num(-7).tolist() for name, table in
              pruning.tables.state_dict().items()}  # fmt: skip
    return {"order": order, "tables": tables, "trained": pruning.trained}


def _constant(layer: nn.Module) -> None:
    for p in layer.parameters():
        p.fill_(0.1)


if __name__ == "__main__":
    rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/meet", rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    for method in sys.argv[4:]:
        (folder / f"{method}-{rank}.json").write_text(json.dumps(fit(method, batch=4)))
    dist.destroy_process_group()
