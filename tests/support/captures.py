"""Captured steps, rehearsed on the CPU, and what they are compared with."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prunebench.bench.train.capture import pool
from prunebench.bench.train.epoch_steps import lay_out
from prunebench.bench.train.setup import Epoch
from prunebench.bench.train.trainer import Trainer
from prunebench.methods.base import Plan
from support.runs import make

#: Operators that hand a value to the host, or whose result's size depends on values.
READS = {"_local_scalar_dense", "item", "nonzero", "_unique2", "masked_select", "equal"}


class Ops(TorchDispatchMode):
    """Counts operators, and notes those that read back."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # else torch imports the compiler

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen[func.__name__.split(".")[0]] += 1
        return func(*args, **(kwargs or {}))

    @property
    def reads(self) -> dict[str, int]:
        return {name: n for name, n in self.seen.items() if name in READS}


def launched(method="full", **fields) -> Trainer:
    """The same state and optimiser, every operation launched: a method that is never captured."""
    run = make(method, **fields)
    run.acquire_captured_step = lambda: None
    return run


def armed(method="full", **fields) -> Trainer:
    """A run at its first epoch's first step, the epoch in its buffers."""
    run = make(method, **fields)
    run.captured_step, reason = pool.acquire_captured_step(run)
    assert reason == ""
    plan = Plan(torch.arange(len(run.sample_ids)), torch.ones(len(run.sample_ids)))
    run.model.train()
    assert run.captured_step.load(lay_out(run, Epoch(plan, 0)), run.stream, 0) > 3
    return run
