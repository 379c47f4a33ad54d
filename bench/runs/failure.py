"""Why a cell failed, in one line that names the method and where in it.

Importing it needs no torch: every worker process does, before it has a job.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from prunebench.errors import InputError

if TYPE_CHECKING:
    from prunebench.bench.spec.run_spec import RunSpec

_OURS = (
    "prunebench.bench", "prunebench.datasets", "prunebench.methods.pruner",
    "prunebench.methods.compose",
)  # fmt: skip
_LIBRARIES = (
    "torch", "torchvision", "timm", "PIL", "numpy", "scipy", "sklearn", "safetensors",
)  # fmt: skip
_LIMIT = 300
#: What torch says under ``--deterministic`` of an operation.
_NO_FORM = " does not have a deterministic implementation"


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, of the host or of a device, is used up."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def not_deterministic(error: BaseException, spec: RunSpec) -> InputError | None:
    """What a run under ``--deterministic`` is refused for; None for any other exception.

    Args:
        error: Raised by an operation of the run's network, criterion or method.
        spec: The run.
    """
    operation, found, _ = str(error).partition(_NO_FORM)
    if not found or not isinstance(error, RuntimeError):
        return None
    parts = f"model {spec.recipe.model}, criterion {spec.criterion.name}, method {spec.method.name}"
    return InputError(
        f"the operation {operation.split()[-1]} has no deterministic form on a card",
        where=f"--deterministic, {parts}",
        accepted="a run all of whose operations have one (models cnn, mlp and resnet18 do), or no "
        "--deterministic",
    )


def reason_of(error: BaseException, method: str) -> str:
    """What the record says of an exception.

    Args:
        error: Caught with its traceback.
        method: Name of the cell's method.

    Returns:
        Type and message; then, where the method's own code (or that of another plug-in) raised
        it, the method and the function of it that was called.
    """
    what = "out of memory" if out_of_memory(error) else type(error).__name__
    text = " ".join(f"{what}: {error}".split())[:_LIMIT].rstrip(": ")
    hook = _hook(error)
    return f"{text} (method {method}, in {hook})" if hook else text


def _hook(error: BaseException) -> str:
    """The outermost function on the way to an error that is not ours; empty for none."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        ours = any(module == name or module.startswith(f"{name}.") for name in _OURS)
        if not ours and module.partition(".")[0] not in _LIBRARIES:
            return f"{frame.f_code.co_name}()"
    return ""
