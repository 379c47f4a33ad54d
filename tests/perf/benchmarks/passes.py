"""Passes without gradient: evaluation, reference and scoring, beside training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from prunebench.bench.perf.contenders import epoch_part
from prunebench.bench.perf.result import Figure, Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn, paired
from prunebench.bench.perf.workload import Settings
from prunebench.bench.train.evaluate import forward_all
from prunebench.methods.dual import dual_scores
from prunebench.methods.grand import el2n_scores, grand_scores
from prunebench.methods.small_loss import loss_scores

#: Images of one timed pass; on a CPU, all of them are the large batch beside ours.
_IMAGES = 2048


def passes(s: Settings) -> Result:
    """Images a second in eval mode, with and without features, beside small batches on a card and
    large ones on a CPU; and what a reference pass and a test pass weigh in an epoch."""
    part = epoch_part(s)
    run: Any = part.run
    rows = torch.arange(_IMAGES, device=s.device) % s.part
    count = len(rows)

    def forward(size: int, features: bool = False) -> Callable[[], object]:
        batch = run.inputs.unaugmented_batches(rows).batch
        return lambda: forward_all(
            run.model, count, batch, run.autocast(), features=features, size=size
        )

    own = run.inputs.eval_batch
    other = count if s.device.type == "cpu" else s.batch
    train, test = f"training {s.part:,} images", f"eval mode, batches of {own}"
    others = f"eval mode, batches of {other}"
    contenders: dict[str, Callable[[], object]] = {
        train: part.epoch,
        test: forward(own),
        others: forward(other),
        "ours with features": forward(own, True),
    }
    times = in_turn(contenders, s.repeats, s.device)
    epoch = [seconds * s.n / s.part for seconds in times.seconds(train)]

    def share(images: int) -> Any:
        return paired([t * images / count for t in times.seconds(test)], epoch)

    reference = s.reference
    figures = [
        figure(f"reference pass of {reference:,} / epoch", share(reference), "share",
               Goal(0.01, False)),
        figure(f"reference pass of {10 * reference:,} / epoch", share(10 * reference), "share",
               Goal(0.07, False)),
        figure(f"test pass of {s.n // 5:,} / epoch", share(s.n // 5), "share"),
        figure(f"batches of {other} / ours", times.ratio(others, test)),
        *(Figure(name, count / times.median(name), "img/s") for name in list(contenders)[1:]),
    ]  # fmt: skip
    what = f"{count:,} images in eval mode, ResNet-18 of width {s.width}, beside training"
    note = f"shares are extrapolated to an epoch of {s.n:,} from {s.part:,} trained images"
    return made("passes", what, times, figures, [note])


def scoring(s: Settings) -> Result:
    """Scores of static methods from recorded evidence, as shares of an epoch of training."""
    part, classes, width, epochs = epoch_part(s), 10, 8 * s.width, 30
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(s.n, classes, generator=g)
    features = torch.randn(s.n, width, generator=g)
    labels = torch.randint(classes, (s.n,), generator=g)
    p = torch.rand(epochs, s.n, generator=g)

    def materialised() -> object:
        residual = logits.softmax(1) - F.one_hot(labels, classes)
        return torch.cat([
            torch.cat([r[:, :, None] * f[:, None, :], r[:, :, None]], 2).flatten(1).norm(dim=1)
            for r, f in zip(torch.split(residual, 512), torch.split(features, 512), strict=True)
        ])  # fmt: skip

    contenders: dict[str, Callable[[], object]] = {
        f"training {s.part:,} images": part.epoch,
        "GraNd, gradients formed": materialised,
        "GraNd, closed form": lambda: grand_scores(logits, labels, features),
        "EL2N": lambda: el2n_scores(logits, labels),
        "small-loss": lambda: loss_scores(logits, labels),
        "DUAL, 30 epochs": lambda: dual_scores(p, epochs, 10),
    }
    times = in_turn(contenders, s.repeats, s.device)
    first, formed, *ours = contenders
    epoch = [seconds * s.n / s.part for seconds in times.seconds(first)]
    figures = [figure(f"{formed} / closed form", times.ratio(formed, ours[0]))]
    figures += [figure(f"{n} / epoch", paired(times.seconds(n), epoch), "share") for n in ours]
    what = f"scores of {s.n:,} samples, {classes} classes, {width} features"
    return made("scoring", what, times, figures, ["evidence at hand; its passes are not in it"])
