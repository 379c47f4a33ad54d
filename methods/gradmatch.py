"""GradMatch: a weighted subset whose summed gradient matches that of the whole class."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import (
    Card,
    Evidence,
    EvidenceSpec,
    ReferenceView,
    Subset,
    register_method,
)
from prunebench.methods.feature_space import Floats, Ints, tie_order
from prunebench.methods.glister import of_class, reference_gradient
from prunebench.methods.gradient_pruner import GradientPruner, Group
from prunebench.methods.keep_k import WEIGHTED, check_count
from prunebench.methods.last_layer import gram as gradient_gram
from prunebench.methods.last_layer import projections
from prunebench.methods.submodular import first_of_equals
from prunebench.options import Option
from prunebench.progress import counted
from prunebench.rng import Stream

__all__ = ["orthogonal_matching_pursuit"]

#: A pick whose part outside the span of earlier ones is below this share of it depends on them.
_DEPENDENT = 1e-12


def orthogonal_matching_pursuit(
    gram: Tensor, inner: Tensor, k: int, ridge: float = 1.0, rng: Stream | None = None
) -> tuple[Tensor, Tensor]:
    """Orthogonal matching pursuit with a ridge (DeepCore: deepcore/methods/gradmatch.py, NumPy).

    With t = ``inner``, each step picks the largest c = t - G_{:,S} x (signed), where x solves
    (G_SS + ridge I) x = t_S; after a single pick x = t_p / G_pp, without the ridge. Weights are
    argmin_{w >= 0} |(G_SS + ridge I) w - t_S|.

    Args:
        gram: [n, n], inner products of the gradients, finite.
        inner: [n], their inner products t with the target; ``gram.mean(1)`` for the mean gradient.
        k: Number of picks, 0..n.
        ridge: >= 0. At 0 a pick that depends on earlier ones gets weight 0.
        rng: Order among equal values; None: the lowest index.

    Returns:
        Pick order int64 [k] and float64 [k] weights >= 0; 1 for a single pick. Some may be 0.

    Raises:
        InputError: k, ``ridge`` or a shape is not accepted, or a value is not finite.
    """
    total = len(inner)
    check_count(k, total)
    if not (math.isfinite(ridge) and ridge >= 0):
        raise InputError(f"{ridge!r} is not accepted", where="ridge", accepted="a number >= 0")
    if gram.shape != (total, total):
        shape = " x ".join(str(size) for size in gram.shape)
        raise InputError(f"shape {shape}", where="gram", accepted=f"{total} x {total}")
    products, target = gram.detach().cpu().double(), inner.detach().cpu().double()
    if not (bool(products.isfinite().all()) and bool(target.isfinite().all())):
        raise InputError("a value is not finite", where="gram", accepted="finite numbers")
    pursuit = _Pursuit(products, target, k, ridge)
    keys = tie_order(total, rng)
    for _ in counted(range(k)):
        pursuit.step(keys)
    weights = np.ones(k) if k == 1 else pursuit.weights()
    return pursuit.order.to(inner.device), torch.from_numpy(weights).to(inner.device)


class _Pursuit:
    """State of the pursuit.

    The factor L of G_SS + ridge I grows by a row a pick. Below its diagonal it holds rows of
    Q = G_{:,S} L^-T, and c = t - Q L^-1 t_S, so that a pick costs one product with the columns of Q
    so far: O(n k) in place of a solve in O(k^3).
    """

    def __init__(self, gram: Tensor, target: Tensor, k: int, ridge: float) -> None:
        self.gram, self.target, self.ridge = gram, target, ridge
        self.order = torch.empty(k, dtype=torch.int64)
        self.picked = 0
        self.columns = gram.new_zeros(k, len(target))  # Q transposed: each column is contiguous
        self.diagonal = np.zeros(k)  # of L; 0 for a pick that depends on earlier ones
        self.solved = np.zeros(k)  # L^-1 t_S
        self.rest = target.clone()
        self.barred = np.zeros(len(target))  # -inf once picked

    def step(self, keys: Ints) -> None:
        """Picks one more sample."""
        m = self.picked
        rest = self._without_ridge() if m == 1 else self.rest
        pick = first_of_equals(rest.numpy() + self.barred, keys)
        self.order[m], self.barred[pick], self.picked = pick, -np.inf, m + 1
        known = self.columns[:m, pick].contiguous()
        own = float(self.gram[pick, pick]) + self.ridge
        pivot = own - float(known @ known)
        if pivot <= _DEPENDENT * own:
            return
        self.diagonal[m] = root = math.sqrt(pivot)
        self.solved[m] = float(self.rest[pick]) / root
        column = torch.addmv(self.gram[pick], self.columns[:m].T, known, alpha=-1)
        self.columns[m] = column.div_(root)
        self.rest.sub_(self.columns[m], alpha=float(self.solved[m]))

    def _without_ridge(self) -> Tensor:
        first = self.order[0]
        own = float(self.gram[first, first])
        share = float(self.target[first]) / own if own > 0 else 0.0
        return self.target - share * self.gram[first]

    def weights(self) -> Floats:
        """Those of all picks, by non-negative least squares where the solution has a minus."""
        from scipy.linalg import solve_triangular  # slow to import, and only this method needs it
        from scipy.optimize import nnls

        counts = np.flatnonzero(self.diagonal)
        factor = np.tril(self.columns[:, self.order].T.numpy()[np.ix_(counts, counts)], -1)
        factor[np.diag_indices(len(counts))] = self.diagonal[counts]
        weights = np.zeros(len(self.order))
        weights[counts] = solve_triangular(factor, self.solved[counts], lower=True, trans="T")
        if (weights < 0).any():
            system = self.gram[self.order][:, self.order].numpy().copy()
            system[np.diag_indices(len(system))] += self.ridge
            weights, _ = nnls(system, self.target[self.order].numpy(), maxiter=30 * len(system))
        return weights


@register_method("gradmatch")
class GradMatch(GradientPruner):
    """Matches the mean gradient of each noisy class by orthogonal matching pursuit.

    The class's mean gradient holds those of its wrong labels; ``target=reference`` matches the
    clean reference set's instead, and so uses clean labels.
    """

    zero_is_full = False
    full_at = {"weighted": False}
    ridge: float
    target: str
    options = {
        "ridge": Option(
            1.0, "added to the diagonal of the Gram matrix", low=1e-6, high=1e6,
            search=(0.01, 100.0), log=True,
        ),
        "target": Option(
            "class", "whose mean gradient is matched: the class's, or that of the clean reference "
            "set's samples of the class", choices=("class", "reference"),
        ),
        "weighted": WEIGHTED,
    }  # fmt: skip
    card = Card(
        title="GradMatch",
        paper="Killamsetty, Durga, Ramakrishnan, De, Iyer: GRAD-MATCH: Gradient Matching based "
        "Data Subset Selection for Efficient Deep Model Training, ICML 2021",
        repository="https://github.com/decile-team/cords",
        bibtex_key="killamsetty2021gradmatch",
        cost="the warm-up epochs of one full-data run, one forward pass, and all products of "
        "gradients within a class",
        side="greedy, weighted",
    )

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        if self.target == "reference":
            self.clean_data = "the reference set"  # type: ignore[misc]

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Outputs after the warm-up, those on the reference set too where it is the target."""
        need = super().needs(epochs, warmup)
        return replace(need, reference=(warmup,)) if self.target == "reference" else need

    def prepare(self, evidence: Evidence) -> None:
        """Reads the reference set where it is the target."""
        self._reference: ReferenceView | None = None
        if self.target == "reference":
            self._reference = evidence.reference(evidence.warmup)

    def pick(self, group: Group, k: int, rng: Stream) -> tuple[Tensor, Tensor | None]:
        """The pursuit within one class."""
        products = gradient_gram(group.residuals, group.features)
        if self._reference is None:
            inner = products.mean(1)
        else:
            goal = reference_gradient(*of_class(self._reference, group.label))
            inner = projections(group.residuals, group.features, *goal)
        return orthogonal_matching_pursuit(products, inner, k, self.ridge, rng)

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps all picks, those of weight 0 with weight 0; all weigh 1 where each has 0."""
        subset = super().keep(evidence, k, rng)
        assert subset.weights is not None
        zeros = int((subset.weights == 0).sum())
        if k and zeros == k:  # no gradient, or none towards the target: nothing to match
            subset = replace(subset, weights=torch.ones_like(subset.weights))
        return replace(subset, info={**subset.info, "zero_weights": zeros})
