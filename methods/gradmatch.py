"""GradMatch: a weighted subset whose summed gradient matches that of the whole class."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.optimize import nnls
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.feature_space import Floats, Ints, tie_order
from prunebench.methods.keep_k import check_count
from prunebench.methods.submodular import first_of_equals
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
