"""Self-supervised prototypes: distance to the centre of one's cluster, without any label."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from prunebench.methods.base import Card, Evidence, EvidenceSpec, ScorePruner, register_method
from prunebench.methods.keep_k import real
from prunebench.options import Option

__all__ = ["prototype_distances"]


def prototype_distances(features: Tensor, centroids: Tensor, assignment: Tensor) -> Tensor:
    """Cosine distance, 1 - cos, to the centre of the sample's own cluster.

    Args:
        features: [N, D].
        centroids: [K, D].
        assignment: int [N], cluster of each sample.

    Returns:
        [N] in 0..2, at least float32; 1 where a vector is zero and has no direction.
    """
    x = real(features)
    unit, centre = normalize(x, dim=1), normalize(centroids.to(x), dim=1)
    own = centre[assignment.long()]
    # |a - b|^2 / 2 equals 1 - a.b for unit vectors and does not cancel near 0.
    distances = (unit - own).square().sum(1) / 2
    directed = unit.any(1) & own.any(1)
    return torch.where(directed | distances.isnan(), distances, torch.ones_like(distances))


def cluster(features: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor]:
    """k-means with k-means++ starts, the best of 10 (scikit-learn).

    Args:
        features: [N, D], all finite.
        k: Number of clusters; at most N are made.
        seed: 32-bit seed.

    Returns:
        Centroids [K, D] and assignment int64 [N].
    """
    from sklearn.cluster import KMeans  # a second of import that only this method needs
    from sklearn.exceptions import ConvergenceWarning

    x = features.cpu().numpy()
    means = KMeans(min(k, len(x)), init="k-means++", n_init=10, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        assignment = means.fit_predict(x).astype(np.int64)
    centroids = torch.from_numpy(means.cluster_centers_)
    return centroids.to(features), torch.from_numpy(assignment).to(features.device)


@register_method("ssp")
class SSP(ScorePruner):
    """Keeps samples far from (hard) or near to (easy) their prototype; one cluster per class."""

    side: str
    normalise: bool
    options = {
        "side": Option(
            "hard",
            "keep samples far from their prototype (hard) or near (easy)",
            choices=("hard", "easy"),
            search=("hard", "easy"),
        ),
        "normalise": Option(True, "scale features to unit length before k-means"),
    }
    card = Card(
        title="SSP",
        paper="Sorscher, Geirhos, Shekhar, Ganguli, Morcos: Beyond neural scaling laws: beating "
        "power law scaling via data pruning, NeurIPS 2022",
        bibtex_key="sorscher2022beyond",
        cost="one self-supervised training per data set, shared by all noise types and seeds, "
        "one forward pass and k-means",
        side="high (side=hard) or low (side=easy)",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Self-supervised features."""
        return EvidenceSpec(ssl=True)

    def kept_side(self) -> str:
        """``high`` for hard samples, ``low`` for easy ones."""
        return "high" if self.side == "hard" else "low"

    def scores(self, evidence: Evidence) -> Tensor:
        """[N], distances to prototypes; NaN where features are not finite."""
        features = real(evidence.ssl_features)
        if self.normalise:
            features = normalize(features, dim=1)
        scores = features.new_full((len(features),), float("nan"))
        finite = features.isfinite().all(1)
        if bool(finite.any()):
            known = features[finite]
            # A fixed seed: prototypes are facts of the images, whatever the noise and the run.
            centroids, assignment = cluster(known, evidence.num_classes, seed=0)
            scores[finite] = prototype_distances(
                known, centroids.to(known), assignment.to(known.device)
            )
        return scores
