"""AlignPrune: correlation of a sample's loss curve with that of a clean reference set.

The Dynamic Alignment Score (Pearson, Eqs. 2-5 of the paper) is high where the loss falls as it
does on clean data and low for suspect samples. As a scorer it replaces the own score of any
score-based pruner (``base+align``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from prunebench.methods.base import Card, Progress, Scorer, Tables, TrainView
from prunebench.options import Option, Value, resolve
from prunebench.rng import Stream

__all__ = ["alignment"]

ALIGN_VERSION = 1

#: Samples worked on at a time: a float64 window of 25 losses then stays in a core's cache.
_CHUNK = 4096
#: Samples scored at a time on CPUs, so that their windows stay in the cache.
_SCORED = 8192

CORRELATIONS = ("pearson", "spearman", "cosine")


def alignment(
    losses: Tensor,
    reference: Tensor,
    observed: Tensor | None = None,
    correlation: str = "pearson",
    min_observations: int = 2,
) -> Tensor:
    """Correlation of each column of losses with the reference curve.

    Args:
        losses: float [W, N], one row per point of the window.
        reference: float [W], or [W, N] where each entry has its own reference value.
        observed: bool [W, N]; entries that are False are ignored, whatever they hold.
        correlation: ``pearson``, ``spearman`` (average ranks over the observed entries) or
            ``cosine`` (no centring).
        min_observations: Fewest observed entries for a defined value.

    Returns:
        float64 [N] in [-1, 1]. NaN where undefined: too few observations, an observed value that
        is not finite, no variation in the column or in its reference (``cosine``: all zero).

    Raises:
        ValueError: Unknown correlation, or shapes that do not fit.
    """
    if correlation not in CORRELATIONS:
        raise ValueError(f"correlation {correlation!r} is not one of {', '.join(CORRELATIONS)}")
    if losses.dim() != 2 or len(reference) != len(losses) or reference.dim() not in (1, 2):
        raise ValueError("losses must be [W, N] and reference [W] or [W, N]")
    if reference.dim() == 2 and reference.shape != losses.shape:
        raise ValueError("a reference per entry must have the shape of losses")
    if observed is not None and (observed.shape != losses.shape or observed.dtype != torch.bool):
        raise ValueError("observed must be bool with the shape of losses")
    n = losses.shape[1]
    out = torch.full((n,), torch.nan, dtype=torch.float64, device=losses.device)
    if len(losses) < max(1, min_observations):
        return out
    step = _CHUNK if losses.device.type == "cpu" else max(n, 1)
    for start in range(0, n, step):
        part = slice(start, start + step)
        y = reference[:, None] if reference.dim() == 1 else reference[:, part]
        mask = None if observed is None else observed[:, part]
        out[part] = _columns(losses[:, part], y, mask, correlation, min_observations)
    return out


def _columns(
    losses: Tensor, reference: Tensor, observed: Tensor | None, correlation: str, fewest: int
) -> Tensor:
    x, y = losses.double(), reference.double()
    count = torch.full((1,), float(len(x)), dtype=torch.float64, device=x.device)
    weight: Tensor | None = None
    if observed is not None and not bool(observed.all()):
        weight, y = observed.double(), y.expand_as(x)
        count = weight.sum(0)
        # Zeroes bits, so that a NaN that nobody observed goes too; far faster than torch.where.
        bits = -observed.long()
        x, y = ((t.contiguous().view(torch.int64) & bits).view(torch.float64) for t in (x, y))
    if correlation == "spearman":
        x, y = _ranks(x, weight), _ranks(y, weight)
    level = torch.zeros((), dtype=torch.float64, device=x.device)
    a, b, low_a, low_b = x, y, level, level
    if correlation != "cosine":
        (a, low_a), (b, low_b) = _centre(x, weight, count), _centre(y, weight, count)
    ab, aa, bb = (a * b).sum(0), (a * a).sum(0), (b * b).sum(0)
    value = (ab / (aa.sqrt() * bb.sqrt())).clamp_(-1.0, 1.0)
    plain = (aa > low_a + 1e-200) & (aa < 1e200) & (bb > low_b + 1e-200) & (bb < 1e200)
    if not bool(plain.all()):
        # Columns that may be constant, or whose squares leave the range of float64.
        odd = (~plain).nonzero().squeeze(1)
        x, y, a, b = (t.expand(-1, len(value))[:, odd] for t in (x, y, a, b))
        part = None if observed is None or weight is None else observed[:, odd]
        value[odd] = _careful(x, y, a, b, part, correlation == "cosine")
    if weight is not None:
        value.masked_fill_(count < fewest, torch.nan)
    return value


def _centre(x: Tensor, weight: Tensor | None, count: Tensor) -> tuple[Tensor, Tensor]:
    """Deviations from the mean, and the sum of squares that rounding alone could leave."""
    mean = x.sum(0) / count
    deviation = x - mean
    if weight is not None:
        deviation *= weight
    return deviation, count**3 * (2 * torch.finfo(torch.float64).eps * mean).square()


def _careful(
    x: Tensor, y: Tensor, a: Tensor, b: Tensor, observed: Tensor | None, cosine: bool
) -> Tensor:
    """The same quotient with exact tests for variation, and scaled before squaring."""
    defined = torch.ones(x.shape[1], dtype=torch.bool, device=x.device)
    for t in (x, y):
        seen = torch.ones_like(t, dtype=torch.bool) if observed is None else observed
        low = t.masked_fill(~seen, torch.inf).amin(0)
        high = t.masked_fill(~seen, -torch.inf).amax(0)
        varies = (low != 0) | (high != 0) if cosine else low != high
        defined &= varies & low.isfinite() & high.isfinite()
    a, b = (t / t.abs().amax(0, keepdim=True) for t in (a, b))
    value = (a * b).sum(0) / ((a * a).sum(0).sqrt() * (b * b).sum(0).sqrt())
    return torch.where(defined, value.clamp(-1.0, 1.0), torch.nan)


def _ranks(x: Tensor, weight: Tensor | None) -> Tensor:
    """Average ranks within each column, over the observed entries; NaN spreads."""
    ranks = torch.empty_like(x)
    for row in range(len(x)):
        below, level = (x < x[row]).double(), (x == x[row]).double()
        if weight is not None:
            below, level = below * weight, level * weight
        ranks[row] = below.sum(0) + (level.sum(0) + 1) / 2
    ranks = torch.where(x.isfinite(), ranks, torch.nan)
    return ranks if weight is None else ranks * weight


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
        place = torch.arange(ring, device=losses.device)[:, None]
        observed &= (seen - 1 - place) % ring < window
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
        latest, place = past.max(0)
        filled.append(losses.gather(0, place[None]).squeeze(0))
        stamps.append(torch.where(latest >= 0, epoch, -1))
    return torch.stack(filled), torch.stack(stamps)


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
    "align.scramble": Option(
        "none",
        "control: the same scores dealt out to other samples, anew in each epoch or by one "
        "permutation for the whole run (fixed)",
        choices=("none", "each-epoch", "fixed"), later=True,
    ),
    "align.finish": Option(
        "all",
        "last (1 - delta) of the epochs: as the base method has it, or without the samples below "
        "the mean score (high)",
        choices=("all", "high"), later=True,
    ),
}  # fmt: skip

ALIGN_CARD = Card(
    "AlignPrune",
    "AlignPrune: dynamic data pruning by loss-trajectory alignment",
    bibtex_key="alignprune",
    cost="one forward pass of the reference set per epoch",
    year=2026,
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
        self.clean_data = "reference set" if self._option("reference") == "clean" else ""
        self.history = str(self._option("score_loss"))
        fixed = self._option("window")
        self.length = 25 if fixed is None else int(fixed)
        self.window = max(base.window, self.length)
        self.das: Tensor | None = None
        self.dealing: Tensor | None = None

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
        self.dealing = None

    def draw(self, rng: Stream) -> None:
        """Draws whose score each sample gets, where scores are scrambled."""
        self.base.draw(rng.child("base"))
        scramble = self._option("scramble")
        if scramble == "each-epoch" or (scramble == "fixed" and self.dealing is None):
            assert self.das is not None
            self.dealing = rng.child("scramble").permutation(len(self.das), self.das.device)

    def scores(self, tables: Tables, progress: Progress) -> Tensor:
        """float64 [N], or the base scorer's where the base rule holds; NaN = undefined."""
        assert self.das is not None
        done = progress.epoch
        self.split, self.high_finish = None, False
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
        self.high_finish = self._option("finish") == "high"
        if self._option("mean_over") == "trained":
            trained = self.das[(tables.last_seen == done - 1) & self.das.isfinite()]
            self.split = trained.mean() if len(trained) else None
        return self.das.clone() if self.dealing is None else self.das[self.dealing]

    def _renew(self, tables: Tables, done: int) -> None:
        """Scores after ``done`` epochs of the samples visited in the last one, or of all."""
        assert self.das is not None
        fresh = tables.last_seen == done - 1 if self._option("stale") else tables.seen > 0
        which = fresh.nonzero().squeeze(1)
        everyone = len(which) == len(fresh)
        step = _SCORED if which.device.type == "cpu" else max(1, len(which))
        for start in range(0, len(which), step):
            positions = which[start : start + step]
            part: Any = slice(start, start + step) if everyone else positions
            losses, epochs = tables.losses[:, part], tables.loss_epochs[:, part]
            self.das[positions] = trajectory_scores(
                losses, epochs, tables.seen[part], tables.reference_loss[:done], self.length,
                str(self._option("missing")), str(self._option("correlation")), self.min_obs,
            )  # fmt: skip

    def state_dict(self) -> dict[str, Tensor | int | float | str]:
        """Stale scores, the permutation of a fixed scramble, and the state of the base scorer."""
        state: dict[str, Tensor | int | float | str] = {
            f"base.{name}": value for name, value in self.base.state_dict().items()
        }
        if self.das is not None:
            state["das"] = self.das
        if self._option("scramble") == "fixed" and self.dealing is not None:
            state["dealing"] = self.dealing
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        prefix = "base."
        self.base.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        if self.das is not None and "das" in state:
            self.das.copy_(state["das"])
        if self.das is not None and "dealing" in state:
            self.dealing = state["dealing"].to(self.das.device)


def _varies(curve: Tensor) -> bool:
    """Whether the measured points of a reference curve are finite and not all equal."""
    known = curve[~curve.isnan()]
    return len(known) > 1 and bool(known.isfinite().all()) and bool(known.min() < known.max())
