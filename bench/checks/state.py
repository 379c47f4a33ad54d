"""A pruner's state on its way through a checkpoint: tensors in safetensors, the rest in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from prunebench.bench.checks.report import Breach


def through_storage(state: Mapping[str, Any]) -> dict[str, Tensor | int | float | str]:
    """What a checkpoint gives back for a state.

    Raises:
        Breach: A value is neither a tensor nor a number nor text.
    """
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, Tensor):
            tensors[name] = value.detach().cpu().clone().contiguous()
        elif isinstance(value, int | float | str):
            scalars[name] = value
        else:
            raise Breach(
                f"state_dict()[{name!r}] is a {type(value).__name__}; "
                "a checkpoint holds tensors, numbers and text"
            )
    return {**load(save(tensors)), **json.loads(json.dumps(scalars))}
