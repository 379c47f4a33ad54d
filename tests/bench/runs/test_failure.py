"""Whose fault an error is: the method's, another plug-in's, or a library's below our own code."""

from __future__ import annotations

import pytest
import torch

from prunebench.bench.runs.failure import reason_of


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
