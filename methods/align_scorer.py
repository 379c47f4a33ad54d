"""AlignPrune as a scorer: any score-based pruner ranks by alignment instead of its own score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from prunebench.methods.align import CORRELATIONS, alignment
from prunebench.methods.base import Card, Progress, Scorer, Tables, TrainView
from prunebench.options import Option, Value, resolve

VERSION = 1

_CHUNK = 8192  # samples scored at a time on the CPU, so that a window stays in the cache

ALIGN_OPTIONS: Mapping[str, Option] = {
    "align.window": Option(
        None, "losses in a trajectory; none: round(0.125 E) within 4..25", 2, 1000,
        optional=True, kind=int, search=(4, 50), scales=True,
    ),
    "align.min_obs": Option(4, "fewest losses that define a score", 2, 1000),
    "align.missing": Option(
        "paired",
        "epochs without a visit: paired (last observed losses, each with its own epoch's "
        "reference), mask (observed ones of the last epochs), carry (last loss repeated), "
        "unpaired (last observed losses against the last epochs)",
        choices=("paired", "mask", "carry", "unpaired"),
    ),
    "align.stale": Option(True, "samples that were not trained keep their score"),
    "align.warmup": Option(
        "grow",
        "before the window is full: grow (score from min_obs losses on, the base rule before), "
        "base_until_N (the base rule until it is full), none (full data until it is full)",
        choices=("grow", "base_until_N", "none"),
    ),
    "align.mean_over": Option(
        "all", "mean score that splits low from high, for pruners that cut at the mean: over all "
        "defined scores, or those of the samples trained last", choices=("all", "trained"),
    ),
    "align.score_loss": Option(
        "ce", "trajectories of cross-entropy, or of the criterion's own loss",
        choices=("ce", "training"),
    ),
    "align.undefined": Option(
        "keep", "samples without a score: keep, or score zero or minus one",
        choices=("keep", "zero", "minus_one"),
    ),
    "align.correlation": Option("pearson", "measure of alignment", choices=CORRELATIONS),
    "align.reference_at": Option(
        "epoch_end", "when the reference loss of an epoch is measured",
        choices=("epoch_end", "epoch_start"),
    ),
    "align.reference": Option(
        "clean", "held-out clean set, pseudo-clean training samples, or random training samples",
        choices=("clean", "small-loss", "moderate", "train"),
    ),
    "align.reference_size": Option(
        None, "reference samples; none: all that the task holds out", 1, optional=True, kind=int
    ),
    "align.impurity": Option(0.0, "share of wrong labels put into the reference", 0.0, 1.0),
    "align.threshold": Option(0.0, "cut for pruners with a fixed threshold (ies)", -1.0, 1.0),
}  # fmt: skip

CARD = Card(
    "AlignPrune",
    "AlignPrune: dynamic data pruning by loss-trajectory alignment",
    bibtex_key="alignprune",
    cost="one forward pass of the reference set per epoch",
    side="high",
)

_STAND_INS = {"keep": None, "zero": 0.0, "minus_one": -1.0}


def trajectory_window(epochs: int) -> int:
    """Default length N of a trajectory: 25 at 200 epochs, shorter for short recipes."""
    return min(25, max(4, round(0.125 * epochs)))


class Alignment(Scorer):
    """Dynamic Alignment Score of every sample; falls back to the base method's own scorer.

    The score of a sample is renewed after each epoch that visited it and is stale in between
    (AlignPrune, Algorithm 1). The base rule holds while fewer than ``min_obs`` epochs are done,
    while no score is defined, and while the reference curve is flat or not finite.

    Args:
        base: The pruner's own scorer.
        params: Options of ``ALIGN_OPTIONS``.

    Raises:
        InputError: An unknown option or a value out of range.
    """

    reference = True

    def __init__(self, base: Scorer, **params: Any) -> None:
        self.params: dict[str, Value] = resolve(ALIGN_OPTIONS, params, "align")
        self.base = base
        self.signals = base.signals
        self.min_obs = int(self._option("min_obs"))
        self.reference_at = str(self._option("reference_at"))
        self.history = str(self._option("score_loss"))
        fixed = self._option("window")
        self.length = 25 if fixed is None else int(fixed)
        self.window = max(base.window, self.length)
        self.das: Tensor | None = None

    def _option(self, name: str) -> Any:
        return self.params[f"align.{name}"]

    def begin(self, view: TrainView) -> None:
        """Settles the window and forgets all scores."""
        self.base.begin(view)
        if self._option("window") is None:
            self.length = trajectory_window(view.epochs)
        self.window = max(self.base.window, self.length)
        shape, device = (view.num_samples,), view.device
        self.das = torch.full(shape, torch.nan, dtype=torch.float64, device=device)

    def scores(self, tables: Tables, progress: Progress) -> Tensor:
        """float64 [N], or the base scorer's where the base rule holds; NaN = undefined."""
        assert self.das is not None
        done = progress.epoch
        self.split = None
        if done:
            self._renew(tables, done)
        warmup = self._option("warmup")
        if warmup == "none" and done < self.length:
            self.undefined, self.threshold = None, None
            return torch.full_like(self.das, torch.nan)
        first = self.length if warmup == "base_until_N" else self.min_obs
        flat = done < first or not _varies(tables.reference_loss[max(0, done - self.length) : done])
        if flat or not bool(self.das.isfinite().any()):
            own = self.base.scores(tables, progress)
            self.undefined, self.threshold = self.base.undefined, self.base.threshold
            return own
        self.undefined = _STAND_INS[self._option("undefined")]
        self.threshold = float(self._option("threshold"))
        if self._option("mean_over") == "trained":
            trained = self.das[(tables.last_seen == done - 1) & self.das.isfinite()]
            self.split = trained.mean() if len(trained) else None
        return self.das.clone()

    def _renew(self, tables: Tables, done: int) -> None:
        """Scores after ``done`` epochs of the samples visited in the last one, or of all."""
        assert self.das is not None
        fresh = tables.last_seen == done - 1 if self._option("stale") else tables.seen > 0
        which = fresh.nonzero().squeeze(1)
        everyone = len(which) == len(fresh)
        step = _CHUNK if which.device.type == "cpu" else max(1, len(which))
        for start in range(0, len(which), step):
            positions = which[start : start + step]
            part: Any = slice(start, start + step) if everyone else positions
            losses, epochs = tables.losses[:, part], tables.loss_epochs[:, part]
            self.das[positions] = trajectory_scores(
                losses, epochs, tables.seen[part], tables.reference_loss[:done], self.length,
                str(self._option("missing")), str(self._option("correlation")), self.min_obs,
            )  # fmt: skip

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """Stale scores, and the state of the base scorer."""
        state: dict[str, Tensor | int | float | str] = {
            f"base.{name}": value for name, value in self.base.state_dict().items()
        }
        return state if self.das is None else {**state, "das": self.das}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        prefix = "base."
        self.base.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        if self.das is not None and "das" in state:
            self.das.copy_(state["das"])


