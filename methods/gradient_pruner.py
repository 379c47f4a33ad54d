"""Static methods that choose within every class by last-layer gradients at the warm-up snapshot."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from prunebench.methods.interfaces import Evidence, EvidenceSpec, Subset
from prunebench.methods.keep_k import check_count, quotas
from prunebench.methods.last_layer import residuals
from prunebench.methods.pruner import StaticPruner
from prunebench.progress import counted
from prunebench.rng import Stream


@dataclass(frozen=True)
class Group:
    """The samples of one class whose outputs are finite, or those of all classes.

    Attributes:
        label: The class; None for all of them.
        residuals: float64 [n, C], gradients with respect to the logits.
        features: float32 [n, D].
    """

    label: int | None
    residuals: Tensor
    features: Tensor


class GradientPruner(StaticPruner):
    """Chooses within every noisy class, as many as ``keep_k.quotas`` says.

    An author writes ``pick``. Samples whose logits or features are not finite survive, as undefined
    scores do: they come first in their class, with its mean weight.
    """

    #: Whether to choose within every class; a method may have an option of this name.
    balance: bool = True

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Logits and features after the warm-up."""
        return EvidenceSpec(snapshots=(warmup,), until=warmup)

    def prepare(self, evidence: Evidence) -> None:
        """Reads what is needed beside the snapshot; called before the first ``pick``."""

    @abstractmethod
    def pick(self, group: Group, k: int, rng: Stream) -> tuple[Tensor, Tensor | None]:
        """Picks int64 [k] within the group, 1 <= k <= n, and their weights [k] or None."""

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """Keeps the picks of all classes."""
        check_count(k, len(evidence.labels))
        self.prepare(evidence)
        shot = evidence.snapshot(evidence.warmup)
        finite = shot.logits.isfinite().all(1) & shot.features.isfinite().all(1)
        labels = evidence.labels if self.balance else torch.zeros_like(evidence.labels)
        sizes = {label: size for label, size in quotas(labels, k, rng).items() if size}
        indices, weights = [labels.new_empty(0)], [torch.empty(0)]
        weighted = "weighted" in self.options
        for label, size in counted(sizes.items(), len(sizes)):
            own = rng.child("class", label)
            members = (labels == label).nonzero().squeeze(1)
            lost, known = members[~finite[members]], members[finite[members]]
            lost = lost[own.child("undefined").sample(len(lost), min(size, len(lost)))]
            picked, factors = known[:0], None
            if size > len(lost):
                group = Group(
                    label if self.balance else None,
                    residuals(shot.logits[known], evidence.labels[known]),
                    shot.features[known],
                )
                picks, factors = self.pick(group, size - len(lost), own)
                picked = known[picks]
            indices += [lost, picked]
            if weighted:
                factors = torch.ones(len(picked)) if factors is None else factors.float()
                usual = factors.mean() if len(factors) else torch.tensor(1.0)
                weights += [usual.expand(len(lost)), factors]
        chosen, order = torch.cat(indices).sort()
        info = {"not_finite": int((~finite).sum())}
        return Subset(chosen, None, info, torch.cat(weights)[order] if weighted else None)
