"""What is wrong with a plan is found, and in one look at the device."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prunebench.bench.train.plan_checks import (
    ConstantPlan,
    PlanError,
    check_indices,
    check_plan,
    check_subset,
)
from prunebench.methods.base import Subset, TrainView


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


@pytest.mark.parametrize(("weights", "problem"), [
    (torch.ones(3), r"weights of shape \(3,\) for 2"), (torch.tensor([1.0, -1.0]), "not negative"),
    (torch.tensor([1.0, float("nan")]), "finite"), (torch.zeros(2), "all weights are 0"),
    (torch.ones(2).double(), "a float32 vector"), ([1.0, 1.0], "a float32 vector"),
])  # fmt: skip
def test_weights_that_no_subset_may_have(weights, problem):
    with pytest.raises(PlanError, match=f"mine: .*{problem}"):
        check_subset(Subset(torch.tensor([4, 1]), weights=weights), 2, 5, "mine")


def test_weights_of_a_subset_are_scaled_to_mean_1():
    weights = torch.tensor([3.0, 0.0, 1.0, 12.0])
    check_subset(Subset(torch.tensor([4, 1, 0, 2]), weights=weights), 4, 5, "mine")
    plan = ConstantPlan("mine", torch.tensor([4, 1, 0, 2]), weights)
    plan.begin(TrainView(5, 2, torch.zeros(5), 2, 0.2, torch.device("cpu")))
    made = plan.plan(None, None, None)
    check_plan(made, 5, "mine")
    assert made.weights.tolist() == [0.75, 0.0, 0.25, 3.0]
    assert ConstantPlan("mine", torch.tensor([4])).weights is None
