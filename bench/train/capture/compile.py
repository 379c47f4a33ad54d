"""The network through the compiler on a CPU: the other fast path, taken only where it is asked for.

On a card the compiled network is part of the captured step; see ``capture.step``.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from prunebench.bench.inputs.view import Inputs
from prunebench.bench.train.capture.pool import compile_network, refusal
from prunebench.bench.train.capture.step import CapturableRun

Forward = Callable[[Tensor], Tensor]


def compiled(run: CapturableRun) -> tuple[Forward | None, str]:
    """The training pass of whole batches, compiled; one batch has gone through it, without trace.

    Args:
        run: Before its first step, or between two.

    Returns:
        The pass, or None with the reason why there is none.
    """
    size = run.setup.recipe.batch_size
    if not run.world.is_single:
        return None, "several processes share the run"
    if not isinstance(run.inputs, Inputs):
        return None, "images are streamed"
    if run.selecting:
        return None, "samples are chosen within batches"
    if len(run.sample_ids) < size:
        return None, "the training split is smaller than a batch"
    model = run.model
    before = [buffer.clone() for buffer in model.buffers()]
    model.train()
    try:
        network = compile_network(run)
        x = run.inputs.unaugmented(run.sample_ids[:size])
        with run.autocast():
            total = network(x).float().sum()
        total.backward()  # type: ignore[no-untyped-call]
    except (RuntimeError, ImportError) as error:  # no compiler on this machine, say
        return None, refusal("compiled", error)
    finally:
        run.optimizer.zero_grad(set_to_none=True)
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)
    return network, ""
