"""`prunebench methods`: filters, samplers, near names."""

import pytest
import torch

from prunebench.bench.checks.reads import NEEDS, needs_of
from prunebench.methods.base import Card, EvidenceSpec, StaticPruner
from prunebench.methods.compose import MethodInfo, list_methods, resolve_method
from support.command import prunebench


def names(*words):
    said = prunebench("methods", "--json", *words)
    assert said.code == 0, said.err
    return {card["name"] for card in said.json}


def test_filters_by_kind_and_by_what_is_read():
    static = names("--kind", "static")
    features = names("--kind", "static", "--needs", "features")
    assert {"grand", "moderate", "ssp", "prune4rel"} <= features < static
    assert not features & {"small-loss", "margin", "el2n", "random", "aum"}
    assert {"aum", "ccs", "dual"} <= names("--needs", "signals") & names("--needs", "p_target")
    assert names("--needs", "runner_up") & {"aum", "dual"} == {"aum"}
    assert {"prune4rel"} <= names("--needs", "strong", "--needs", "features") <= features
    assert {"ies+align"} <= names("--kind", "dynamic", "--needs", "reference")
    assert {"random", "full", "random-batch"} <= names("--needs", "none")
    unscored = {"airbench-proxy", "random-batch"}
    assert {"divbs", "rho-loss"} <= names("--kind", "batch") - unscored == names("--needs", "batch")
    assert "airbench-proxy" in names("--needs", "p_target")
    assert {"repb", "infobatch+bls"} <= names("--needs", "batch_loss")
    assert {"kakurenbo"} == names("--needs", "confidence", "--kind", "dynamic")
    assert names("--needs", "holdout") == {"rho-loss"}
    assert {"rho-loss", "cld", "full+reference", "infobatch+reference"} <= names(
        "--needs", "reference"
    )
    assert names("--kind", "sampler") >= {"top", "window", "balanced", "strata", "beta"}


def test_features_are_those_that_a_method_reads():
    class Reads(StaticPruner):
        card = Card("Reads")
        view = "features"

        def needs(self, epochs, warmup):
            return EvidenceSpec(snapshots=(warmup,), reference=(warmup,))

        def keep(self, evidence, k, rng):
            getattr(evidence.snapshot(evidence.warmup), self.view)
            torch.rand(1)

    info = MethodInfo("reads", "1", Reads, {}, Reads.card)
    state = torch.random.get_rng_state()
    assert needs_of(info) == {"snapshot", "reference", "features"}
    assert torch.equal(state, torch.random.get_rng_state())
    Reads.view = "logits"
    assert needs_of(info) == {"snapshot", "reference", "logits"}
    assert needs_of(resolve_method("el2n@strata")) == {
        "snapshot", "logits", "signals", "p_target", "runner_up"
    }  # fmt: skip
    assert all(needs_of(one) <= NEEDS.keys() for one in (info, *list_methods()))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--needs", "feature"], "--needs: unknown need 'feature'; accepted: features"),
        (["--kind", "statics"], "--kind: unknown kind 'statics'; accepted: static"),
        (["--kind", "sampler", "--needs", "ssl"], "--needs: a sampler and --needs"),
        (["el2n", "--kind", "static"], "methods: names and filters; accepted: one of the two"),
        (["dynunc"], "unknown method 'dynunc'; accepted: dyn-unc"),
        (["stratta"], "unknown method 'stratta'; accepted: strata"),
        (["el2n@stratta"], "unknown sampler 'stratta'; accepted: strata"),
    ],
)
def test_bad_words_are_one_line_with_near_names(words, line):
    said = prunebench("methods", *words)
    assert said.code == 2
    assert said.err.startswith(f"prunebench: {line}")
    assert said.err.count("\n") == 1


def test_the_list_names_the_samplers_and_a_sampler_has_a_card():
    said = prunebench("methods")
    assert "Samplers (balanced, beta, strata, top, window)" in said.out
    said = prunebench("methods", "strata")
    assert "cutoff_by" in said.out
    assert "Coverage-centric" in said.out
