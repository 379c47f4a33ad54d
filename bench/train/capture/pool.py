"""Which runs are captured, and which captured step serves which run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from prunebench.bench.inputs.streaming import Source
from prunebench.bench.inputs.view import Inputs
from prunebench.bench.networks.build import builder_of
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.budget import selected_counts
from prunebench.bench.train.capture.graph import Capture, CudaCapture, Rehearsal
from prunebench.bench.train.capture.step import CapturableRun, CapturedStep
from prunebench.bench.train.device_optimizers import OnDevice, has_momentum
from prunebench.methods.base import BatchPruner
from prunebench.record import canonical

_FIELDS = ("model", "model_params", "optimizer", "weight_decay", "nesterov", "batch_size",
           "precision", "compat", "train")  # fmt: skip


class CapturedStepPool:
    """Captured steps that wait for the next run of their shape.

    Args:
        keep: How many; each holds a network, its activations and its optimiser's state.
    """

    def __init__(self, keep: int = 2) -> None:
        self.keep = keep
        self._idle: OrderedDict[str, CapturedStep] = OrderedDict()
        #: Steps recorded and steps taken over, for reports.
        self.recorded = self.reused = 0

    def take(self, key: str) -> CapturedStep | None:
        """A step of this shape, which nobody else then gets; None where there is none."""
        step = self._idle.pop(key, None)
        if step is not None:
            step.owner = self
        return step

    def give(self, step: CapturedStep) -> None:
        """Keeps a step for the next run; the one that waited longest is dropped for it."""
        same = self._idle.pop(step.key, None)
        if same is not None:
            same.drop()
        self._idle[step.key] = step
        while len(self._idle) > self.keep:
            self._idle.popitem(last=False)[1].drop()

    def clear(self) -> None:
        """Frees all that wait, at once."""
        while self._idle:
            self._idle.popitem()[1].drop()


class _State:
    captures = CapturedStepPool()


def current() -> CapturedStepPool:
    """The captured steps of this process, or of the interleaved run that makes a step."""
    return _State.captures


def use(captures: CapturedStepPool) -> CapturedStepPool:
    """Makes others the current ones; returns those before."""
    before, _State.captures = _State.captures, captures
    return before


def never_captured_because(execution: ExecutionOptions, inputs: Source, model: str) -> str:
    """What keeps the steps of any training from being captured: options, data or network.

    Args:
        execution: How steps are run.
        inputs: The training samples.
        model: Name of the network.

    Returns:
        The reason; empty for none.
    """
    if execution.graph == "off":
        return "switched off"
    if not isinstance(inputs, Inputs):
        return "images are streamed"
    if not getattr(builder_of(model), "capturable", True):
        return f"the model {model} says that it cannot be"
    return ""


def not_captured_because(run: CapturableRun) -> str:
    """Why a run's steps are launched one operation at a time; empty where they are captured."""
    setup, recipe = run.setup, run.setup.recipe
    reason = never_captured_because(setup.execution, run.inputs, recipe.model)
    if reason:
        return reason
    if not run.world.is_single:
        return "several processes share the run"
    if len(run.sample_ids) < recipe.batch_size:
        return "the training split is smaller than a batch"
    if not isinstance(run.optimizer, OnDevice):
        return "the optimiser keeps its rates on the host"
    if run.selecting and (not isinstance(setup.pruner, BatchPruner) or setup.pruner.draws is None):
        return f"{setup.pruner.name} chooses samples on the host"
    if not run.criterion.capturable:
        return f"the criterion {type(run.criterion).__name__} does not declare that it can be"
    return ""


def kept_of(run: CapturableRun) -> int | None:
    """Samples trained of every whole batch, for batch-level methods."""
    if not run.selecting:
        return None
    size = run.setup.recipe.batch_size
    return selected_counts([(0, size)], run.setup.clock.ratio, None)[0][2]


def capture_key(run: CapturableRun) -> str:
    """Everything that a captured step depends on beyond the values in its buffers and state."""
    setup, recipe, criterion = run.setup, run.setup.recipe, run.criterion
    kept = kept_of(run)
    return canonical(
        {
            "device": str(setup.device),
            "inputs": id(run.inputs),  # the step holds them, so the number stays theirs
            "samples": len(run.sample_ids),
            "outputs": [list(p.shape) for p in run.model.parameters()][-1],
            "recipe": {name: recipe.model_dump(mode="json").get(name) for name in _FIELDS},
            "momentum": has_momentum(recipe),
            "criterion": [type(criterion).__module__, type(criterion).__qualname__,
                          criterion.params],
            "tables": sorted(run.sample_tables.floats()),
            "method": None if kept is None else [setup.pruner.name, setup.pruner.params, kept],
            "compiled": setup.execution.compile,
            "deterministic": setup.execution.deterministic,
            "rehearsed": setup.execution.graph == "rehearse",
        }
    )  # fmt: skip


def acquire_captured_step(run: CapturableRun) -> tuple[CapturedStep | None, str]:
    """The captured step of a run, from an earlier run of its shape or recorded now.

    Returns:
        The step, or None with the reason.

    Raises:
        torch.OutOfMemoryError: There is no room for the capture.
    """
    reason = not_captured_because(run)
    if reason:
        return None, reason
    captures, key = current(), capture_key(run)
    step = captures.take(key)
    if step is not None:
        if step.bind(run):
            captures.reused += 1
            return step, ""
        step.drop()
    step, reason = _record(run)
    if step is not None:
        captures.recorded += 1
        step.key, step.owner = key, captures
    return step, reason


def _record(run: CapturableRun) -> tuple[CapturedStep | None, str]:
    execution, reason = run.setup.execution, ""
    for compiled in (True, False) if execution.compile else (False,):
        rehearsed = execution.graph == "rehearse"
        capture: Capture = Rehearsal() if rehearsed else CudaCapture(run.setup.device)
        network = compile_network(run) if compiled else run.model
        try:
            return CapturedStep(run, capture, kept_of(run), network), reason
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ImportError) as error:  # the latter without a compiler
            reason = refusal("compiled and captured" if compiled else "captured", error)
    return None, reason


def refusal(what: str, error: Exception) -> str:
    """The reason that a failed attempt leaves in the record."""
    line = " ".join(str(error).split())[:160]
    return f"could not be {what}: {type(error).__name__}: {line}"


def compile_network(run: CapturableRun) -> Callable[[Tensor], Tensor]:
    """The network's training pass through the compiler, for one batch size."""
    return cast(Callable[[Tensor], Tensor], torch.compile(run.model, dynamic=False))
