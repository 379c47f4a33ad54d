"""Whose fault an error is: the method's, another plug-in's, or a library's below our own code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunebench.bench.networks.base import FeatureNet, flat_size, register_model
from prunebench.bench.runs.failure import not_deterministic, reason_of
from prunebench.errors import InputError
from support.cells import small_cell


def raised(source: str, module: str) -> BaseException:
    """An error raised by a function of a module of that name, called from here."""
    names = {"__name__": module}
    exec(compile(source, "made_up.py", "exec"), names)
    with pytest.raises(ValueError, match="no") as caught:
        names["act"]()
    # The frame of this test would count as another plug-in's.
    caught.value.__traceback__ = caught.value.__traceback__.tb_next
    return caught.value


ACT = "def act():\n    raise ValueError('no')\n"


@pytest.mark.parametrize("library", ["torch.nn", "torchvision.models.resnet", "timm.layers", "PIL"])
def test_an_error_inside_a_library_is_not_the_methods(library: str) -> None:
    assert reason_of(raised(ACT, library), "dual") == "ValueError: no"


@pytest.mark.parametrize("module", ["prunebench.methods.dual", "somebodys_method"])
def test_an_error_of_a_method_names_it_and_its_function(module: str) -> None:
    assert reason_of(raised(ACT, module), "dual") == "ValueError: no (method dual, in act())"


def test_a_torchvision_network_that_gets_the_wrong_shape() -> None:
    from torchvision.models import resnet18

    names = {"__name__": "prunebench.bench.train.step", "net": resnet18(), "x": torch.ones(1, 1)}
    exec("def act():\n    return net(x)\n", names)
    with pytest.raises(RuntimeError) as caught:
        names["act"]()
    caught.value.__traceback__ = caught.value.__traceback__.tb_next
    assert "method" not in reason_of(caught.value, "dual")


@register_model("failure-unpool")
def unpooling(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A network with an operation that has no deterministic form, on CPUs neither."""

    class Body(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            pooled, places = nn.functional.max_pool2d(x, 2, return_indices=True)
            return nn.functional.max_unpool2d(pooled, places, 2).flatten(1)

    return FeatureNet(Body(), flat_size(shape), num_classes)


def test_a_network_that_cannot_be_deterministic_is_refused_by_one_line(run: Any) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(InputError) as caught:
            run("full", recipe_params={"model": "failure-unpool", "model_params": {}, "epochs": 1})
    finally:
        torch.use_deterministic_algorithms(False)
    assert caught.value.what.startswith("the operation max_unpooling2d_forward")
    assert "model failure-unpool" in caught.value.where
    assert "no --deterministic" in caught.value.accepted
    assert "\n" not in str(caught.value)


def test_other_errors_of_torch_are_failures_as_before() -> None:
    spec = small_cell().spec
    assert not_deterministic(RuntimeError("CUDA error"), spec) is None
    assert (
        not_deterministic(ValueError("x does not have a deterministic implementation"), spec)
        is None
    )
