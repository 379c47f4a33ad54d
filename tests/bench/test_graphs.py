"""The captured step, rehearsed on the CPU: same results, fixed addresses, nothing read back."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prunebench.bench import captures
from prunebench.bench.budget import Clock
from prunebench.bench.captures import Captures
from prunebench.bench.tasks import load_task, streams_of
from prunebench.bench.trainer import Trainer
from prunebench.bench.training import Execution, Setup
from prunebench.methods.compose import resolve_method
from prunebench.registry import CRITERIA
from support.cells import small_cell

METHODS = ["full", "random-dynamic", "infobatch", "seta", "ies", "divbs", "infobatch+align"]
#: Operators that hand a value to the host, or whose result's size depends on values.
READS = {"_local_scalar_dense", "item", "nonzero", "_unique2", "masked_select", "equal"}


@pytest.fixture(autouse=True)
def own_captures():
    before = captures.use(Captures())
    yield captures.current()
    captures.use(before)


class Ops(TorchDispatchMode):
    """Counts operators, and notes those that read back."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen[func.__name__.split(".")[0]] += 1
        return func(*args, **(kwargs or {}))

    @property
    def reads(self) -> dict[str, int]:
        return {name: n for name, n in self.seen.items() if name in READS}


def make(method="full", graph="rehearse", criterion="ce", model="cnn", **fields) -> Trainer:
    recipe = {"epochs": 4, "batch_size": 128, "model": model, "model_params": {},
              "eval_every": 2, **fields.pop("recipe_params", {})}  # fmt: skip
    if model == "cnn":
        recipe["model_params"] = recipe["model_params"] or {"width": 4, "depth": 2}
    cell = small_cell(method, criterion=criterion, recipe_params=recipe, **fields)
    spec = cell.spec
    task = load_task(spec, cell.data)
    pruner = resolve_method(spec.method.name).build(spec.method.params)
    clock = Clock(len(task.train), spec.recipe.epochs, spec.ratio, spec.budget)
    loss = CRITERIA.get(spec.criterion.name).target(
        **{k: v or 0.0 if k == "smoothing" else v for k, v in spec.criterion.params.items()}
    )
    setup = Setup(
        task, spec.recipe, pruner, loss, streams_of(spec), clock, torch.device("cpu"),
        reference=task.reference, execution=Execution(graph=graph),
    )  # fmt: skip
    return Trainer(setup)


def launched(method="full", **fields) -> Trainer:
    """The same state and optimiser, every operation launched: a method that is never captured."""
    run = make(method, **fields)
    run.turns = lambda after=lambda _: None: run._epochs(after)
    return run


def everything(run: Trainer) -> dict[str, torch.Tensor]:
    state = {f"model.{k}": v for k, v in run.model.state_dict().items()}
    state |= {f"tables.{k}": v for k, v in run.tables.state_dict().items()}
    state |= {f"criterion.{k}": v for k, v in run.criterion.state_dict().items()}
    return state | {"visits": run.kept_visits}


def same(a: Trainer, b: Trainer) -> bool:
    one, two = everything(a), everything(b)
    assert one.keys() == two.keys()
    differing = [k for k in one if not torch.equal(one[k].nan_to_num(-7), two[k].nan_to_num(-7))]
    assert not differing
    assert a.table == b.table
    assert a.ledger == b.ledger
    return True


@pytest.mark.parametrize("method", METHODS)
def test_captured_form_gives_the_bits_of_the_launched_one(method):
    replayed, eager = make(method), launched(method)
    replayed.fit()
    eager.fit()
    assert replayed.graph is not None
    assert replayed.why_eager == ""
    assert replayed.graph.capture.replays > 0
    assert same(replayed, eager)


@pytest.mark.parametrize("optimizer", ["sgd", "lars", "adam"])
def test_captured_form_follows_the_plain_cpu_path(optimizer):
    recipe = {"optimizer": optimizer, "lr": 0.01, "epochs": 2}
    replayed, plain = make("infobatch", recipe_params=recipe), make(
        "infobatch", graph="auto", recipe_params=recipe)  # fmt: skip
    replayed.fit()
    plain.fit()
    assert plain.graph is None
    for p, q in zip(replayed.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("criterion", ["sop", "sop+"])
def test_criteria_with_parameters_of_their_own_are_replayed(criterion):
    replayed, eager = make("infobatch", criterion=criterion), launched(
        "infobatch", criterion=criterion)  # fmt: skip
    replayed.fit()
    eager.fit()
    assert replayed.graph is not None
    assert same(replayed, eager)
