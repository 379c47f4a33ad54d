"""RCAP (Hassan et al., UAI 2025): draws by loss within classes, sized by what was drawn before."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from prunebench.methods.base import (
    Card,
    DynamicPruner,
    Plan,
    Progress,
    Tables,
    kept_count,
    register_method,
)
from prunebench.methods.keep_k import members_by_class
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["class_importance", "class_sizes", "weighted_sample"]

SATURATIONS, ROUNDINGS = ("reduced", "released"), ("exact", "ceil")
#: Remainders of class shares that are closer than this are equal.
_EQUAL = 1e-9
_TINY = float(np.finfo(np.float64).tiny)
#: -log of a weight of 0: above that of every float64, so that it loses every race.
_LAST = 2000.0


def class_importance(
    losses: Tensor, labels: Tensor, beta: float, num_classes: int, clip: float | None = None
) -> Tensor:
    """Softmax of clipped losses within each class (DataCull: methods/RCAP.py).

    Args:
        losses: float [N]; NaN (never trained) counts as ``clip``.
        labels: int64 [N], noisy.
        beta: Temperature, above 0.
        num_classes: C.
        clip: Largest loss that counts; None: ln C, the loss of a guess.

    Returns:
        float64 [N], which sums to 1 over every class that occurs. It is computed on the host,
        where the order of the sums is fixed.
    """
    most = math.log(num_classes) if clip is None else clip
    classes = labels.cpu()
    u = losses.detach().cpu().double()
    u = torch.where(u.isnan(), most, u.clamp(0, most)).div_(beta)
    top = u.new_zeros(num_classes).scatter_reduce_(0, classes, u, "amax")
    q = u.sub_(top[classes]).exp_()
    total = _sums(q, classes, num_classes)
    return q.div_(total[classes]).to(losses.device)


def _sums(values: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """Sums within classes, one sample after the other."""
    sums = np.bincount(classes.numpy(), values.numpy(), minlength=num_classes)
    return torch.from_numpy(sums)


def class_sizes(
    mass: Tensor, counts: Tensor, size: int, saturation: str = "reduced", rounding: str = "exact"
) -> Tensor:
    """Samples to draw from every class, in proportion to sqrt(mass * count).

    A class whose share is more than it has gives all it has, and the others share what is left:
    ``reduced`` divides size less the full classes, ``released`` the whole size once more, as the
    official code does, so that an epoch grows beyond it. Where no class that is left has any mass,
    they share by their counts.

    Args:
        mass: float [C], importance that the last draw covered; >= 0.
        counts: int64 [C], samples of each class.
        size: Samples in all, 0..N.
        saturation: ``reduced`` or ``released``.
        rounding: ``exact`` (largest remainder, the lower class among equals) or ``ceil``.

    Returns:
        int64 [C], each at most the class's count; with ``reduced`` and ``exact`` they sum to
        ``size``.

    Raises:
        ValueError: ``size`` is not in 0..N, a mass is negative or not finite, or a rule is unknown.
    """
    have = counts.cpu().numpy().astype(np.int64)
    covered = mass.detach().cpu().double().numpy()
    if not 0 <= size <= have.sum() or not (np.isfinite(covered) & (covered >= 0)).all():
        raise ValueError(f"cannot draw {size} of {have.sum()} by masses {covered}")
    if saturation not in SATURATIONS or rounding not in ROUNDINGS:
        raise ValueError(f"unknown saturation {saturation!r} or rounding {rounding!r}")
    part = _parts(np.sqrt(covered * have / max(have.sum(), 1)), have, size, saturation)
    share = have * part
    if rounding == "ceil":
        sizes = np.minimum(np.ceil(share), have).astype(np.int64)
    else:
        whole = size if saturation == "reduced" else round(min(share.sum(), have.sum()))
        sizes = _largest_remainders(share, have, whole)
    return torch.from_numpy(sizes).to(counts.device)


def _parts(
    merit: npt.NDArray[np.float64], have: npt.NDArray[np.int64], size: int, saturation: str
) -> npt.NDArray[np.float64]:
    """Part of each class that is drawn, 0..1: full classes, and the others by merit.

    The order of the operations is the official one: rounding up hangs on their last digit.
    """
    full = np.zeros(len(have), dtype=np.bool_)
    while True:
        budget = size - have[full].sum() if saturation == "reduced" else size
        by = np.where(full, 0.0, merit)
        if not by.any():
            by = np.where(full, 0.0, have)
        part = by / max(np.cumsum(by)[-1], _TINY) * (budget / np.maximum(have, 1))
        over = part > 1
        if not over.any():
            return np.where(full, 1.0, part)
        full |= over


def _largest_remainders(
    share: npt.NDArray[np.float64], have: npt.NDArray[np.int64], whole: int
) -> npt.NDArray[np.int64]:
    """Whole numbers near the shares that sum to ``whole``, none above ``have``."""
    sizes = np.minimum(np.floor(share).astype(np.int64), have)
    remainder = np.where(sizes < have, share - sizes, -1.0)
    order = np.argsort(-remainder, kind="stable")
    group = np.append(0, np.cumsum(-np.diff(remainder[order]) > _EQUAL))
    order = order[np.lexsort((order, group))]
    sizes[order[: whole - sizes.sum()]] += 1
    return sizes


def weighted_sample(weights: Tensor, k: int, rng: Stream) -> Tensor:
    """Draws one sample after the other, each in proportion to the weights that are left.

    Whoever waits E / w, with E drawn from Exp(1), comes first with probability w over the sum of
    the weights that are left; so the order of the waiting times is that of the draws.

    Args:
        weights: float64 [n], >= 0; those of 0 come last, uniformly.
        k: 0..n.
        rng: Draws.

    Returns:
        int64 [k], distinct, in the order of the picks.

    Raises:
        ValueError: k is not in 0..n.
    """
    if not 0 <= k <= len(weights):
        raise ValueError(f"cannot draw {k} of {len(weights)} without replacement")
    uniform = rng.uniform(len(weights), weights.device)
    wait = uniform.neg_().log1p_().neg_().clamp_min_(_TINY).log_()
    wait -= torch.where(weights > 0, weights.double().log(), -_LAST)
    return wait.argsort(stable=True)[:k]


@register_method("rcap")
class RCAP(DynamicPruner):
    """Draws samples of high loss within each class; a class of which the last draw covered little
    gets fewer samples.

    Losses count up to that of a guess, and unseen samples hold that. Weights are 1 and there is no
    annealing phase.
    """

    options = {
        "beta": Option(1.0, "temperature; the smaller, the more losses matter", 1e-3, 1e3,
                       search=(0.25, 3.0), log=True),
        "clip": Option(None, "largest loss that counts; none: ln C", 0.0, optional=True,
                       kind=float),
        "saturation": Option(
            "reduced", "classes drawn whole: the others share what is left, or the whole size "
            "once more as the official code", choices=SATURATIONS,
        ),
        "rounding": Option(
            "exact", "class sizes that sum to the size, or each rounded up as the official code",
            choices=ROUNDINGS,
        ),
    }  # fmt: skip
    card = Card(
        "RCAP",
        "Hassan, Khare and Paik, RCAP: Robust, Class-Aware, Probabilistic Dynamic Dataset Pruning, "
        "UAI 2025",
        "https://github.com/atif-hassan/RCAP-dynamic-dataset-pruning",
        "hassan2025rcap",
        side="a draw towards high within each class",
    )
    randomised = True
    reads_loss = True
    beta: float
    clip: float | None
    saturation: str
    rounding: str

    def plan(self, progress: Progress, tables: Tables, rng: Stream) -> Plan:
        """Sizes of the classes, then a draw within each."""
        view = self.view
        labels, classes = view.labels.cpu(), view.num_classes
        weights = class_importance(tables.loss.cpu(), labels, self.beta, classes, self.clip)
        self.last_scores = weights.to(view.device)
        covered = tables.last_seen.cpu() == progress.epoch - 1  # all before the first epoch
        drawn = labels[covered].bincount(minlength=classes)
        # Without a sample a class would have no mass, and never be drawn again.
        covered |= (drawn == 0)[labels]
        sizes = class_sizes(
            _sums(weights.where(covered, 0.0), labels, classes), labels.bincount(minlength=classes),
            max(1, kept_count(view.num_samples, view.ratio)), self.saturation, self.rounding,
        )  # fmt: skip
        picks = [
            members[weighted_sample(weights[members], k, rng.child("class", cls))]
            for cls, (members, k) in enumerate(
                zip(members_by_class(labels, classes), sizes.tolist(), strict=True)
            )
        ]
        return Plan(torch.cat(picks).to(view.device))
