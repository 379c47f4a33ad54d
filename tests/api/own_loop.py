"""A plain training loop around ``Pruning`` beside the harness's own trainer, on digits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from prunebench.api.pruning import Pruning
from prunebench.bench.networks.build import build_model
from prunebench.bench.train.optimizers import make_optimizer, set_schedule
from prunebench.bench.train.schedules import schedule
from prunebench.bench.train.trainer import Trainer
from support.runs import make

EPOCHS, BATCH = 6, 64


def trainer(method: str, ratio: float = 0.5, **fields: Any) -> Trainer:
    """The harness's own run; it is not trained yet."""
    recipe = {"epochs": EPOCHS, "batch_size": BATCH, "augment": "none", "cycle_momentum": False}
    return make(method, graph="off", ratio=ratio, recipe_params=recipe, **fields)


class OwnLoop:
    """What a user writes, on the data, the network and the recipe of a run of the harness.

    Args:
        run: The harness's run.
        method: Its method.
        workers: Of the loader.
    """

    def __init__(self, run: Trainer, method: str, workers: int = 0, **pruning: Any) -> None:
        self.run, setup = run, run.setup
        self.x = run.inputs.unaugmented(run.sample_ids)
        reference = setup.reference
        fields: dict[str, Any] = {
            "epochs": setup.recipe.epochs, "ratio": setup.clock.ratio, "ids": run.sample_ids,
            "streams": setup.streams, "params": setup.pruner.params,
            "num_classes": setup.task.raw.num_classes,
        }  # fmt: skip
        if reference is not None:
            fields["reference"] = TensorDataset(
                run.inputs.unaugmented(reference.sample_ids), reference.labels
            )
        if setup.pruner.holdout_model:
            fields["irreducible"] = setup.irreducible
        self.pruning = Pruning(
            TensorDataset(self.x, run.labels), method, **{**fields, **pruning}
        )  # fmt: skip
        self.model: Any = build_model(
            setup.recipe, setup.task.raw.input_shape, setup.task.raw.num_classes,
            setup.streams.get("init"),
        )  # fmt: skip
        self.optimizer = make_optimizer(setup.recipe, self.model.parameters())
        self.loader = DataLoader(
            self.pruning.dataset, batch_size=BATCH, sampler=self.pruning.sampler,
            num_workers=workers, persistent_workers=workers > 0,
        )  # fmt: skip
        self.order: list[list[int]] = []

    def train(self, stop_after: int | None = None) -> Iterator[None]:
        """Trains, and yields after every step."""
        pruning, rate = self.pruning, schedule(self.run.setup.recipe)
        for _ in pruning.epochs():
            self.order.append([])
            self.model.train()
            for x, y, sample in self.loader:
                lr, momentum = rate(pruning.progress)
                set_schedule(self.optimizer, lr * pruning.lr_factor, momentum)
                if pruning.selecting:
                    x, y, sample = self.chosen(x, y, sample)
                    if not len(sample):
                        break
                logits = self.model(x)
                losses = F.cross_entropy(logits, y, reduction="none")
                self.optimizer.zero_grad(set_to_none=True)
                loss = pruning.loss(losses, sample, logits=logits, labels=y)
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                self.order[-1] += sample.tolist()
                yield
            if pruning.unscored:
                pruning.score(self.model)
            pruning.end_epoch(pruning.reference_loss(self.model))

    def chosen(self, x: Tensor, y: Tensor, sample: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What a batch-level method trains of a batch."""
        if not self.pruning.scoring_pass:
            part = self.pruning.choose(None, None, y, sample)
            return x[part], y[part], sample[part]
        self.model.eval()
        with torch.no_grad():
            features = self.model.features(x)
            logits = self.model.head(features)
        self.model.train()
        part = self.pruning.choose(logits, features, y, sample)
        return x[part], y[part], sample[part]


def to_end(loop: OwnLoop) -> OwnLoop:
    """Trains to the end."""
    for _ in loop.train():
        pass
    return loop


def parameters(model: nn.Module) -> dict[str, Tensor]:
    """By name, running statistics included."""
    return dict(model.state_dict())


def network(num_classes: int, in_shape: tuple[int, ...]) -> nn.Module:
    """A network of somebody's own, in a module that worker processes can import."""
    return nn.Sequential(nn.Linear(in_shape[0], 8), nn.ReLU(), nn.Linear(8, num_classes))


def fifty(labels: Any = None) -> TensorDataset:
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, torch.arange(50) % 5 if labels is None else labels)


def losses_of(sample: torch.Tensor) -> torch.Tensor:
    return sample.float().sin() + 1.5


def visits(pruning: Pruning, workers: int = 0, steps: int | None = None) -> list[tuple[int, float]]:
    """(sample, weighted loss of its batch) of every step, for some steps or to the end."""
    loader = DataLoader(pruning.dataset, batch_size=8, sampler=pruning.sampler,
                        num_workers=workers, persistent_workers=workers > 0)  # fmt: skip
    seen: list[tuple[int, float]] = []
    count = itertools.count()
    for _ in pruning.epochs():
        for _, _, sample in loader:
            value = pruning.loss(losses_of(sample), sample).item()
            seen += [(number, value) for number in sample.tolist()]
            if next(count) + 1 == steps:
                return seen
        pruning.end_epoch(1.0)
    return seen
