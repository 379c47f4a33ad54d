"""SOP and SOP+ (Liu et al., ICML 2022): over-parametrised labels that absorb the noise."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from prunebench.methods.base import Criterion, register_criterion
from prunebench.options import Option
from prunebench.rng import Stream

__all__ = ["sop_loss", "sop_terms"]

_EPS = 1e-4
_INIT = 1e-8


def sop_terms(
    logits: Tensor,
    labels: Tensor,
    u: Tensor,
    v: Tensor,
    logits_strong: Tensor | None = None,
    consistency: float = 0.0,
    balance: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Per-sample loss and batch term of SOP.

    With U = clamp(u^2 y, 0, 1), V = clamp(v^2 (1 - y), 0, 1) and the corrected prediction
    P = normalised max(softmax(z) + U - stopgrad(V), 1e-4): cross-entropy of P, plus
    ||onehot(argmax z) + U - V - y||^2, plus ``consistency`` times KL(softmax z || softmax z')
    with gradient through z' only. ``v`` learns through the squared term alone, and the network
    not through it. The batch term is ``balance`` times the cross-entropy of the mean corrected
    prediction to uniform, whose least value is log C.

    Args:
        logits: float [B, C].
        labels: int64 [B].
        u: float [B, 1].
        v: float [B, C].
        logits_strong: float [B, C] of a strongly augmented view; needed for consistency.
        consistency: Weight of the consistency term (SOP+: 0.9).
        balance: Weight of the balance term (SOP+: 0.1).

    Returns:
        per_sample [B] and balance_term, a scalar that holds its weight.

    Raises:
        ValueError: Consistency is wanted and there is no strong view.
    """
    if consistency and logits_strong is None:
        raise ValueError("the consistency term needs the logits of a strong view")
    classes = logits.shape[1]
    which = torch.arange(classes, device=logits.device)  # one_hot would look at the labels' range
    y = (labels[:, None] == which).to(logits.dtype)
    plus = (u.square() * y).clamp(0, 1)
    minus = (v.square() * (1 - y)).clamp(0, 1)
    p = (logits.softmax(1) + plus - minus.detach()).clamp_min(_EPS)
    p = (p / p.sum(1, keepdim=True).clamp_min(_EPS)).clamp(_EPS, 1.0)
    per_sample = -p.gather(1, labels[:, None]).squeeze(1).log()
    guess = (logits.argmax(1)[:, None] == which).to(logits.dtype)
    per_sample = per_sample + (guess + plus - minus - y).square().sum(1)
    if consistency and logits_strong is not None:
        target = logits.detach().log_softmax(1)
        gap = target.exp() * (target - logits_strong.log_softmax(1))
        per_sample = per_sample + consistency * gap.sum(1)
    if not balance:
        return per_sample, logits.new_zeros(())
    return per_sample, -balance * p.mean(0).clamp(_EPS, 1.0).log().mean()


def sop_loss(
    logits: Tensor,
    labels: Tensor,
    u: Tensor,
    v: Tensor,
    logits_strong: Tensor | None = None,
    consistency: float = 0.0,
    balance: float = 0.0,
) -> Tensor:
    """Mean of the per-sample loss plus the batch term; see ``sop_terms``."""
    first, second = sop_terms(logits, labels, u, v, logits_strong, consistency, balance)
    return first.mean() + second


def learning_rates(num_classes: int) -> tuple[float, float]:
    """Default (lr_u, lr_v): 10, 10 up to 10 classes and 1, 10 above (symmetric noise).

    Asymmetric noise on CIFAR-100 used 0.1, 100; real noise on CIFAR-10, 10, 100.
    """
    return (10.0, 10.0) if num_classes <= 10 else (1.0, 10.0)


@register_criterion("sop")
class SOP(Criterion):
    """Owns u [n, 1] and v [n, C], indexed by sample id and trained by plain SGD per batch.

    A batch's rows are a leaf of their own, so that a step costs B rows, not n; a sample that is
    not in the batch does not move. Sample weights multiply these gradients too. The rates act on
    a mean over the batch: another batch size rescales them. Evaluation ignores u and v.
    """

    options = {
        "lr_u": Option(None, "rate of u; none: by class count", 0.0, optional=True, kind=float),
        "lr_v": Option(None, "rate of v; none: by class count", 0.0, optional=True, kind=float),
    }
    capturable = True
    lr_u: float | None
    lr_v: float | None
    consistency: float = 0.0
    balance: float = 0.0

    def begin(self, num_samples: int, num_classes: int, device: torch.device, rng: Stream) -> None:
        """Draws u and v from N(0, 1e-16): exact zeros would never move."""
        default_u, default_v = learning_rates(num_classes)
        self._rates = (
            default_u if self.lr_u is None else self.lr_u,
            default_v if self.lr_v is None else self.lr_v,
        )
        draws = rng.child("sop").numpy.standard_normal((num_samples, num_classes + 1), "float32")
        both = torch.from_numpy(draws * _INIT).to(device)
        self.u, self.v = both[:, :1].clone(), both[:, 1:].clone()
        self._leaves: tuple[Tensor, Tensor, Tensor] | None = None
        self._batch_term: Tensor | None = None

    def per_sample(
        self,
        logits: Tensor,
        labels: Tensor,
        sample_ids: Tensor,
        strong_logits: Tensor | None = None,
    ) -> Tensor:
        """float32 [B]; without a strong view the consistency term is left out (re-scoring)."""
        u = self.u[sample_ids].requires_grad_()
        v = self.v[sample_ids].requires_grad_()
        consistency = 0.0 if strong_logits is None else self.consistency
        losses, term = sop_terms(logits, labels, u, v, strong_logits, consistency, self.balance)
        self._leaves, self._batch_term = (sample_ids, u, v), term
        return losses

    def batch_term(
        self,
        logits: Tensor,
        labels: Tensor,
        sample_ids: Tensor,
        strong_logits: Tensor | None = None,
    ) -> Tensor | None:
        """The balance term of the batch last given to ``per_sample``."""
        return self._batch_term if self.balance else None

    @torch.no_grad()
    def step(self) -> None:
        """One SGD step on the rows of the last batch; equals the dense step."""
        if self._leaves is None:
            return
        sample_ids, *leaves = self._leaves
        for table, leaf, rate in zip((self.u, self.v), leaves, self._rates, strict=True):
            if leaf.grad is not None:
                table.index_add_(0, sample_ids, leaf.grad, alpha=-rate)
        self._leaves = self._batch_term = None

    def state_dict(self) -> dict[str, Tensor]:
        """u and v."""
        return {"u": self.u, "v": self.v}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores them."""
        self.u.copy_(state["u"])
        self.v.copy_(state["v"])


@register_criterion("sop+")
class SOPPlus(SOP):
    """SOP with consistency between two views and class balance."""

    options = {
        **SOP.options,
        "consistency": Option(0.9, "weight of the consistency term", 0.0),
        "balance": Option(0.1, "weight of the balance term", 0.0),
    }

    @property
    def views(self) -> int:  # type: ignore[override]
        """2 where the consistency term is on."""
        return 2 if self.consistency > 0 else 1
