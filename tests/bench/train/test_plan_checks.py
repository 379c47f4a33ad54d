"""What is wrong with a plan is found, and in one look at the device."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prunebench.bench.train.plan_checks import PlanError, check_indices


class Calls(TorchDispatchMode):
    """Names of the operators, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__.split(".")[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("indices", "problem"), [
    ([0, 5], "outside 0..4"), ([-1, 2], "outside 0..4"), ([2**40, 1], "outside 0..4"),
    ([3, 1, 3], "hold a sample twice"),
])  # fmt: skip
def test_positions_that_no_plan_may_have(indices, problem):
    with pytest.raises(PlanError, match=f"mine: indices {problem}"):
        check_indices(torch.tensor(indices), 5, "mine")


@pytest.mark.parametrize("n", [1, 400])
def test_a_sound_plan_costs_one_look_at_the_device(n):
    indices = torch.randperm(400)[:n]
    with Calls() as calls:
        check_indices(indices, 400, "mine")
        check_indices(indices[:0], 400, "mine")
    assert calls.names.count("stack") == 1  # which is read
    assert not {"_local_scalar_dense", "bincount", "nonzero"} & set(calls.names)
