"""Built-in networks. Every network splits into ``features(x)`` and ``head(f)``."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from prunebench.bench.recipe import Recipe, Scalar
from prunebench.errors import InputError
from prunebench.registry import MODELS
from prunebench.rng import Stream


class Network(Protocol):
    """What the trainer and the pruners need of a network."""

    def features(self, x: Tensor) -> Tensor:
        """float [B, D]: input of the last linear layer."""

    def head(self, f: Tensor) -> Tensor:
        """float [B, C] logits."""


Builder = Callable[..., nn.Module]


def register_model(name: str, *, version: int = 1) -> Callable[[Builder], Builder]:
    """Registers a builder ``(shape, num_classes, **params) -> Module`` with features and head."""
    return MODELS.register(name, version=version)


class FeatureNet(nn.Module):
    """A body that ends in a vector, and a linear head."""

    def __init__(self, body: nn.Module, width: int, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.fc = nn.Linear(width, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """float [B, width]."""
        return cast(Tensor, self.body(x))

    def head(self, f: Tensor) -> Tensor:
        """float [B, C]."""
        return cast(Tensor, self.fc(f))

    def forward(self, x: Tensor) -> Tensor:
        """Logits float [B, C]."""
        return self.head(self.features(x))


@register_model("cnn")
def cnn(shape: tuple[int, ...], num_classes: int, *, width: int = 16, depth: int = 2) -> nn.Module:
    """Plain convolutional network: ``depth`` stages of conv-norm-ReLU, each doubling the width
    and halving the image from the second on, then global average pooling.

    Args:
        shape: (channels, height, width) of one image.
        num_classes: C.
        width: Channels of the first stage.
        depth: Number of stages.
    """
    if len(shape) != 3:
        raise InputError("cnn needs images", where="model", accepted="channels x height x width")
    layers: list[nn.Module] = []
    channels, out = shape[0], width
    for stage in range(depth):
        stride = 1 if stage == 0 else 2
        layers += [
            nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        ]
        channels, out = out, out * 2
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return FeatureNet(nn.Sequential(*layers), channels * 4, num_classes)


@register_model("mlp")
def mlp(shape: tuple[int, ...], num_classes: int, *, width: int = 128, depth: int = 2) -> nn.Module:
    """Multi-layer perceptron with ``depth`` hidden layers of ``width`` units; no normalisation."""
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(shape)
    for _ in range(depth):
        layers += [nn.Linear(size, width), nn.ReLU(inplace=True)]
        size = width
    return FeatureNet(nn.Sequential(*layers), size, num_classes)


def check_model(recipe: Recipe) -> None:
    """Checks that a recipe's network exists and takes its parameters.

    Raises:
        InputError: It does not.
    """
    builder = inspect.signature(MODELS.get(recipe.model).target)
    try:
        builder.bind((), 0, **recipe.model_params)
    except TypeError as error:
        raise InputError(
            f"model {recipe.model!r}: {error}",
            where=f"recipe {recipe.name}: model_params",
            accepted=", ".join(list(builder.parameters)[2:]),
        ) from None


def build_model(
    recipe: Recipe, shape: tuple[int, ...], num_classes: int, stream: Stream
) -> nn.Module:
    """Builds the recipe's network with initial weights drawn from a stream.

    Torch's initialisers read the global generator; it is forked and restored around them.

    Raises:
        InputError: Unknown model or parameters that it does not take.
    """
    builder = MODELS.get(recipe.model).target
    params: dict[str, Scalar] = recipe.model_params
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream.key & 0x7FFFFFFFFFFFFFFF)
        try:
            model = builder(shape, num_classes, **params)
        except TypeError as error:
            raise InputError(str(error), where=f"recipe {recipe.name}: model_params") from None
    if not hasattr(model, "features") or not hasattr(model, "head"):
        raise InputError(
            f"model {recipe.model!r} lacks features(x) or head(f)", where=f"recipe {recipe.name}"
        )
    return cast(nn.Module, model)
