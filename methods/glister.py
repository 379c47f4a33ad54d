"""GLISTER: the samples whose gradients lower the loss of a clean reference set the most."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import Card, Evidence, EvidenceSpec, ReferenceView, register_method
from prunebench.methods.feature_space import tie_order
from prunebench.methods.gradient_pruner import GradientPruner, Group
from prunebench.methods.keep_k import check_count
from prunebench.methods.last_layer import mean_gradient, projections
from prunebench.methods.last_layer import residuals as residuals_of
from prunebench.options import Option
from prunebench.progress import counted
from prunebench.rng import Stream

__all__ = ["glister_order", "reference_gradient"]


def reference_gradient(logits: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean last-layer gradient of the reference set.

    Args:
        logits: [M, C], M >= 1, finite.
        features: [M, D].
        labels: int64 [M], clean.

    Returns:
        Bias part float64 [C] and weight part float64 [C, D].

    Raises:
        InputError: No sample, or a logit that is not finite.
    """
    if not len(labels):
        raise InputError("it is empty", where="reference set", accepted="at least one sample")
    return mean_gradient(residuals_of(logits, labels), features)


def glister_order(
    residuals: Tensor,
    features: Tensor,
    reference_logits: Tensor,
    reference_features: Tensor,
    reference_labels: Tensor,
    k: int,
    eta: float,
    rounds: int = 15,
    step: str = "mean",
    rng: Stream | None = None,
) -> Tensor:
    """Greedy picks in blocks, the reference moved by a step after each (cords: glisterstrategy.py).

    The gain of a sample is the product of its gradient with the mean gradient of the reference set.
    After each block of max(1, k // rounds) picks, the reference logits become z - eta (a_b + A_W h)
    with a the mean or the sum of the gradients of all picks so far, always from the original z. The
    last block is cut so that k are picked; cords overshoots.

    Args:
        residuals: [n, C], of ``last_layer.residuals``.
        features: [n, D].
        reference_logits: [M, C], M >= 1.
        reference_features: [M, D].
        reference_labels: int64 [M], clean.
        k: Number of picks, 0..n.
        eta: Length of the step, >= 0; 0 gives the k largest first gains.
        rounds: >= 1.
        step: ``mean`` (DeepCore) or ``sum`` (cords and the paper).
        rng: Order among equal gains; None: the lowest index.

    Returns:
        int64 [k] in pick order; not nested in k, on which the blocks depend.

    Raises:
        InputError: An argument is not accepted.
    """
    total = len(residuals)
    check_count(k, total)
    if not (math.isfinite(eta) and eta >= 0):
        raise InputError(f"{eta!r} is not accepted", where="eta", accepted="a number >= 0")
    if rounds < 1:
        raise InputError(f"{rounds} is not accepted", where="rounds", accepted="an integer >= 1")
    if step not in ("mean", "sum"):
        raise InputError(f"unknown step {step!r}", where="step", accepted="mean, sum")
    r, h = residuals.double(), features.double()
    z, reference = reference_logits.double(), reference_features.double()
    left = torch.from_numpy(tie_order(total, rng)).to(r.device)
    bias, weight = r.new_zeros(r.shape[1]), r.new_zeros(r.shape[1], h.shape[1])
    moved, picks = z, left[:0]
    block = max(1, k // rounds)
    blocks = [min(block, k - start) for start in range(0, k, block)]
    for count in counted(blocks):
        target = reference_gradient(moved, reference, reference_labels)
        gains = projections(r, h, *target)[left]
        ranked = gains.argsort(descending=True, stable=True)
        new = left[ranked[:count]]
        left = left[ranked[count:].sort().values]
        picks = torch.cat([picks, new])
        bias += r[new].sum(0)
        weight += r[new].T @ h[new]
        length = eta / len(picks) if step == "mean" else eta
        moved = z - length * (reference @ weight.T + bias)
    return picks


def of_class(view: ReferenceView, label: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, features and labels of a class's reference samples with finite outputs.

    All of them for no class, and for a class that has none.
    """
    usable = view.logits.isfinite().all(1) & view.features.isfinite().all(1)
    own = usable & (view.labels == label)
    rows = own if label is not None and bool(own.any()) else usable
    return view.logits[rows], view.features[rows], view.labels[rows]


@register_method("glister")
class Glister(GradientPruner):
    """Lowers the loss of the clean reference set, class by class.

    A class is compared with its own reference samples; one without any, with all of them. Within a
    class wrong labels have large gradients that ask for the same label, and are kept early.
    """

    clean_data = "the reference set"
    eta: float
    rounds: int
    step: str
    options = {
        "eta": Option(
            0.1, "length of the step after each round", low=0.0, high=1e3,
            search=(0.01, 1.0), log=True,
        ),
        "rounds": Option(15, "blocks of picks between steps", low=1, search=(5, 50)),
        "step": Option(
            "mean", "step along the mean (DeepCore) or the sum (paper) of the picks' gradients",
            choices=("mean", "sum"),
        ),
        "balance": Option(True, "within each noisy class; false: over all samples"),
    }  # fmt: skip
    card = Card(
        title="GLISTER",
        paper="Killamsetty, Sivasubramanian, Ramakrishnan, Iyer: GLISTER: Generalization based "
        "Data Subset Selection for Efficient and Robust Learning, AAAI 2021",
        repository="https://github.com/decile-team/cords",
        bibtex_key="killamsetty2021glister",
        cost="the warm-up epochs of one full-data run, one forward pass over training and "
        "reference samples",
        side="greedy",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Outputs after the warm-up, on the reference set too."""
        return replace(super().needs(epochs, warmup), reference=(warmup,))

    def prepare(self, evidence: Evidence) -> None:
        """Reads the reference set."""
        self._reference = evidence.reference(evidence.warmup)

    def pick(self, group: Group, k: int, rng: Stream) -> tuple[Tensor, Tensor | None]:
        """Greedy picks within one class."""
        outputs = of_class(self._reference, group.label)
        order = glister_order(
            group.residuals, group.features, *outputs, k, self.eta, self.rounds, self.step, rng
        )
        return order, None
