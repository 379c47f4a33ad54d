"""CRAIG: the gradients of a few samples, weighted, stand for those of all others in the class."""

from __future__ import annotations

from torch import Tensor

from prunebench.methods.base import Card, register_method
from prunebench.methods.gradient_pruner import GradientPruner, Group
from prunebench.methods.keep_k import WEIGHTED, check_count
from prunebench.methods.last_layer import distances
from prunebench.methods.submodular import cluster_sizes, facility_location_order
from prunebench.rng import Stream

__all__ = ["craig_order"]


def craig_order(
    residuals: Tensor, features: Tensor, k: int, rng: Stream | None = None
) -> tuple[Tensor, Tensor]:
    """Picks of one class: greedy facility location on s = max(d) - d, d the gradient distances.

    Args:
        residuals: [n, C], of ``last_layer.residuals``.
        features: [n, D].
        k: Number of picks, 0..n.
        rng: Order among equal gains; None: the lowest index. Equal gains are usual: samples that
            are each other's only neighbours have them.

    Returns:
        Pick order int64 [k], nested in k, and float64 [k]: the number of samples whose nearest pick
        it is, itself included. These weights sum to n.

    Raises:
        InputError: k is outside 0..n, or as ``last_layer.gram``.
    """
    check_count(k, len(residuals))
    apart = distances(residuals, features)
    if not k:
        return apart.new_empty(0).long(), apart.new_empty(0)
    near = apart.neg_().add_(-apart.min())
    order = facility_location_order(near, k, rng)
    return order, cluster_sizes(near, order).double()


@register_method("craig")
class Craig(GradientPruner):
    """Gradients of the picks, each as often as it is the nearest, stand for those of the class.

    A wrong label has a gradient of its own, far from all others, so that picks go to it early; its
    weight is small, for it stands for few.
    """

    zero_is_full = False
    full_at = {"weighted": False}
    options = {"weighted": WEIGHTED}
    card = Card(
        title="CRAIG",
        paper="Mirzasoleiman, Bilmes, Leskovec: Coresets for Data-efficient Training of Machine "
        "Learning Models, ICML 2020",
        repository="https://github.com/baharanm/craig",
        bibtex_key="mirzasoleiman2020coresets",
        cost="the warm-up epochs of one full-data run, one forward pass, and all gradient "
        "distances within a class",
        side="greedy, weighted",
    )

    def pick(self, group: Group, k: int, rng: Stream) -> tuple[Tensor, Tensor | None]:
        """Facility location on gradient distances."""
        return craig_order(group.residuals, group.features, k, rng)
