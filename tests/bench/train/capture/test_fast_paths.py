"""What fast paths may move: nothing where they are off, rounding where they are on."""

import pytest
import torch

from prunebench.bench.runs.artifacts import artifacts
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.capture import pool
from prunebench.bench.train.capture.pool import CapturedStepPool
from support.runs import make, same

METHODS = ["full", "infobatch", "seta", "divbs", "infobatch+align"]


@pytest.fixture(autouse=True)
def _own_captures():
    before = pool.use(CapturedStepPool())
    yield
    pool.use(before)


def trained(method, **fields):
    run = make(method, **fields)
    run.fit()
    return run


@pytest.mark.parametrize("method", METHODS)
def test_on_a_cpu_results_have_the_same_bits_whatever_is_asked_for(method):
    usual = trained(method, graph="auto")
    assert usual.captured_step is None
    off = trained(method, graph="off", execution={"compile": True, "deterministic": True})
    assert off.captured_step is None
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


@pytest.fixture
def traced(monkeypatch):
    """A compiler that traces the network and launches what it traced: same bits, in seconds."""
    compiled = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda model, **options: compiled(model, backend="eager", **options)
    )


def test_a_cpu_takes_the_compiled_network_for_whole_batches(traced):
    through, calls = make("infobatch", graph="auto", execution={"compile": True}), []
    through.acquire_captured_step()
    assert through.not_captured_because == ""
    network = through.network
    through.network = lambda x: calls.append(len(x)) or network(x)
    through.fit()
    size = through.setup.recipe.batch_size
    assert calls
    assert set(calls) == {size}
    assert same(through, trained("infobatch", graph="auto"))


@pytest.mark.parametrize(
    ("method", "fields", "reason"),
    [
        ("divbs", {}, "chosen within batches"),
        ("full", {"recipe_params": {"batch_size": 4096}}, "smaller than a batch"),
    ],
)
def test_what_is_not_compiled_says_why_and_trains(method, fields, reason, traced):
    run = trained(method, graph="auto", execution={"compile": True}, **fields)
    assert run.network is None
    assert reason in run.not_captured_because
    assert run.ledger.trained == run.ledger.target


def test_a_compiler_that_fails_is_named_and_leaves_no_trace(monkeypatch):
    def broken(model, **options):
        def call(x):
            model(x)
            raise RuntimeError("no C++ compiler found")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    run = trained("full", graph="auto", execution={"compile": True})
    assert run.not_captured_because == "could not be compiled: RuntimeError: no C++ compiler found"
    monkeypatch.undo()
    assert same(run, trained("full", graph="auto"))


@pytest.mark.parametrize("error", [RuntimeError, ImportError])
def test_where_the_compiler_fails_the_step_is_captured_without_it(monkeypatch, error):
    def broken(model, **options):
        def call(x):
            raise error("no Triton")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    run = make("full", execution={"compile": True})
    run.acquire_captured_step()
    assert run.captured_step is not None
    said = f"could not be compiled and captured: {error.__name__}: no Triton"
    assert run.not_captured_because == said


def test_the_record_of_a_compiled_run_says_so(traced, run):
    record, _ = run("full", options=ExecutionOptions(compile=True))
    assert record.status == "done"
    assert record.info["steps"] == "compiled"
    plain, _ = run("full", folder="b")
    assert plain.key == record.key
    assert "steps" not in plain.info


def test_a_compiled_network_trains_in_the_captured_form(traced):
    through = trained("infobatch", execution={"compile": True})
    assert through.captured_step is not None
    assert through.not_captured_because == ""
    assert same(through, trained("infobatch"))
