"""Area under the margin: how far the label's probability lies above the next class's."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import Card, Evidence, EvidenceSpec, ScorePruner, register_method
from prunebench.methods.keep_k import real
from prunebench.options import Option

__all__ = ["aum_scores", "runner_up"]


def runner_up(values: Tensor, labels: Tensor) -> Tensor:
    """Largest entry of every row at a class other than the label.

    The label's entry is left out, not set to 0 as in CCS: generate_importance_score.py, which
    holds for probabilities only.

    Args:
        values: [N, C], logits or probabilities, C >= 2.
        labels: int64 [N].

    Returns:
        [N], at least float32; -inf where C = 1.
    """
    return real(values).scatter(1, labels[:, None], -torch.inf).max(1).values


def aum_scores(target: Tensor, runner_up: Tensor) -> Tensor:
    """Mean margin over epochs: target minus runner-up (aum: aum/aum.py).

    CCS sums where the aum repository takes the mean, which ranks alike; it stores probabilities in
    half precision.

    Args:
        target: [E, N], value of the (noisy) label per epoch, probabilities or logits.
        runner_up: [E, N], largest value of the other classes.

    Returns:
        [N], at least float32: low for samples whose label the network doubts. NaN where a row is.

    Raises:
        InputError: The shapes differ, or there is no row.
    """
    if target.shape != runner_up.shape or not len(target):
        raise InputError(
            f"shapes {tuple(target.shape)} and {tuple(runner_up.shape)}", where="aum",
            accepted="[E, N] twice, E >= 1",
        )  # fmt: skip
    total = torch.zeros_like(target[0], dtype=torch.float64)
    for own, other in zip(target, runner_up, strict=True):
        total += own.double() - other
    return (total / len(target)).to(real(target).dtype)


@register_method("aum")
class AUM(ScorePruner):
    """Keeps the largest mean margins, for the low ones are suspected of a wrong label.

    CCS's table row "AUM" keeps the low ones, the difficult samples: ``side=low``.
    """

    hard = "low"

    on: str
    epochs: int | None
    options = {
        "on": Option(
            "probabilities",
            "margins of softmax probabilities (CCS) or of logits (the paper)",
            choices=("probabilities", "logits"),
            search=("probabilities", "logits"),
        ),
        "side": Option(
            "high",
            "keep high margins (the paper: low ones are suspect) or low ones (CCS's row AUM)",
            choices=("high", "low"),
            search=("high", "low"),
        ),
        "epochs": Option(
            None, "leading epochs averaged over; auto = all", low=1, optional=True, kind=int
        ),
    }
    card = Card(
        title="AUM",
        paper="Pleiss, Zhang, Elenberg, Weinberger: Identifying Mislabeled Data using the Area "
        "Under the Margin Ranking, NeurIPS 2020",
        repository="https://github.com/asappresearch/aum",
        bibtex_key="pleiss2020identifying",
        cost="the epochs averaged over of one full-data run; no extra pass",
        side="high (side=high) or low (side=low)",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Margins of the counted epochs.

        Raises:
            InputError: More epochs are asked for than the recipe has.
        """
        if self.epochs is not None and self.epochs > epochs:
            raise InputError(
                f"cannot average over {self.epochs} epochs of a recipe of {epochs}",
                where=f"{self.name}.epochs", accepted=f"1 to {epochs}",
            )  # fmt: skip
        names = {"logit_margin"} if self.on == "logits" else {"p_target", "runner_up"}
        return EvidenceSpec(signals=frozenset(names), until=self.epochs)

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], mean margins."""
        if self.on == "logits":
            margins = evidence.logit_margin[: self.epochs]
            return aum_scores(margins, torch.zeros_like(margins))
        return aum_scores(evidence.p_target[: self.epochs], evidence.runner_up[: self.epochs])
