"""Small trainers on digits, with the captured form rehearsed on the CPU unless asked otherwise."""

import torch

from prunebench.bench.train.budget import Clock
from prunebench.bench.train.setup import Execution, Setup
from prunebench.bench.train.task import load_task, streams_of
from prunebench.bench.train.trainer import Trainer
from prunebench.methods.compose import resolve_method
from prunebench.registry import CRITERIA
from support.cells import small_cell


def make(
    method="full", graph="rehearse", criterion="ce", model="cnn", device="cpu", **fields
) -> Trainer:
    execution = fields.pop("execution", {})
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
        task, spec.recipe, pruner, loss, streams_of(spec), clock, torch.device(device),
        reference=task.reference, execution=Execution(graph=graph, **execution),
    )  # fmt: skip
    return Trainer(setup)


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
