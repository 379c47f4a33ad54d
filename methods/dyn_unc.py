"""Dynamic uncertainty: how much the target probability moves within short windows."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.methods.base import Card, Evidence, EvidenceSpec, ScorePruner, register_method
from prunebench.methods.keep_k import DUAL_PROXY, real
from prunebench.methods.windows import check_window, window_length, window_moments
from prunebench.options import Option

__all__ = ["dyn_unc_scores"]


def dyn_unc_scores(p_target: Tensor, window: int = 10) -> Tensor:
    """Mean over all E-J+1 windows of 10 times the standard deviation (ddof 1) of p.

    Follows dual-pruning: exp_cifar/importance_evaluation.py. The first authors' code
    (Dataset-Pruning: ImageNet/get_coreset.py) drops the window that ends at the last epoch: pass
    ``p_target[:-1]``. It also reads an exact 0 as "not seen"; here 0 is a probability.

    Args:
        p_target: [E, N], softmax probability of the (noisy) label per epoch.
        window: J, 2..E.

    Returns:
        [N], at least float32; NaN where any p is NaN.

    Raises:
        InputError: The window does not fit E.
    """
    epochs, total = p_target.shape
    check_window(epochs, window)
    scores = p_target.new_zeros(total, dtype=torch.float64)
    for columns, _, spread in window_moments(p_target, window):
        scores[columns] += spread.sum(0)
    return (10 * scores / (epochs - window + 1)).to(real(p_target).dtype)


@register_method("dyn-unc")
class DynUnc(ScorePruner):
    """Keeps the most uncertain samples over the whole run."""

    own_proxy = DUAL_PROXY

    window: int | None
    windows: str
    options = {
        "window": Option(
            None,
            "epochs J per window; auto = min(10, epochs // 3)",
            low=2,
            optional=True,
            kind=int,
            search=(5, 20),
            scales=True,
        ),
        "windows": Option(
            "all",
            "all E-J+1 windows, or without the one that ends at the last epoch",
            choices=("all", "drop_last"),
        ),
    }
    card = Card(
        title="Dyn-Unc",
        paper="He, Yang, Huang, Zhao: Large-scale Dataset Pruning with Dynamic Uncertainty, "
        "CVPR Workshops 2024",
        repository="https://github.com/BAAI-DCAI/Dataset-Pruning",
        bibtex_key="he2024large",
        cost="one whole full-data run; no extra pass",
        side="high",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Target probabilities of every epoch.

        Raises:
            InputError: The window does not fit the recipe.
            SkipCell: The recipe has a single epoch.
        """
        check_window(self._rows(epochs), window_length(epochs, self.window))
        return EvidenceSpec(signals=frozenset({"p_target"}))

    def _rows(self, epochs: int) -> int:
        return epochs - int(self.windows == "drop_last")

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], dynamic uncertainty."""
        p = evidence.p_target
        return dyn_unc_scores(p[: self._rows(len(p))], window_length(len(p), self.window))
