"""Samplers: sizes, undefined scores, official strata, and scores joined with samplers."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prunebench.bench.checks.population import SimulatedEvidence, simulate_population
from prunebench.bench.runs.resolve import build_spec
from prunebench.errors import InputError
from prunebench.methods.base import EvidenceSpec, Sampler, ScorePruner
from prunebench.methods.compose import resolve_method, scores
from prunebench.methods.keep_k import take, take_balanced
from prunebench.methods.sampling import (
    SAMPLERS,
    sample,
    strata_of,
    stratified,
    stratum_budgets,
)
from prunebench.methods.strata import published_cutoff
from prunebench.registry import METHODS, UnknownName
from prunebench.registry import SAMPLERS as REGISTERED
from prunebench.rng import Stream

FOLDER = Path(__file__).parents[1] / "data" / "reference" / "static-2"
RNG = Stream(5)
KEPT = {"0.1": 24, "0.3": 72, "0.5": 120, "0.7": 168}


@pytest.fixture(scope="module")
def official() -> dict[str, Tensor]:
    with np.load(FOLDER / "strata_a.npz", allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def test_strata_are_the_official_ones(official: dict[str, Tensor]) -> None:
    for count in (5, 20):
        ours = strata_of(official["aum"], count)
        assert torch.equal(ours, official[f"reference_strata_aum_S{count}"])
    negative = strata_of(official["negative_score"])
    assert torch.equal(negative, official["reference_negative_strata"])
    assert int(official["faulty_negative_counts"].sum()) == 239  # the official edge loses the top


def test_survivors_counts_and_budgets_are_the_official_ones(official: dict[str, Tensor]) -> None:
    found = 0
    for key in official:
        if not key.endswith("_budgets"):
            continue
        name, cut, keep, _ = key.removesuffix("_budgets").split("_")
        survivors = official[f"{name}_{cut}_survivors"]
        counts = strata_of(official[name][survivors]).bincount(minlength=50)
        assert torch.equal(counts, official[key.replace("_budgets", "_counts")])
        k = KEPT[keep.removeprefix("keep")]
        ours, theirs = stratum_budgets(counts, k), official[key]
        for size in counts.unique():  # strata of equal size may exchange theirs
            same = counts == size
            assert ours[same].sort().values.tolist() == theirs[same].sort().values.tolist()
        kept = stratified(official[name], k, 50, float(cut.removeprefix("cut")), RNG, "low",
                          official["aum"])  # fmt: skip
        assert set(kept.tolist()) <= set(survivors.tolist())
        ours = strata_of(official[name][survivors])[torch.isin(survivors, kept)]
        assert torch.equal(ours.bincount(minlength=50), stratum_budgets(counts, k))
        found += 1
    assert found == 25


NUMBERS = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-1e6, 1e6), st.just(math.nan), st.just(-math.inf)
)


@given(
    st.lists(st.tuples(NUMBERS, st.integers(0, 3)), max_size=30), st.sampled_from([*SAMPLERS]),
    st.integers(0, 2**32), st.data(),
)  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_every_sampler_keeps_k_and_undefined_scores_first(
    rows: list[tuple[float, int]], name: str, key: int, data: st.DataObject
) -> None:
    values = torch.tensor([row[0] for row in rows], dtype=torch.float64)
    labels = torch.tensor([row[1] for row in rows], dtype=torch.int64)
    total = len(values)
    k = data.draw(st.integers(0, total))
    side = data.draw(st.sampled_from(["low", "high", "window"]))
    mean_p = torch.linspace(0, 1, total)
    kept = sample(name, values, k, Stream(key), side, labels, mean_p)
    assert kept.dtype == torch.int64
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert len(kept) == k
    missing = set(values.isnan().nonzero().flatten().tolist())
    if name != "balanced":  # there class by class
        assert missing <= set(kept.tolist()) or set(kept.tolist()) <= missing
    assert torch.equal(kept, sample(name, values, k, Stream(key), side, labels, mean_p))


def test_the_plain_samplers_are_the_rules_of_keep_k() -> None:
    values = torch.randn(60, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    labels = torch.arange(60) % 3
    for side in ("low", "high", "window"):
        assert torch.equal(sample("top", values, 20, RNG, side), take(values, 20, side, RNG)[0])
        ours = sample("balanced", values, 20, RNG, side, labels=labels)
        assert torch.equal(ours, take_balanced(values, labels, 20, side, RNG)[0])
    assert torch.equal(sample("window", values, 20, RNG), take(values, 20, "window", RNG)[0])


def test_the_cut_takes_the_hard_end_of_the_scores_that_it_goes_by() -> None:
    values = torch.arange(100.0)
    assert stratified(values, 60, 10, 0.4, RNG).tolist() == [*range(40, 100)]
    assert stratified(values, 60, 10, 0.4, RNG, "high").tolist() == [*range(60)]
    assert stratified(values, 60, 10, 0.4, RNG, "low", -values).tolist() == [*range(60)]
    # 0.29 * 100 is 28.999... in floating point; and k samples are left whatever the cut-off.
    assert stratified(values, 71, 10, 0.29, RNG).tolist() == [*range(29, 100)]
    assert stratified(values, 90, 10, 0.9, RNG).tolist() == [*range(10, 100)]


def test_scores_below_zero_are_shifted_for_the_beta_draw() -> None:
    values, mean_p = torch.arange(40.0), torch.linspace(0, 1, 40)
    kept = sample("beta", values, 10, RNG, mean_p=mean_p)
    assert torch.equal(kept, sample("beta", values - 100, 10, RNG, mean_p=mean_p))
    flat = torch.full((40,), 0.5)
    far = [sample("beta", values + shift, 10, RNG, mean_p=flat) for shift in (0, 1000)]
    assert not torch.equal(*far)


def test_a_constant_score_is_one_stratum_and_draws_are_uniform_within() -> None:
    assert strata_of(torch.full((7,), -2.0)).tolist() == [0] * 7
    assert strata_of(torch.zeros(3)).tolist() == [0] * 3
    assert strata_of(torch.tensor([0.0, 1.0, 2.0]), 2).tolist() == [0, 0, 1]
    first = stratified(torch.zeros(1000), 300, 50, 0.0, Stream(1))
    assert 400 < first.double().mean() < 600
    assert first.tolist() != stratified(torch.zeros(1000), 300, 50, 0.0, Stream(2)).tolist()
    assert stratum_budgets(torch.tensor([5, 0, 2, 9]), 10).tolist() == [4, 0, 2, 4]
    assert stratum_budgets(torch.tensor([3, 3, 3]), 100).tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("classes", "ratio", "cutoff"),
    [(10, 0.3, 0.0), (10, 0.9, 0.3), (100, 0.5, 0.2), (100, 0.8, 0.4), (1000, 0.5, 0.1),
     (10, 0.4, 0.0), (100, 0.05, 0.05), (49, 0.7, 0.1), (50, 0.7, 0.2), (500, 0.9, 0.3)],
)  # fmt: skip
def test_published_cutoffs(classes: int, ratio: float, cutoff: float) -> None:
    assert published_cutoff(classes, 1000, 1000 - round(1000 * ratio)) == cutoff


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("strat", {}), "unknown sampler 'strat'; accepted: strata"),
        (("balanced", {}), "sampler balanced: sampler 'balanced' needs labels"),
        (("beta", {}), "needs mean_p"),
        (("top", {"side": "middle"}), "accepted: low, high, window"),
        (("strata", {"strata": 0}), "strata.strata: 0 is not accepted"),
        (("strata", {"cutoff": 0.6}), "0.6 is above the share that is pruned; accepted: 0 to 0.5"),
        (("strata", {"hard": "window"}), "unknown end 'window'; accepted: low, high"),
        (("window", {"side_": 1}), "unknown option 'side_'"),
    ],
)
def test_bad_input_of_sample_is_one_line(arguments: tuple[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sample(arguments[0], torch.arange(10.0), 5, RNG, **arguments[1])


@pytest.mark.parametrize("call", [
    lambda: strata_of(torch.zeros(3), 0),
    lambda: strata_of(torch.tensor([math.nan])),
    lambda: stratified(torch.zeros(3), 2, 0, 0.0, RNG),
    lambda: stratified(torch.zeros(3), 2, 5, 1.5, RNG),
    lambda: stratified(torch.zeros(3), 4, 5, 0.0, RNG),
])  # fmt: skip
def test_impossible_strata_are_refused(call: Any) -> None:
    with pytest.raises(InputError, match="accepted"):
        call()


def test_a_score_and_a_sampler_have_the_options_of_both() -> None:
    info = resolve_method("grand@strata")
    assert info.name == "grand@strata"
    assert info.version == "1@1"
    assert [*info.options] == ["repeats", "strata.strata", "strata.cutoff", "strata.cutoff_by"]
    assert info.randomised
    assert not resolve_method("grand@top").randomised
    pruner = info.build({"repeats": 2, "strata.cutoff": 0.1})
    assert pruner.params == {
        "repeats": 2, "strata.strata": 50, "strata.cutoff": 0.1, "strata.cutoff_by": "aum"
    }  # fmt: skip
    need = pruner.needs(200, 30)  # type: ignore[attr-defined]
    assert (need.repeats, need.snapshots, need.until) == (2, (30,), None)
    assert need.signals == {"p_target", "runner_up"}
    need = resolve_method("el2n@beta").build().needs(200, 30)  # type: ignore[attr-defined]
    assert need == EvidenceSpec(frozenset({"p_target"}), (30,), until=30)
    assert "balance" not in resolve_method("forgetting@strata").options
    assert {info.name for info in scores()} >= {"el2n", "moderate", "scores", "dual"}


@pytest.mark.parametrize(
    ("long", "params", "short", "same"),
    [
        ("moderate@window", {}, "moderate", {}),
        ("forgetting@balanced", {"never_learned": "max"}, "forgetting", {"never_learned": "max"}),
        ("dual@beta", {"beta.c_d": 6.0}, "dual-beta", {"c_d": 6.0}),
        ("el2n@top", {}, "el2n", {}),
        ("margin@top", {"top.side": None}, "margin", {}),
    ],
)
def test_two_names_of_one_method_have_one_key(
    long: str, params: dict[str, Any], short: str, same: dict[str, Any]
) -> None:
    fields: dict[str, Any] = {"dataset": "digits", "ratio": 0.5}
    one = build_spec(method=long, params=params, **fields)
    assert one.method.name == short
    assert one.key == build_spec(method=short, params=same, **fields).key
    other = build_spec(method="margin@top", params={"top.side": "high"}, **fields)
    assert other.method.name == "margin@top"


@pytest.mark.parametrize(
    "name", ["el2n@balanced", "small-loss@strata", "margin@beta", "dual@window"]
)
def test_a_pair_keeps_what_its_sampler_keeps_by_its_score(name: str) -> None:
    population = simulate_population(120, epochs=20)
    evidence = SimulatedEvidence(population, 4)
    score, _, sampler = name.partition("@")
    pruner = resolve_method(name).build()
    subset = pruner.keep(evidence, 60, RNG)  # type: ignore[attr-defined]
    own = resolve_method(score).build()
    assert isinstance(own, ScorePruner)
    expected = own.scores(evidence)
    assert subset.scores is not None
    assert torch.equal(subset.scores, expected)
    rows = 4 if score in ("el2n", "small-loss", "margin") else 20
    options = {"cutoff_scores": _aum(population)} if sampler == "strata" else {}
    kept = sample(
        sampler, expected, 60, RNG, own.kept_side(), population.labels,
        population.p_target[:rows].double().mean(0), **options,
    )  # fmt: skip
    assert torch.equal(subset.indices, kept)


def _aum(population: Any) -> Tensor:
    p = population.logits.softmax(2).double()
    own = p.gather(2, population.labels[None, :, None].expand(len(p), -1, 1)).squeeze(2)
    others = p.scatter(2, population.labels[None, :, None].expand(len(p), -1, 1), -1.0).amax(2)
    return (own - others).mean(0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("random@strata", "one score per sample, which random is not; accepted: .*el2n"),
        ("prune4rel@top", "which prune4rel is not"),
        ("infobatch+align@top", "which infobatch\\+align is not"),
        ("el2n@strat", "unknown sampler 'strat'; accepted: strata"),
        ("eln2@strata", "unknown method 'eln2'; accepted: el2n"),
        ("dual-beta@strata", "dual-beta is dual@beta already; accepted: dual@strata"),
        ("el2n@", "unknown sampler ''"),
    ],
)
def test_names_that_do_not_join_are_one_line(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve_method(name)


def test_a_cutoff_above_the_ratio_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"run: el2n@strata\.strata\.cutoff: 0\.6 is above the "
                       r"share that is pruned; accepted: 0 to 0\.5, or none"):  # fmt: skip
        build_spec(dataset="digits", method="el2n@strata", ratio=0.5,
                   params={"strata.cutoff": 0.6})  # fmt: skip


def test_a_third_party_registers_a_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REGISTERED, "_entries", dict(REGISTERED._entries))

    from prunebench import Card, Option, Scored, register_sampler

    @register_sampler("last", version=3)
    class Last(Sampler):
        options = {"skip": Option(0, "samples left out at the end", low=0)}
        card = Card("Last")
        skip: int

        def keep(self, scored: Scored, k: int, rng: Stream) -> tuple[Tensor, dict[str, Any]]:
            end = len(scored) - self.skip
            return torch.arange(end - k, end), {}

    assert sample("last", torch.zeros(9), 2, RNG, skip=1).tolist() == [6, 7]
    info = resolve_method("el2n@last")
    assert info.version == "1@3"
    assert [*info.options] == ["repeats", "last.skip"]
    with pytest.raises(UnknownName):
        METHODS.get("last")


def test_the_words_none_and_auto_leave_an_option_to_the_method() -> None:
    def cell(method: str, params: dict[str, Any] | None = None) -> str:
        return build_spec(dataset="digits", method=method, ratio=0.5, params=params).key

    plain = cell("el2n@strata")
    for word in ("none", "auto"):
        assert cell("el2n@strata", {"strata.cutoff": word}) == plain
        assert cell("el2n@balanced", {"balanced.side": word}) == cell("el2n@balanced")
    with pytest.raises(InputError, match="a number from 0 to 1 or none"):
        cell("el2n@strata", {"strata.cutoff": "some"})
    with pytest.raises(InputError, match="low, high, window or none"):
        cell("el2n@top", {"top.side": "left"})
    with pytest.raises(InputError, match="'auto' is not accepted"):
        cell("el2n@strata", {"strata.strata": "auto"})


def test_slips_of_an_author_are_named() -> None:
    with pytest.raises(InputError, match=r"Slip\.hard: unknown end 'top'; accepted: low, high"):
        type("Slip", (ScorePruner,), {"hard": "top"})

    class Column(ScorePruner):
        name = "column"

        def scores(self, evidence: Any) -> Tensor:
            return torch.zeros(len(evidence.labels), 1)

    class Bare(Sampler):
        name = "bare"

        def keep(self, scored: Any, k: int, rng: Stream) -> Any:
            return torch.arange(k)

    evidence: Any = SimpleNamespace(labels=torch.zeros(4, dtype=torch.int64))
    with pytest.raises(InputError, match=r"column: scores\(\) gave \(4, 1\); accepted: a tensor"):
        Column().keep(evidence, 2, Stream(0))
    Column.scores = lambda self, evidence: torch.zeros(4)  # type: ignore[method-assign]
    with pytest.raises(InputError, match=r"sampler bare: keep\(\) gave Tensor; accepted: a tuple"):
        Column().keep_by(Bare(), evidence, 2, Stream(0))
