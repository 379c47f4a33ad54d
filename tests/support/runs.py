"""Small trainers on digits, with the captured form rehearsed on the CPU unless asked otherwise."""

from collections import deque

import torch

from prunebench.bench.runs.cell import Cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.interleaved import InterleavedRuns
from prunebench.bench.train.setup import Callback, make_setup
from prunebench.bench.train.task import load_task
from prunebench.bench.train.trainer import Trainer
from prunebench.methods.compose import resolve_method
from support.cells import small_cell


def trainer_of(cell: Cell, wrap=lambda pruner: pruner, **parts) -> Trainer:
    """The trainer of a cell; parts of its setup may be given, and its pruner wrapped."""
    spec = cell.spec
    task = parts.pop("task", None) or load_task(spec, cell.data)
    pruner = wrap(resolve_method(spec.method.name).build(spec.method.params))
    parts = {"reference": task.reference, "irreducible": torch.zeros(len(task.train)), **parts}
    return Trainer(make_setup(spec, task, pruner, **parts))


class Hooks(Callback):
    """Calls functions of a test."""

    def __init__(self, epoch_end=lambda run: None, step_end=lambda run: None) -> None:
        self.epoch_end, self.step_end = epoch_end, step_end


def make(
    method="full",
    graph="rehearse",
    criterion="ce",
    model="cnn",
    device="cpu",
    callbacks=(),
    **fields,
) -> Trainer:
    execution = fields.pop("execution", {})
    held = fields.pop("irreducible_of", None)
    recipe = {"epochs": 4, "batch_size": 128, "model": model, "model_params": {},
              "eval_every": 2, **fields.pop("recipe_params", {})}  # fmt: skip
    if model == "cnn":
        recipe["model_params"] = recipe["model_params"] or {"width": 4, "depth": 2}
    cell = small_cell(method, criterion=criterion, recipe_params=recipe, **fields)
    how = ExecutionOptions(graph=graph, **execution)
    given = {} if held is None else {"irreducible": held}
    return trainer_of(
        cell, callbacks=callbacks, device=torch.device(device), execution=how, **given
    )


def everything(run: Trainer) -> dict[str, torch.Tensor]:
    state = {f"model.{k}": v for k, v in run.model.state_dict().items()}
    state |= {f"tables.{k}": v for k, v in run.sample_tables.state_dict().items()}
    state |= {f"criterion.{k}": v for k, v in run.criterion.state_dict().items()}
    return state | {"visits": run.kept_visits}


def same(a: Trainer, b: Trainer) -> bool:
    one, two = everything(a), everything(b)
    assert one.keys() == two.keys()
    differing = [k for k in one if not torch.equal(one[k].nan_to_num(-7), two[k].nan_to_num(-7))]
    assert not differing
    assert a.epoch_log == b.epoch_log
    assert a.ledger == b.ledger
    return True


def run_all(makers, device, count, note=lambda limit: None):
    """Runs everything interleaved, ``count`` runs at once; returns what each returned, in order.

    Where memory runs out, the run that met it is begun anew later, and from then on one run fewer
    is under way at once, of which ``note`` is told.
    """
    runs, limit = InterleavedRuns(device, count), count
    waiting, results = deque(range(len(makers))), {}
    try:
        while len(results) < len(makers):
            while waiting and len(runs.running) < limit:
                number = waiting.popleft()
                runs.add(number, makers[number]())
            ends = runs.step()
            for place, end in enumerate(ends):
                if end.error is None:
                    results[end.name] = end.value
                elif isinstance(end.error, torch.OutOfMemoryError) and limit > 1:
                    beside = len(runs.running) + len(ends) - place
                    limit = max(1, min(limit, beside) - 1)
                    waiting.append(end.name)
                    end.error.with_traceback(None)  # its frames hold tensors
                    runs.free()
                    note(limit)
                else:
                    raise end.error
    finally:
        runs.close()
    return [results[number] for number in range(len(makers))]
