"""Every registered method trains without a value read back to the host in its step loop."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prunebench.bench.checks.population import simulate_population
from prunebench.bench.checks.simulate import prepare
from prunebench.bench.train.capture.pool import CapturedStepPool, use
from prunebench.bench.train.plan_checks import ConstantPlan
from prunebench.bench.train.step import run_to_end
from prunebench.methods.base import StaticPruner
from prunebench.methods.compose import resolve_method
from prunebench.registry import METHODS
from support.runs import make

READS = {"_local_scalar_dense", "item", "nonzero", "_unique2", "unique_dim", "masked_select",
         "equal", "is_nonzero"}  # fmt: skip
BASES = sorted(name for name in METHODS.names() if name != "scores")
NAMES = [*BASES, "infobatch+align", "seta+align", "ies+align"]


class Reads(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.steps = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        self.steps += name == "convolution_backward"
        if name in READS:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


STATIC = [n for n in BASES if issubclass(resolve_method(n).target, StaticPruner)]
MOVING = [n for n in NAMES if n not in STATIC]


@pytest.fixture(autouse=True)
def own_captures():
    before = use(CapturedStepPool())
    yield
    use(before)


def watched(run):
    run.acquire_captured_step()
    epoch = run.plan_epoch()
    with Reads() as reads:
        run_to_end(run.train_steps(epoch))
    return reads


@pytest.mark.parametrize("graph", ["auto", "rehearse"])
@pytest.mark.parametrize("method", MOVING)
def test_no_method_reads_back_within_an_epochs_steps(method, graph):
    run = make(method, graph=graph, recipe_params={"batch_size": 256})
    prepare(run.setup.pruner, simulate_population(len(run.sample_ids)), run.setup.clock.ratio)
    reads = watched(run)
    assert reads.steps >= 4
    assert reads.found == []


@pytest.mark.parametrize("graph", ["auto", "rehearse"])
def test_nor_does_the_subset_of_a_static_method(graph):
    assert len(STATIC) >= 10
    run = make("full", graph=graph, recipe_params={"batch_size": 128})
    # As a cell does for each of them: the subset is chosen before the run begins.
    subset = ConstantPlan(STATIC[0], torch.arange(0, len(run.sample_ids), 2))
    subset.view = run.setup.pruner.view
    object.__setattr__(run.setup, "pruner", subset)
    reads = watched(run)
    assert reads.steps >= 4
    assert reads.found == []
