"""The file of a checkpoint: named parts in one safetensors file that proves itself.

Nothing is unpickled, and whatever does not fit its reader is one exception.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor
from torch.optim import Optimizer

from prunebench.bench.results.atomic import folder_errors
from prunebench.bench.results.names import STATE
from prunebench.errors import FolderError
from prunebench.files import OwnFolder

FILE = STATE
_META = "__meta__"
#: Tensors and JSON values by name, of every part by name.
Parts = Mapping[str, Mapping[str, Any]]


class DamagedCheckpoint(Exception):
    """A checkpoint that is torn, changed or of another run; it is set aside and redone."""


@dataclass(frozen=True)
class Content:
    """What a checkpoint holds.

    Attributes:
        tensors: By ``part/name``.
        entries: JSON values by name, as given to ``encode``; ``scalars`` are those of the parts.
    """

    tensors: Mapping[str, Tensor]
    entries: Mapping[str, Any]

    def part(self, name: str) -> dict[str, Any]:
        """The tensors and values of one part; empty where there is none."""
        prefix = f"{name}/"
        both: dict[str, Any] = {**self.tensors, **self.entries["scalars"]}
        return {k.removeprefix(prefix): v for k, v in both.items() if k.startswith(prefix)}


def encode(key: str, parts: Parts, entries: Mapping[str, Any]) -> bytes:
    """A state as the bytes of a checkpoint.

    Args:
        key: Whose.
        parts: The state.
        entries: JSON values beside it.
    """
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for part, values in parts.items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{part}/{name}"] = value.detach().cpu().clone().contiguous()
            else:
                scalars[f"{part}/{name}"] = value
    text = json.dumps({"key": key, **entries, "scalars": scalars}).encode()
    tensors[_META] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    body = save_tensors(tensors)
    return hashlib.sha256(body).digest() + body


def write(folder: Path, data: bytes) -> None:
    """Writes a checkpoint atomically.

    Args:
        folder: ``Store.checkpoint_path`` of the run.
        data: From ``encode``.

    Raises:
        FolderError: It cannot be written.
        InputError: A link is in the way.
    """
    with folder_errors(folder):
        OwnFolder(folder.parents[1]).write(folder / FILE, data)


def restore(folder: Path, key: str, load: Callable[[Content], None]) -> bool:
    """Reads a checkpoint, where there is one.

    Args:
        folder: As given to ``write``.
        key: Whose it must be.
        load: Takes its content in; whatever it raises says that the content does not fit.

    Returns:
        False where there is none.

    Raises:
        DamagedCheckpoint: It is torn, changed, or does not fit.
        FolderError: ``load`` cannot write to the results folder.
    """
    path = folder / FILE
    try:
        with os.fdopen(OwnFolder(folder.parents[1]).open(path, os.O_RDONLY), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        raise DamagedCheckpoint(f"{path}: digest mismatch")
    try:
        tensors = load_tensors(data[32:])
        meta = json.loads(bytes(tensors.pop(_META).numpy()))
        if meta["key"] != key:
            raise DamagedCheckpoint(f"{path}: belongs to {meta['key']}")
        load(Content(tensors, meta))
    except (DamagedCheckpoint, FolderError):
        raise
    except Exception as error:  # a forged state raises nearly everything
        raise DamagedCheckpoint(f"{path}: does not fit ({error})") from None
    return True


def optimizer_parts(optimizer: Optimizer) -> dict[str, Mapping[str, Any]]:
    """The state of an optimiser as parts, one for every tensor that has any."""
    return {
        f"optimizer{number}": {k: v for k, v in state.items() if v is not None}
        for number, state in optimizer.state_dict()["state"].items()
    }


def load_optimizer(optimizer: Optimizer, content: Content) -> None:
    """Restores the state of an optimiser.

    Raises:
        ValueError: A tensor of it has another shape than its parameter.
    """
    state = optimizer.state_dict()
    params = [p for group in optimizer.param_groups for p in group["params"]]
    parts = {number: content.part(f"optimizer{number}") for number in range(len(params))}
    state["state"] = {number: found for number, found in parts.items() if found}
    for number, moments in state["state"].items():
        for name, value in moments.items():
            # A fused step reads and writes as much memory as the parameter has, whatever is there.
            if value.shape != (() if name == "step" else params[number].shape):
                raise ValueError(f"{name} of another shape than its parameter")
    optimizer.load_state_dict(state)
