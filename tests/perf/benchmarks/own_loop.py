"""A plain training loop of one's own beside the same loop around ``Pruning``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from prunebench.api.pruning import Pruning
from prunebench.bench.networks.build import build_model
from prunebench.bench.perf.result import Figure, Goal, Result, figure, made
from prunebench.bench.perf.timing import Ratio, in_turn
from prunebench.bench.perf.workload import Settings, streams
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.optimizers import EagerSGD

_CLASSES = 10
#: More epochs than any measurement takes.
_MANY = 10_000
#: Method and ratio of each loop around ``Pruning``; all make equally many steps.
PRUNED: dict[str, tuple[str, float, dict[str, float]]] = {
    "full": ("full", 0.0, {}),
    "infobatch, nothing pruned": ("infobatch", 0.0, {"r": 0.0}),
    "infobatch, ratio 0.5": ("infobatch", 0.5, {}),
}


class OwnLoop:
    """A loop that makes some steps, and goes on where it stopped.

    Args:
        model: The network; trained in place.
        data: What it is trained on.
        batch: Batch size.
        steps: Steps of one turn.
    """

    def __init__(self, model: nn.Module, data: TensorDataset, batch: int, steps: int) -> None:
        self.model, self.data, self.batch, self.count = model, data, batch, steps
        self.optimizer = EagerSGD(model.parameters(), lr=0.01, momentum=0.9)
        self._steps = self.steps()

    def turn(self) -> None:
        """Makes the steps."""
        for _ in range(self.count):
            next(self._steps)

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        """float [B], cross-entropy of each sample."""
        return F.cross_entropy(self.model(x), y, reduction="none")

    def update(self, loss: Tensor) -> None:
        """One step of the optimiser."""
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def steps(self) -> Iterator[None]:
        """The bare loop."""
        loader = DataLoader(self.data, self.batch, shuffle=True)
        while True:
            for x, y in loader:
                self.update(self.losses(x, y).mean())
                yield


class PrunedLoop(OwnLoop):
    """The same with a pruner.

    Args:
        model: As of ``OwnLoop``; likewise ``data``, ``batch`` and ``steps``.
        method: Of ``Pruning``.
        ratio: Of ``Pruning``.
        params: Of ``Pruning``.
    """

    def __init__(
        self, model: nn.Module, data: TensorDataset, batch: int, steps: int, method: str,
        ratio: float, params: dict[str, float],
    ) -> None:  # fmt: skip
        self.pruning = Pruning(data, method, epochs=_MANY, ratio=ratio, params=params)
        super().__init__(model, data, batch, steps)

    def steps(self) -> Iterator[None]:
        """The loop of docs/own-loop.md."""
        pruning = self.pruning
        loader = DataLoader(pruning.dataset, self.batch, sampler=pruning.sampler)
        for _ in pruning.epochs():
            for x, y, sample in loader:
                self.update(pruning.loss(self.losses(x, y), sample))
                yield
            pruning.end_epoch()


class Weightless(nn.Module):
    """Next to no arithmetic: two pixels to C logits."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(2, _CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, C]."""
        return self.last(x[:, 0, 0, :2])


def random_images(n: int, side: int) -> TensorDataset:
    """n random images of 3 channels with random labels."""
    g = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(n, 3, side, side, generator=g),
                         torch.randint(_CLASSES, (n,), generator=g))  # fmt: skip


def loops(
    build: Callable[[], nn.Module], data: TensorDataset, batch: int, steps: int
) -> dict[str, OwnLoop]:
    """The bare loop, and those around ``Pruning``."""
    found = {"bare loop": OwnLoop(build(), data, batch, steps)}
    for name, given in PRUNED.items():
        found[name] = PrunedLoop(build(), data, batch, steps, *given)
    return found


def own_loop(s: Settings) -> list[Result]:
    """Around a small network, a narrow ResNet-18, and next to none.

    What ``Pruning`` adds to a step does not depend on the network. Around next to none it stands
    out from the noise of a shared machine, so the goal is on that cost as a share of the bare step
    of a network; the ratio of the whole loops is given beside it.
    """

    def network(name: str, params: dict[str, Any]) -> Callable[[], nn.Module]:
        recipe = Recipe(name="perf", model=name, model_params=params, epochs=1, lr=0.1,
                        batch_size=s.batch)  # fmt: skip
        shape = (3, s.side, s.side)
        return lambda: build_model(recipe, shape, _CLASSES, streams(0).get("init"))

    width = max(1, s.width // 4)
    epoch = 12 * s.steps
    data = random_images(epoch * s.batch, s.side)
    build: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
        "weightless": (Weightless, epoch, "next to no network"),
        "small": (network("cnn", {"width": width, "depth": 2}), s.steps,
                  f"a network of {width} channels"),
        "resnet18": (network("resnet18", {"width": s.width}), 1, f"a ResNet-18 of width {s.width}"),
    }  # fmt: skip
    found, costs = [], {}
    for variant, (net, steps, what) in build.items():
        contenders = loops(net, data, s.batch, steps)
        turns: dict[str, Callable[[], object]] = {n: one.turn for n, one in contenders.items()}
        times = in_turn(turns, 5 * s.repeats, s.device)
        bare, *pruned = contenders
        step = times.median(bare) / steps
        figures = [Figure("bare step", 1e3 * step, "ms")]
        for name in pruned:
            if variant == "weightless":
                pairs = zip(times.seconds(name), times.seconds(bare), strict=True)
                added = sorted((a - b) / steps for a, b in pairs)
                costs[name] = Ratio(median(added), *_quartiles(added))
                figures.append(figure(f"{name}: added", costs[name].times(1e3), "ms"))
                continue
            share = costs[name].times(1 / step)
            whole = times.ratio(name, bare)
            figures.append(figure(f"{name}: added / bare step", share, "share", Goal(0.02, False)))
            figures.append(figure(f"{name} / bare loop", whole))
        what = f"turns of {steps} steps of {s.batch} images of {s.side} x {s.side}, {what}"
        note = (f"an epoch has {epoch} steps; the spread of what is added is that of the middle "
                "half of the pairs")  # fmt: skip
        found.append(made("own-loop", what, times, figures, [note], variant))
    return found


def _quartiles(values: list[float]) -> tuple[float, float]:
    """Of sorted values."""
    return values[len(values) // 4], values[(3 * len(values)) // 4]
