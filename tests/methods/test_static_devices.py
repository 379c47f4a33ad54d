"""Pure functions of the static methods on a card: results lie where the input does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from prunebench.methods.aum import aum_scores, runner_up
from prunebench.methods.cld import cld_scores
from prunebench.methods.craig import craig_order
from prunebench.methods.d2 import d2_densities, d2_order, nearest_neighbours
from prunebench.methods.glister import glister_order, reference_gradient
from prunebench.methods.gm_matching import geometric_median, gm_matching_order
from prunebench.methods.gradmatch import orthogonal_matching_pursuit
from prunebench.methods.herding import herding_order
from prunebench.methods.k_center import k_center_order
from prunebench.methods.last_layer import distances, gram, residuals, similarity
from prunebench.methods.moso import last_layer_moso
from prunebench.methods.sampling import SAMPLERS, sample
from prunebench.methods.submodular import facility_location_order, graph_cut_order
from prunebench.methods.tdds import tdds_scores
from prunebench.methods.uncertainty import entropy_scores, least_confidence_scores
from prunebench.methods.zcore import draw_points, zcore_scores
from prunebench.rng import Stream
from support.pretended_card import pretended_card

N, C, D, T = 30, 4, 6, 8


@pytest.fixture(scope="module")
def card() -> Iterator[torch.device]:
    with pretended_card():
        yield torch.device("cuda")


def results(device: torch.device) -> dict[str, tuple[Tensor, ...]]:
    """What every function gives for inputs on a device."""
    draw = torch.Generator().manual_seed(0)
    outputs = torch.randn(T, N, C, generator=draw).to(device)
    features = torch.randn(N, D, generator=draw).to(device)
    labels = (torch.arange(N) % C).to(device)
    scores = torch.rand(N, generator=draw).to(device)
    rng, logits, p = Stream(1), outputs[-1], outputs.softmax(2)
    r = residuals(logits, labels)
    products, near = gram(r, features), similarity(r, features)
    dimensions, points = draw_points(features, 20, 2, rng)
    gives: dict[str, Callable[[], Tensor | tuple[Tensor, ...]]] = {
        "aum": lambda: aum_scores(p[:, :, 0], p[:, :, 1]),
        "runner_up": lambda: runner_up(logits, labels),
        "tdds": lambda: tdds_scores(p, 4),
        "cld": lambda: cld_scores(p[:, :, 0], labels, p[:, :, 1], labels, C),
        "least_confidence": lambda: least_confidence_scores(logits),
        "entropy": lambda: entropy_scores(logits),
        "distances": lambda: distances(r, features),
        "facility_location": lambda: facility_location_order(near, 5, rng),
        "graph_cut": lambda: graph_cut_order(near, 5, rng=rng),
        "craig": lambda: craig_order(r, features, 5, rng),
        "gradmatch": lambda: orthogonal_matching_pursuit(products, products.mean(1), 5, 1.0, rng),
        "glister": lambda: glister_order(r, features, logits, features, labels, 5, 0.1, rng=rng),
        "reference": lambda: reference_gradient(logits, features, labels),
        "k_center": lambda: k_center_order(features, 5, 0, rng),
        "k_center of none": lambda: k_center_order(features, 0, 0),
        "herding": lambda: herding_order(features, 5, rng=rng),
        "median": lambda: geometric_median(features),
        "gm_matching": lambda: gm_matching_order(features, 5, rng=rng),
        "neighbours": lambda: nearest_neighbours(features, 3),
        "densities": lambda: d2_densities(scores, features, 3),
        "d2": lambda: d2_order(scores, features, 5, 3, 0.1, rng=rng),
        "moso": lambda: last_layer_moso(outputs[:1], features[None], labels, torch.ones(1)),
        "zcore draws": lambda: (dimensions, points),
        "zcore": lambda: zcore_scores(features, dimensions, points, 5),
    }
    for name in SAMPLERS:
        gives[name] = lambda name=name: sample(  # type: ignore[misc]
            name, scores, 10, rng, labels=labels, mean_p=scores
        )
    made = {name: give() for name, give in gives.items()}
    return {name: x if isinstance(x, tuple) else (x,) for name, x in made.items()}


def test_results_lie_where_the_input_does_and_are_the_same(card: torch.device) -> None:
    host = results(torch.device("cpu"))
    for name, parts in results(card).items():
        for part, other in zip(parts, host[name], strict=True):
            assert part.device.type == "cuda", name
            assert torch.equal(part.cpu(), other), name
