"""Graph cut and facility location over the similarities within a class."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from prunebench.methods.base import Card, register_method
from prunebench.methods.gradient_pruner import GradientPruner, Group
from prunebench.methods.last_layer import feature_similarity, similarity
from prunebench.methods.submodular import facility_location_order, graph_cut_order
from prunebench.options import Option
from prunebench.rng import Stream

_PAPER = (
    "Iyer, Khargoankar, Bilmes, Asnani: Submodular Combinatorial Information Measures with "
    "Applications in Machine Learning, ALT 2021; as a pruning method Guo, Zhao, Bai: DeepCore: A "
    "Comprehensive Library for Coreset Selection in Deep Learning, DEXA 2022"
)
_REPOSITORY = "https://github.com/PatrickZH/DeepCore"
_KEY = "iyer2021submodular"
_COST = (
    "the warm-up epochs of one full-data run, one forward pass, and all similarities within a class"
)


class _Submodular(GradientPruner):
    """Maximises a submodular function of 0.5 + 0.5 cos, greedily and exactly."""

    on: str
    options = {
        "on": Option(
            "gradients", "what is compared: last-layer gradients, or features (no label is read)",
            choices=("gradients", "features"), search=("gradients", "features"),
        ),
    }  # fmt: skip

    @abstractmethod
    def order(self, near: Tensor, k: int, rng: Stream) -> Tensor:
        """Picks int64 [k] from similarities [n, n]."""

    def pick(self, group: Group, k: int, rng: Stream) -> tuple[Tensor, Tensor | None]:
        """Picks within one class; none has a weight."""
        on_features = self.on == "features"
        near = (
            feature_similarity(group.features)
            if on_features
            else similarity(group.residuals, group.features)
        )
        return self.order(near, k, rng), None


@register_method("graph-cut")
class GraphCut(_Submodular):
    """Keeps samples similar to all of their class and unlike those already kept.

    Typical gradients come first; wrong labels are unlike their class, but unlike the picks too.
    """

    card = Card("Graph cut", _PAPER, _REPOSITORY, _KEY, _COST, "greedy")

    def order(self, near: Tensor, k: int, rng: Stream) -> Tensor:
        """Graph cut picks."""
        return graph_cut_order(near, k, rng=rng)


@register_method("facility-location")
class FacilityLocation(_Submodular):
    """Keeps samples such that each of the class has a similar one among them.

    Wrong labels are similar to few others, so that they are covered by samples of their own.
    """

    card = Card("Facility location", _PAPER, _REPOSITORY, _KEY, _COST, "greedy")

    def order(self, near: Tensor, k: int, rng: Stream) -> Tensor:
        """Facility location picks."""
        return facility_location_order(near, k, rng)
