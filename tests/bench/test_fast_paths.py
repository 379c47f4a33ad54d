"""What fast paths may move: nothing where they are off, rounding where they are on."""

import pytest
import torch

from prunebench.bench import captures
from prunebench.bench.captures import Captures
from prunebench.bench.outputs import artifacts
from support.runs import make, same

METHODS = ["full", "infobatch", "seta", "divbs", "infobatch+align"]


@pytest.fixture(autouse=True)
def _own_captures():
    before = captures.use(Captures())
    yield
    captures.use(before)


def trained(method, **fields):
    run = make(method, **fields)
    run.fit()
    return run


@pytest.mark.parametrize("method", METHODS)
def test_on_a_cpu_results_have_the_same_bits_whatever_is_asked_for(method):
    usual = trained(method, graph="auto")
    assert usual.graph is None
    off = trained(method, graph="off", execution={"compile": True, "deterministic": True})
    assert off.graph is None
    assert same(usual, off)
    files = [artifacts(run, run.test_logits().argmax(1), None) for run in (usual, off)]
    assert files[0] == files[1]


def test_the_captured_form_stays_within_the_noise_of_seeds():
    def accuracy(graph, seed):
        run = trained("infobatch", graph=graph, seed=seed, recipe_params={"epochs": 12})
        return run.test_accuracy()

    plain = [accuracy("off", seed) for seed in range(4)]
    captured = [accuracy("rehearse", seed) for seed in range(4)]
    spread = max(plain) - min(plain)
    for a, b in zip(plain, captured, strict=True):
        assert abs(a - b) <= max(spread, 0.02)


def test_a_compiled_network_trains_in_the_captured_form(monkeypatch):
    compiled = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda model, **options: compiled(model, backend="eager", **options)
    )
    through = trained("infobatch", execution={"compile": True})
    assert through.graph is not None
    assert through.why_eager == ""
    assert same(through, trained("infobatch"))
