"""Methods that choose by outputs, features and graphs: what they read, whom they keep."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prunebench.bench.checks.population import Population, SimulatedEvidence, simulate_population
from prunebench.bench.runs.scoring_runs import charged_epochs
from prunebench.errors import InputError, SkipCell
from prunebench.methods.aum import aum_scores
from prunebench.methods.base import StaticPruner
from prunebench.methods.compose import resolve_method
from prunebench.methods.d2 import d2_by_class, d2_order
from prunebench.methods.gm_matching import gm_matching_order
from prunebench.methods.herding import herding_order
from prunebench.methods.k_center import k_center_order
from prunebench.methods.tdds import divergence_scores
from prunebench.methods.zcore import draw_points, zcore_scores
from prunebench.rng import Stream
from support.vectors import Reference

N, CLASSES, EPOCHS, WARMUP = 60, 3, 20, 4
GREEDY = ("k-center", "herding", "gm-matching", "d2")
NAMES = (*GREEDY, "tdds", "least-confidence", "entropy", "zcore")
RNG = Stream(3)


@pytest.fixture(scope="module")
def population() -> Population:
    return simulate_population(N, EPOCHS, CLASSES, seed=5)


def pruner(name: str, **params: Any) -> StaticPruner:
    made = resolve_method(name).build(params)
    assert isinstance(made, StaticPruner)
    return made


def evidence(population: Population, method: StaticPruner) -> SimulatedEvidence:
    return SimulatedEvidence(population, WARMUP, method.needs(EPOCHS, WARMUP))


def kept(population: Population, name: str, k: int, **params: Any) -> list[int]:
    method = pruner(name, **params)
    return method.keep(evidence(population, method), k, RNG).indices.tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [0, 1, 22, N])
def test_exactly_k_each_once(population: Population, name: str, k: int) -> None:
    picks = kept(population, name, k)
    assert picks == sorted(set(picks))
    assert len(picks) == k


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_not_finite_survive(population: Population, name: str) -> None:
    lost = [7, 11, 40]
    broken = {field: getattr(population, field).clone() for field in ("logits", "features", "ssl")}
    broken["logits"][:, lost], broken["features"][:, lost] = torch.nan, torch.inf
    broken["ssl"][lost] = torch.nan
    damaged = replace(population, **broken)
    assert set(lost) <= set(kept(damaged, name, 30))
    assert set(kept(damaged, name, 2, **({} if name not in GREEDY else {"balance": False}))) <= set(
        lost
    )


@pytest.mark.parametrize("name", ["k-center", "herding", "gm-matching"])
def test_classes_are_kept_in_proportion(population: Population, name: str) -> None:
    sizes = population.labels[kept(population, name, 30)].bincount(minlength=CLASSES)
    expected = population.labels.bincount(minlength=CLASSES) / 2
    assert (sizes - expected).abs().max() < 1
    assert kept(population, name, 30) != kept(population, name, 30, balance=False)


def test_greedy_methods_keep_the_first_picks_of_their_order(population: Population) -> None:
    x = population.features[WARMUP - 1]
    assert kept(population, "herding", 30, balance=False) == sorted(herding_order(x, 30).tolist())
    ssl = sorted(gm_matching_order(population.ssl, 30).tolist())
    assert kept(population, "gm-matching", 30, balance=False) == ssl
    snapshot = sorted(gm_matching_order(x, 30).tolist())
    params = {"balance": False, "features": "snapshot"}
    assert kept(population, "gm-matching", 30, **params) == snapshot
    covering = kept(population, "k-center", 30, balance=False)
    assert any(sorted(k_center_order(x, 30, i).tolist()) == covering for i in covering)


def test_features_of_gm_matching_decide_what_is_recorded() -> None:
    assert pruner("gm-matching").needs(20, 4).ssl
    need = pruner("gm-matching", features="snapshot").needs(20, 4)
    assert (need.ssl, need.snapshots, need.until) == (False, (4,), 4)


def test_k_center_starts_anew_with_each_stream(population: Population) -> None:
    method = pruner("k-center")
    assert method.randomised
    runs = {
        tuple(method.keep(evidence(population, method), 3, Stream(seed)).indices.tolist())
        for seed in range(8)
    }
    assert len(runs) > 3


@pytest.mark.parametrize(
    ("pruned", "lengths"),
    [(0.3, (90, 10)), (0.4, (90, 10)), (0.5, (70, 10)), (0.7, (60, 20)), (0.8, (20, 10)),
     (0.9, (10, 5)), (0.97, (10, 5)), (0.0, (90, 10))],
)  # fmt: skip
def test_tdds_reads_and_is_charged_the_listed_epochs(
    pruned: float, lengths: tuple[int, int]
) -> None:
    tdds = pruner("tdds")
    need = tdds.needs_at(200, 30, pruned)
    assert need.until == charged_epochs(need, 200) == lengths[0]
    assert need.signals == {"divergence"}
    assert tdds.needs(200, 30).until == 90
    divergence = torch.rand(200, 100, generator=torch.Generator().manual_seed(2))

    given: Any = SimpleNamespace(epochs=200, labels=torch.zeros(100), divergence=divergence)
    k = round(100 * (1 - pruned))
    scores = tdds.keep(given, k, RNG).scores
    expected = divergence_scores(divergence[1 : lengths[0]], lengths[1])
    assert scores is not None
    assert torch.equal(scores, expected)


def test_tdds_reads_what_is_recorded_where_rounding_moves_the_share() -> None:
    """At a ratio of 0.601 7 of 12 are pruned, which is nearer to 0.5 than to 0.7."""
    tdds = pruner("tdds")
    rows = tdds.needs_at(200, 30, 0.601).until
    assert rows == 60
    divergence = torch.rand(60, 12, generator=torch.Generator().manual_seed(3))
    given: Any = SimpleNamespace(epochs=200, labels=torch.zeros(12), divergence=divergence)
    scores = tdds.keep(given, 5, RNG).scores
    assert scores is not None
    assert torch.equal(scores, divergence_scores(divergence[1:60], 20))


def test_tdds_scales_to_short_recipes_and_refuses_what_does_not_fit() -> None:
    def lengths(total: int, ratio: float, **params: int) -> int | None:
        return pruner("tdds", **params).needs_at(total, 2, ratio).until

    assert [lengths(20, r) for r in (0.3, 0.5, 0.7, 0.8, 0.9)] == [9, 7, 6, 4, 4]
    assert lengths(3, 0.9) == 3
    assert lengths(30, 0.5, epochs=12, window=6) == 12
    with pytest.raises(SkipCell, match="at least 3 epochs"):
        lengths(2, 0.5)
    with pytest.raises(InputError, match="recipe has 30; accepted: 3 to 30"):
        lengths(30, 0.5, epochs=40)
    with pytest.raises(InputError, match=r"tdds\.window: a window of 13 visits does not fit 12"):
        lengths(30, 0.5, epochs=12, window=13)
    with pytest.raises(InputError, match=r"tdds\.window"):
        pruner("tdds", window=2)


def test_uncertainty_goes_with_any_sampler(population: Population) -> None:
    whole = kept(population, "entropy", 30)
    balanced = kept(population, "entropy@balanced", 30)
    sizes = population.labels[balanced].bincount(minlength=CLASSES)
    assert sizes.tolist() == [10, 10, 10]
    assert whole != balanced
    assert kept(population, "least-confidence@top", 30) == kept(population, "least-confidence", 30)


def test_zcore_draws_distinct_dimensions_and_triangular_points() -> None:
    x = torch.rand(301, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) ** 2
    x[:, 2] = 1.0
    dimensions, points = draw_points(x, 6000, 3, RNG)
    assert (dimensions.sort(1).values.diff(dim=1) > 0).all()
    counts = dimensions.flatten().bincount(minlength=5)
    assert counts[2] == 0
    assert (counts[[0, 1, 3, 4]] - 4500).abs().max() < 150
    values = points[dimensions == 0].numpy()
    low, middle, high = x[:, 0].min().item(), x[:, 0].median().item(), x[:, 0].max().item()
    below = (middle - low) / (high - low)
    assert abs((values < middle).mean() - below) < 0.03
    rising = values[values < middle]
    assert abs(((rising - low) / (middle - low)).mean() - 2 / 3) < 0.03
    assert low <= values.min() < values.max() <= high


def test_zcore_of_equal_samples_is_its_start() -> None:
    x, start = torch.ones(5, 3), torch.tensor([0.2, 0.4, 0.1, 0.9, 0.5])
    dimensions, points = draw_points(x, 7, 2, RNG)
    assert points.shape == (7, 0)
    scores = zcore_scores(x, dimensions, points, start=start)
    np.testing.assert_allclose(scores, (start.double() - start[2]) / (start[3] - start[2]))


def test_zcore_draws_from_the_stream_whatever_k(population: Population) -> None:
    method = pruner("zcore", draws=50)
    given = evidence(population, method)
    one, two, other = (
        method.keep(given, k, Stream(seed)).scores for k, seed in ((9, 1), (40, 1), (9, 2))
    )
    assert one is not None
    assert two is not None
    assert other is not None
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def first_picks(scores: Tensor, x: Tensor, k: int, rng: Stream) -> Tensor:
    return d2_order(scores, x, k, 5, 0.1)


@pytest.mark.parametrize("cut", ["0.0", "0.2"])
@pytest.mark.parametrize("keep", ["0.5", "0.2"])
def test_d2_by_class_keeps_what_the_official_class_mode_keeps(cut: str, keep: str) -> None:
    ref = Reference("d2_a", "static-2")
    key = f"class_forgetting_cut{cut}_keep{keep}"
    left, k = ref.t(f"{key}_survivors"), len(ref[f"{key}_selected"])
    labels = ref.t("labels")[left]
    scores, x = ref.t("forgetting")[left], ref.t("features")[left]
    picks = left[d2_by_class(scores, x, labels, k, RNG, first_picks)]
    assert set(picks.tolist()) == set(ref[f"{key}_selected"].tolist())
    sizes = ref.t("labels")[picks].bincount(minlength=5)
    assert sizes.tolist() == ref[f"{key}_class_budgets"].tolist()


def test_d2_holds_budgets_where_a_class_has_fewer_samples_than_neighbours() -> None:
    x = torch.randn(23, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0] * 20 + [1] * 2 + [7])
    picks = d2_by_class(torch.ones(23), x, labels, 3, RNG, first_picks)
    assert labels[picks].tolist() == [0, 1, 7]
    assert len(d2_by_class(torch.ones(23), x, labels, 21, RNG, first_picks)) == 21


def test_d2_drops_the_lowest_margins(population: Population) -> None:
    method = pruner("d2", cutoff=0.4)
    given = evidence(population, method)
    subset = method.keep(given, 30, RNG)
    assert subset.info["dropped"] == 24
    margin = aum_scores(given.p_target, given.runner_up)
    assert set(subset.indices.tolist()) <= set(margin.argsort()[24:].tolist())
    wrong = population.labels != population.clean_labels
    uncut = kept(population, "d2", 30, cutoff=0.0)
    assert wrong[subset.indices].sum() < wrong[uncut].sum()
    with pytest.raises(InputError, match=r"d2\.cutoff: 0\.4 is above the share that is pruned"):
        method.keep(given, 50, RNG)


def test_d2_by_margin_takes_low_margins_for_hard(population: Population) -> None:
    params = {"score": "aum", "cutoff": 0.0, "balance": False}
    method = pruner("d2", **params)
    given = evidence(population, method)
    picks = method.keep(given, 12, RNG).indices
    margin = aum_scores(given.p_target, given.runner_up)
    assert margin[picks].mean() < margin.mean()
    shifted = margin.max().double() - margin.double()
    order = d2_order(shifted, given.snapshot(EPOCHS).features, 12, 5, 0.1)
    assert sorted(order.tolist()) == picks.tolist()


def test_d2_records_margins_only_where_they_are_read() -> None:
    assert pruner("d2", cutoff=0.0).needs(20, 4).signals == {"correct"}
    assert pruner("d2").needs(20, 4).signals == {"correct", "p_target", "runner_up"}
    assert pruner("d2", score="aum").needs(20, 4).signals == {"p_target", "runner_up"}
    assert pruner("d2").needs(20, 4).snapshots == (20,)


@pytest.mark.parametrize(("k", "dropped"), [(31, 0), (30, 0), (12, 6), (6, 18), (1, 18)])
def test_d2_takes_the_published_cutoff_from_half_pruned_on(
    population: Population, k: int, dropped: int
) -> None:
    method = pruner("d2")
    assert method.keep(evidence(population, method), k, RNG).info["dropped"] == dropped
