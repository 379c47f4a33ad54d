"""One update of the full ResNet-18's tensors, and its share of a whole training step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from perf.benchmarks.literal import LiteralLARS
from prunebench.bench.networks.build import build_model
from prunebench.bench.perf.result import Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn, paired
from prunebench.bench.perf.workload import Settings, streams
from prunebench.bench.spec.recipes import get_recipe
from prunebench.bench.train.optimizers import LARS


def wide(s: Settings) -> int:
    """Channels of the full ResNet-18's first stage, beside the narrow one's."""
    return 4 * s.width


def full_network(s: Settings) -> nn.Module:
    """The ResNet-18 of the paper's recipe."""
    recipe = get_recipe("cifar10n")
    recipe = recipe.model_copy(update={"model_params": {"width": wide(s)}})
    return build_model(recipe, (3, s.side, s.side), 10, streams(0).get("init")).to(s.device)


def _gradients(model: nn.Module) -> None:
    g = torch.Generator().manual_seed(0)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=g).to(p.device) * 1e-3


def lars(s: Settings) -> Result:
    """LARS beside unfused SGD, the literal LARS and forward plus backward."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(s.batch, 3, s.side, s.side, generator=g).to(s.device)
    y = torch.randint(10, (s.batch,), generator=g).to(s.device)
    model, contenders = full_network(s), {}

    def training() -> None:
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]

    nets = [full_network(s) for _ in range(3)]
    for net in nets:
        _gradients(net)
    ours = LARS(nets[0].parameters(), 0.1, 0.9, 5e-4)
    sgd = torch.optim.SGD(
        nets[1].parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, foreach=False, fused=False
    )
    theirs = LiteralLARS(nets[2].parameters(), 0.1)
    contenders = {
        "LARS": ours.step, "unfused SGD": sgd.step, "literal LARS": theirs.step,
        "forward and backward": training,
    }  # fmt: skip
    calls = {name: 5 for name in contenders if name != "forward and backward"}
    times = in_turn(contenders, s.repeats, s.device, calls)
    whole = [
        a + b
        for a, b in zip(times.seconds("LARS"), times.seconds("forward and backward"), strict=True)
    ]
    figures = [
        figure("LARS / unfused SGD", times.ratio("LARS", "unfused SGD"), goal=Goal(2.5, False)),
        figure("LARS / whole step", paired(times.seconds("LARS"), whole), "share",
               Goal(0.02, False)),
        figure("literal LARS / LARS", times.ratio("literal LARS", "LARS")),
    ]  # fmt: skip
    size = sum(p.numel() for p in model.parameters())
    what = f"one update of {size:,} parameters; forward and backward of a batch of {s.batch}"
    return made("lars", what, times, figures)
