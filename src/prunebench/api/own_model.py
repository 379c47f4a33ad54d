"""Networks of one's own: a callable becomes a registered network whose source is in its name."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import nn

from prunebench.bench.networks.base import FeatureNet
from prunebench.errors import InputError, error_line
from prunebench.registry import MODELS

Model = Callable[[int, tuple[int, ...]], nn.Module]

_PLUGIN = '''"""Registers a network of somebody's own in a worker process; written by prunebench."""

import sys

from prunebench.api.own_model import register_imported

sys.path.extend(path for path in {paths!r} if path not in sys.path)
register_imported({module!r}, {name!r}, {head!r}, {registered!r})
'''


class OwnModel:
    """A network of one's own.

    Args:
        build: ``(num_classes, in_shape) -> nn.Module`` that gives logits [B, C].
        head: Dotted name of the last linear layer; found by itself where the network ends in one.

    Raises:
        InputError: It is no function of two arguments.

    Attributes:
        name: Its registered name: that of the callable and 12 hex digits over its source.
        alone: Why other processes cannot import it; empty where they can.
    """

    def __init__(self, build: Model, head: str | None = None) -> None:
        if not callable(build):
            raise InputError(f"a {type(build).__name__}", where="model",
                             accepted="a registered name, or a function (num_classes, in_shape) "
                             "that returns a torch Module")  # fmt: skip
        self.build, self.head = build, head
        plain = re.sub(r"[^a-z0-9_]+", "-", getattr(build, "__name__", "model").lower()).strip("-")
        self.name = f"own-{plain or 'model'}-{_digest(build)[:12]}"
        self.alone = _not_importable(build)
        register(self.build, self.head, self.name)

    def plugin(self, folder: Path) -> Path:
        """Writes the file with which worker processes register the network.

        Raises:
            InputError: They cannot import it; the line says why.
        """
        if self.alone:
            raise InputError(
                f"the network {self.name!r} {self.alone}", where="workers",
                accepted="workers=1 and the local executor, or a function in a module of its own",
            )  # fmt: skip
        path = folder / "plugins" / f"{self.name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            _PLUGIN.format(
                paths=[entry for entry in sys.path if entry], module=self.build.__module__,
                name=self.build.__qualname__, head=self.head, registered=self.name,
            ),
            encoding="utf-8",
        )  # fmt: skip
        return path


def register(build: Model, head: str | None, name: str) -> None:
    """Registers a callable under a name, once."""
    if name in MODELS.names():
        return

    def builder(shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return adapted(build(num_classes, shape), shape, num_classes, head)

    builder.__module__ = getattr(build, "__module__", None) or "?"
    MODELS.register(name)(builder)


def register_imported(module: str, name: str, head: str | None, registered: str) -> None:
    """In a worker process: registers a callable that it imports.

    Raises:
        InputError: Its source is not that of the run.
    """
    target: Any = importlib.import_module(module)
    for part in name.split("."):
        target = getattr(target, part)
    if not registered.endswith(_digest(target)[:12]):
        raise InputError(f"{module}.{name} has changed", where="model",
                         accepted="the source that the run was started with")  # fmt: skip
    register(target, head, registered)


def adapted(
    net: Any, shape: tuple[int, ...], num_classes: int, head: str | None = None
) -> nn.Module:
    """A network with ``features`` and ``head``.

    Args:
        net: Gives logits.
        shape: Of one sample.
        num_classes: C.
        head: Name of its last linear layer; None to find it.

    Raises:
        InputError: It is no Module, cannot read such samples, gives no [B, C] logits, or does not
            end in a linear layer.
    """
    if not isinstance(net, nn.Module):
        raise InputError(f"the function returned a {type(net).__name__}", where="model",
                         accepted="a torch Module")  # fmt: skip
    if callable(getattr(net, "features", None)) and callable(getattr(net, "head", None)):
        return net
    linear = [name for name, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    path = head if head is not None else (linear[-1] if linear else "")
    if not path:
        raise InputError("the network has no linear layer", where="model",
                         accepted="a network that ends in nn.Linear, or one with features(x) and "
                         "head(f)")  # fmt: skip
    try:
        known = net.get_submodule(path)
    except AttributeError:
        known = None
    if not isinstance(known, nn.Linear) or not path:
        raise InputError(f"no linear layer {path!r}", where="model: head",
                         accepted=", ".join(linear) or "the network has none")  # fmt: skip
    x = torch.rand((2, *shape), device=known.weight.device)
    whole = _logits(net, x, num_classes)
    split = FeatureNet.around(net, path)
    if x.device.type != "meta" and not _equal(whole, split, x):
        raise InputError(
            f"the network does not end in its linear layer {path!r}", where="model",
            accepted='head="NAME" of the layer that gives the logits, or features(x) and '
            "head(f)",
        )  # fmt: skip
    return split


def _logits(net: nn.Module, x: torch.Tensor, num_classes: int) -> torch.Tensor:
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            out = net(x)
    except Exception as error:
        raise InputError(
            f"the network cannot read samples of shape {tuple(x.shape[1:])} ({error_line(error)})",
            where="model", accepted="a network for the shape that its function is given",
        ) from None  # fmt: skip
    finally:
        net.train(training)
    if not isinstance(out, torch.Tensor) or out.shape != (len(x), num_classes):
        found = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise InputError(f"the network gives {found} for {len(x)} samples", where="model",
                         accepted=f"logits [{len(x)}, {num_classes}]")  # fmt: skip
    return out


def _equal(whole: torch.Tensor, split: nn.Module, x: torch.Tensor) -> bool:
    """Whether a network gives the same logits once its linear layer is applied last."""
    try:
        again = _logits(split, x, whole.shape[1])
    except InputError:
        return False
    return torch.allclose(whole, again, rtol=1e-3, atol=1e-5)


def _digest(build: Any) -> str:
    """Hex digest of the callable's source file, or of its code and constants where it has none."""
    file = None
    with contextlib.suppress(TypeError):  # an object with __call__
        file = inspect.getsourcefile(build)
    text = f"{getattr(build, '__module__', '')}.{getattr(build, '__qualname__', '')}\n"
    if file is not None and Path(file).is_file():
        return hashlib.sha256(text.encode() + Path(file).read_bytes()).hexdigest()
    code = getattr(build, "__code__", None) or getattr(type(build).__call__, "__code__", None)
    if code is None:
        raise InputError("its source cannot be found", where="model",
                         accepted="a Python function")  # fmt: skip
    return hashlib.sha256(repr(_parts(code)).encode()).hexdigest()


def _parts(code: CodeType) -> list[Any]:
    constants = [_parts(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), constants, code.co_names]


def _not_importable(build: Any) -> str:
    module, name = getattr(build, "__module__", None), getattr(build, "__qualname__", "")
    if not module or module == "__main__":
        return "comes from a notebook, a script or standard input"
    if "<" in name:
        return "is a lambda or a function inside another"
    target: Any = sys.modules.get(module)
    for part in name.split("."):
        target = getattr(target, part, None)
    if target is not build or PathFinder.find_spec(module.partition(".")[0]) is None:
        return f"cannot be imported from {module}"
    return ""
