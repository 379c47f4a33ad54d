"""Which pruner a loop of one's own has: from a method's name, or from what was chosen before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunebench.bench.train.plan_checks import ConstantPlan, PlanError, check_subset
from prunebench.bench.train.static_choice import choose_subset
from prunebench.errors import InputError
from prunebench.methods.base import DynamicPruner, StaticPruner, Subset, kept_count
from prunebench.methods.compose import MethodInfo, resolve_method
from prunebench.rng import Streams

#: Of a recipe that every method can read.
_EPOCHS = 200


class NoEvidence:
    """What a static method may read where nothing was recorded.

    Args:
        ids: int64 [N].
        labels: int64 [N].
        num_classes: C.
    """

    def __init__(self, ids: Tensor, labels: Tensor, num_classes: int) -> None:
        self.ids, self.labels, self.num_classes = ids, labels, num_classes
        self.original_size = int(ids.max()) + 1


def pruner_of(
    method: Any, ratio: float | None, params: Mapping[str, Any], data: NoEvidence, streams: Streams
) -> tuple[DynamicPruner, float]:
    """The pruner and its ratio.

    Args:
        method: A method's name, or an object with ``indices`` and perhaps ``weights``.
        ratio: Share of the training to save; None for that of the method.
        params: Options of the method.
        data: Sample ids, labels and classes.
        streams: For static methods that draw.

    Raises:
        InputError: No such method or option, one that needs a scoring run, a ratio that is missing
            or outside 0 to 1, or indices or weights that are none.
    """
    if ratio is not None and not 0 <= ratio < 1:
        raise InputError(f"{ratio}", where="ratio", accepted="0 to 1, 1 left out")
    if not isinstance(method, str):
        plan = _given(method, len(data.ids))
        return plan, 1 - len(plan.indices) / len(data.ids) if ratio is None else ratio
    info = resolve_method(method)
    if ratio is None:
        if info.ratios != "zero":
            raise InputError(f"method {info.name!r} needs a ratio", where="ratio",
                             accepted="a share of training to save, such as 0.5")  # fmt: skip
        ratio = 0.0
    pruner = info.build(dict(params))
    if isinstance(pruner, StaticPruner):
        return _static(info, pruner, ratio, data, streams), ratio
    assert isinstance(pruner, DynamicPruner)
    if not pruner.needs_at(1, 1, ratio).empty:
        raise InputError(f"{info.name} reads a scoring run", where="method",
                         accepted="a method that needs none; the harness trains this one "
                         "(`prunebench run`)")  # fmt: skip
    return pruner, ratio


def held_losses(pruner: DynamicPruner, size: int, given: Any, selecting: bool) -> Tensor | None:
    """The losses under a holdout model that a method compares with, as float32 [N].

    Args:
        pruner: The method.
        size: N.
        given: What the user handed over, or None.
        selecting: Whether the method chooses anything.

    Raises:
        InputError: They are missing, no numbers [N], or the method reads none.
    """
    if given is None:
        if pruner.holdout_model and selecting:
            raise InputError(
                f"{pruner.name} compares with the losses of a model that never trained on the "
                "samples", where="irreducible",
                accepted=f"irreducible=, float [{size}]: irreducible_losses(model, train_set) of "
                "such a model",
            )  # fmt: skip
        return None
    if not pruner.holdout_model:
        raise InputError(f"{pruner.name} reads no losses of a holdout model", where="irreducible",
                         accepted="none, or a method such as rho-loss")  # fmt: skip
    try:
        losses = torch.as_tensor(given, dtype=torch.float32).detach()
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"a {type(given).__name__}", where="irreducible",
                         accepted=f"float [{size}]") from None  # fmt: skip
    if losses.shape != (size,) or bool(losses.isinf().any()):
        what = "infinite values" if losses.shape == (size,) else f"shape {tuple(losses.shape)}"
        raise InputError(what, where="irreducible",
                         accepted=f"float [{size}], NaN where a loss is not known")  # fmt: skip
    return losses


def _static(
    info: MethodInfo, pruner: StaticPruner, ratio: float, data: NoEvidence, streams: Streams
) -> DynamicPruner:
    if not pruner.needs(_EPOCHS, _EPOCHS // 8).empty or pruner.oracle:
        raise InputError(
            f"{info.name} chooses after a scoring run", where="method",
            accepted="what select() returns, in place of its name",
        )  # fmt: skip
    evidence: Any = data
    k, stream = kept_count(len(data.ids), ratio), streams.get(f"keep:{info.name}")
    subset, _ = choose_subset(pruner, evidence, k, stream, info.name)
    return ConstantPlan(info.name, subset.indices, subset.weights)


def _given(method: Any, size: int) -> ConstantPlan:
    """The samples, and perhaps the weights, of an object with ``indices``."""
    chosen, order = _indices(method, size).sort()
    name, weights = getattr(method, "method", "indices"), getattr(method, "weights", None)
    if weights is not None:
        weights = torch.as_tensor(weights, dtype=torch.float32)
        try:
            check_subset(Subset(chosen, weights=weights), len(chosen), size, name)
        except PlanError as error:
            raise InputError(
                str(error), where="method", accepted="weights >= 0, one for each of indices"
            ) from None
        weights = weights[order]
    return ConstantPlan(name, chosen, weights)


def _indices(method: Any, size: int) -> Tensor:
    """int64 [k], as they were given."""
    found = getattr(method, "indices", None)
    if found is None or callable(found):
        raise InputError(f"a {type(method).__name__}", where="method",
                         accepted="a method's name, or an object with indices")  # fmt: skip
    array = found.cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
        raise InputError(f"{array.dtype} of shape {array.shape}", where="method: indices",
                         accepted="whole numbers, one or more")  # fmt: skip
    numbers, times = np.unique(array, return_counts=True)
    if numbers[0] < 0 or numbers[-1] >= size:
        odd = numbers[0] if numbers[0] < 0 else numbers[-1]
        raise InputError(f"sample {odd}", where="method: indices", accepted=f"0 to {size - 1}")
    if times.max() > 1:
        raise InputError(f"sample {numbers[times.argmax()]} is there {times.max()} times",
                         where="method: indices", accepted="every sample once")  # fmt: skip
    return torch.from_numpy(array.astype(np.int64))