def _varies(curve: Tensor) -> bool:
    """Whether the measured points of a reference curve are finite and not all equal."""
    known = curve[~curve.isnan()]
    return len(known) > 1 and bool(known.isfinite().all()) and bool(known.min() < known.max())


def trajectory_scores(
    losses: Tensor,
    epochs: Tensor,
    seen: Tensor,
    reference: Tensor,
    window: int,
    missing: str = "paired",
    correlation: str = "pearson",
    min_observations: int = 4,
) -> Tensor:
    """Alignment of loss rings with the reference history under a policy for missing epochs.

    Args:
        losses: float [R, n], ring of visits, R >= window; entry ``i mod R`` holds visit i.
        epochs: int [R, n], epoch of each entry, -1 where empty.
        seen: int64 [n], number of visits.
        reference: float64 [e], reference loss of epochs 0..e-1; NaN where not measured.
        window: Length N of a trajectory.
        missing: ``paired``, ``mask``, ``carry`` or ``unpaired`` (see ``ALIGN_OPTIONS``).
        correlation: As in ``alignment``.
        min_observations: Fewest pairs for a defined score.

    Returns:
        float64 [n].
    """
    ring, done = len(losses), len(reference)
    if missing == "carry":
        losses, epochs = _carry(losses, epochs, done, window)
    observed = epochs >= 0
    if missing in ("paired", "unpaired") and ring > window:
        slot = torch.arange(ring, device=losses.device)[:, None]
        observed &= (seen - 1 - slot) % ring < window
    if missing == "mask":
        observed &= epochs >= done - window
    if missing == "unpaired":
        age = _age(epochs)
        epochs = torch.where(observed, done - 1 - age, epochs)
    flat = epochs.clamp(min=0).long().reshape(-1)
    curve = reference.index_select(0, flat).view(epochs.shape)
    if bool(reference.isnan().any()):
        observed &= ~curve.isnan()
    return alignment(losses, curve, observed, correlation, min_observations)


def _age(epochs: Tensor) -> Tensor:
    """Number of later visits of the same sample, per entry."""
    order = epochs.argsort(dim=0, descending=True)
    ages = torch.arange(len(epochs), device=epochs.device)[:, None].expand_as(order)
    return torch.empty_like(order).scatter_(0, order, ages)


def _carry(losses: Tensor, epochs: Tensor, done: int, window: int) -> tuple[Tensor, Tensor]:
    """The last ``window`` epochs, each with the latest loss observed up to it."""
    first = max(0, done - window)
    filled, stamps = [], []
    for epoch in range(first, done):
        past = torch.where(epochs <= epoch, epochs, -1)
        latest, slot = past.max(0)
        filled.append(losses.gather(0, slot[None]).squeeze(0))
        stamps.append(torch.where(latest >= 0, epoch, -1))
    return torch.stack(filled), torch.stack(stamps)
