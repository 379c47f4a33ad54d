"""How many operations a captured step of the paper's network takes; each is a kernel or more."""

import pytest

from prunebench.bench.train.capture import pool
from prunebench.bench.train.capture.pool import CapturedStepPool
from support.captures import Ops, armed

#: Operations that start no kernel.
FREE = {"alias", "as_strided", "detach", "empty", "expand", "lift_fresh", "permute", "select",
        "slice", "split", "squeeze", "t", "transpose", "unbind", "unsqueeze", "view",
        "_record_function_enter_new", "_record_function_exit", "_unsafe_view",
        "_reshape_alias"}  # fmt: skip
PAPER = {"model": "resnet18", "model_params": {"width": 8}, "batch_size": 8, "precision": "bf16",
         "augment": "crop_flip"}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_captures():
    before = pool.use(CapturedStepPool())
    yield
    pool.use(before)


def calls(method: str, **recipe) -> int:
    run = armed(method, recipe_params={**PAPER, **recipe})
    run.captured_step.step()
    with Ops() as ops:
        run.captured_step.step()
    return sum(n for name, n in ops.seen.items() if name not in FREE)


# Counted with torch 2.15: 171, 159, 283; other versions may split an operation differently.
@pytest.mark.parametrize(
    ("method", "optimizer", "most"),
    [("infobatch", "lars", 190), ("infobatch", "sgd", 180), ("divbs", "lars", 320)],
)
def test_operations_of_a_captured_step(method, optimizer, most):
    """20 convolutions, 20 normalisations and 17 ReLUs forward and backward are 114 of them."""
    assert 114 < calls(method, optimizer=optimizer) <= most
