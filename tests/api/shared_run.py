"""Two processes that train with ``Pruning`` in DistributedDataParallel; word: FOLDER.

They train every run of ``RUNS``, and each writes what it saw to the folder.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from prunebench.api.own_pruner import pruner_of
from prunebench.api.pruning import Pruning
from support.asking import Asking

BATCH = 8


@dataclass(frozen=True)
class SharedRun:
    """What is trained.

    Attributes:
        method: Its name.
        params: Its options.
        batch_norm: Whether the network has statistics, which differ from process to process.
        restart: Step after which the run goes on from a state that process 0 has written.
    """

    method: str
    params: dict[str, Any] = field(default_factory=dict)
    batch_norm: bool = False
    restart: int | None = None


_WINDOW = {"align.window": 3, "align.min_obs": 2}
RUNS = {
    "infobatch": SharedRun("infobatch"),
    "infobatch+align": SharedRun("infobatch+align", _WINDOW),
    "ies": SharedRun("ies", {"threshold": 0.1, "ma": 1}),
    "divbs": SharedRun("divbs"),
    "divbs-restarted": SharedRun("divbs", restart=14),
    "asking": SharedRun("asking"),
    "asking-restarted": SharedRun("asking", restart=14),
    "batch-norm": SharedRun("infobatch+align", _WINDOW, batch_norm=True),
    "restarted": SharedRun("infobatch+align", _WINDOW, restart=14),
}


def data(n: int = 52) -> TensorDataset:
    """Four classes, in float64: sums in another order differ by less than any choice depends on."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 4
    return TensorDataset(torch.randn(n, 4, generator=rng).double() + 2 * torch.eye(4)[y], y)


def network(batch_norm: bool) -> nn.Sequential:
    """Body and head."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(16) if batch_norm else nn.Identity()
    return nn.Sequential(nn.Linear(4, 16), norm, nn.ReLU(), nn.Linear(16, 4)).double()


def fit(run: SharedRun, processes: int = 1, folder: Path | None = None) -> dict[str, Any]:
    """Trains one run in this process.

    Args:
        run: What is trained.
        processes: Of the run that it equals; an epoch's last samples that do not go round are left
            out, as they are there.
        folder: Where the processes exchange a state; None: this process is alone.

    Returns:
        ``order`` of the samples by epoch and step, gradients of every step, ``params`` and
        ``tables`` at the end, samples ``trained``, ``scored`` without training and of the
        ``target``.
    """

    def fresh() -> Pruning:
        return Pruning(data(), run.method, epochs=8, ratio=0.3, seed=2, params=run.params,
                       reference=data(13))  # fmt: skip

    found = asking if run.method == "asking" else pruner_of
    with patch("prunebench.api.pruning.pruner_of", found):
        return _trained(run, fresh, processes, folder)


def asking(*_: Any) -> tuple[Asking, float]:
    """A pruner that is not registered."""
    return Asking(), 0.3


def _trained(
    run: SharedRun, fresh: Callable[[], Pruning], processes: int, folder: Path | None
) -> dict[str, Any]:

    pruning, net = fresh(), network(run.batch_norm)
    model: Any = DistributedDataParallel(net) if folder else net
    order: list[list[list[int]]] = []
    gradients: list[torch.Tensor] = []
    scored, again = 0, True
    while again:
        again = False
        loader = DataLoader(pruning.dataset, BATCH * (1 if folder else processes),
                            sampler=pruning.sampler)  # fmt: skip
        for epoch in pruning.epochs():
            left = len(pruning.sampler) // (1 if folder else processes) * processes
            if not left and not folder:
                break
            order += [[]] * (epoch + 1 - len(order))
            for x, y, sample in loader:
                x, y, sample = x[:left], y[:left], sample[:left]
                left -= len(sample)
                if pruning.selecting:
                    with torch.no_grad():
                        features = net[:-1](x)
                        part = pruning.choose(net[-1](features), features, y, sample)
                    x, y, sample = x[part], y[part], sample[part]
                if not len(sample):
                    break
                net.zero_grad()
                logits = model(x)
                losses = F.cross_entropy(logits, y, reduction="none")
                loss = pruning.loss(losses, sample, logits=logits, labels=y)
                loss.backward()  # type: ignore[no-untyped-call]
                gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]))  # type: ignore[union-attr]
                with torch.no_grad():
                    for p in net.parameters():
                        p -= 0.5 * pruning.lr_factor * p.grad  # type: ignore[operator]
                order[epoch] = [*order[epoch], sample.tolist()]
                if len(gradients) == run.restart:
                    again = True
                    break
            if again:
                pruning = restarted(pruning, fresh(), folder)
                break
            scored += pruning.score(net)
            pruning.end_epoch(pruning.reference_loss(net))
    tables = {name: table.nan_to_num(-7) for name, table in pruning.tables.state_dict().items()}
    params = torch.cat([p.detach().flatten() for p in net.parameters()])
    return {
        "order": order, "gradients": gradients, "params": params, "tables": tables,
        "trained": pruning.trained, "target": pruning.clock.target, "scored": scored,
    }  # fmt: skip


def restarted(pruning: Pruning, fresh: Pruning, folder: Path | None) -> Pruning:
    """A new object with the state that process 0 has written for all."""
    assert folder is not None
    state = pruning.state_dict(gather=True)
    if dist.get_rank() == 0:
        torch.save(state, folder / "state.pt")
    dist.barrier()
    fresh.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    return fresh


def process(rank: int, size: int, place: Path) -> None:
    """What one of the processes does."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{place}/meet", rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    for name, run in RUNS.items():
        torch.save(fit(run, size, place), place / f"{name}-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    import torch._dynamo  # DistributedDataParallel needs it; imported once for all processes

    fork = multiprocessing.get_context("fork")
    jobs = [fork.Process(target=process, args=(rank, 2, Path(sys.argv[1]))) for rank in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    sys.exit([job.exitcode for job in jobs] != [0, 0])
