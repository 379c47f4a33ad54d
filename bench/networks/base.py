"""What every network is made of: the split into features and head, registration, small parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal, Protocol, Self, cast

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from prunebench.datasets.source import is_text_shape
from prunebench.errors import InputError
from prunebench.registry import MODELS

#: A width or stride.
Size = Annotated[int, Field(ge=1, le=1_000_000)]
#: Layers one after another; each is an object, whatever it holds.
Depth = Annotated[int, Field(ge=1, le=1000)]
Norm = Literal["batch", "group"]

#: Channels that share their statistics under ``norm=group`` (Wu and He, ECCV 2018, table 3).
GROUP_CHANNELS = 16


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
    """A body that ends in a vector, and a linear head.

    Attributes:
        head_path: Name of the head in the library's own network, for files of weights.
        frozen: Whether the head alone is trained.
    """

    head_path = "fc"
    frozen = False

    def __init__(self, body: nn.Module, width: int, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.fc = nn.Linear(width, num_classes)

    @classmethod
    def around(cls, net: nn.Module, path: str) -> FeatureNet:
        """Splits a whole network at its last linear layer, keeping all initial weights.

        Args:
            net: Gives logits; becomes the body.
            path: Dotted name of the layer in it.

        Raises:
            InputError: There is no linear layer of that name.
        """
        owner, _, name = path.rpartition(".")
        head = getattr(net.get_submodule(owner), name, None)
        if not isinstance(head, nn.Linear):
            raise InputError(
                f"the network does not end in a linear layer {path!r}",
                where="model", accepted="an architecture with one linear head",
            )  # fmt: skip
        setattr(net.get_submodule(owner), name, nn.Identity())
        split = cls.__new__(cls)
        nn.Module.__init__(split)
        split.body, split.fc, split.head_path = net, head, path
        return split

    def freeze_body(self) -> None:
        """Leaves the body as it is from now on: its parameters take no gradient, and it stays in
        eval mode, so that batch normalisation reads its running statistics and never writes them,
        and nothing is dropped out."""
        self.frozen = True
        self.body.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training or eval mode, of the head alone where the body is frozen."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        """float [B, width]."""
        return cast(Tensor, self.body(x))

    def head(self, f: Tensor) -> Tensor:
        """float [B, C]."""
        return cast(Tensor, self.fc(f))

    def forward(self, x: Tensor) -> Tensor:
        """Logits float [B, C]."""
        return self.head(self.features(x))


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """Batch normalisation, or groups of 16 channels (all in one where 16 does not divide them),
    which keeps no statistics and so treats every batch size alike."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    groups = 1 if channels % GROUP_CHANNELS else channels // GROUP_CHANNELS
    return nn.GroupNorm(groups, channels)


class AveragePool2x2(nn.Module):
    """Average pooling to 2 x 2 in the windows of ``AdaptiveAvgPool2d(2)``, which share the middle
    row and column where a side is odd.

    On a card the same windows as plain pooling, since the adaptive one's backward adds in any
    order there and ``--deterministic`` refuses it. A CPU keeps the adaptive one: the two round
    differently.
    """

    def forward(self, x: Tensor) -> Tensor:
        """float [B, channels, 2, 2] of [B, channels, H, W]."""
        return quadrant_means(x) if x.device.type == "cuda" else F.adaptive_avg_pool2d(x, 2)


def quadrant_means(x: Tensor) -> Tensor:
    """float [B, channels, 2, 2]: windows of ceil(H / 2) x ceil(W / 2) in the four corners."""
    x = x.expand(*x.shape[:2], *(max(2, side) for side in x.shape[2:]))
    height, width = x.shape[2:]
    kernel = ((height + 1) // 2, (width + 1) // 2)
    return F.avg_pool2d(x, kernel, stride=(height // 2, width // 2))


def need_images(name: str, shape: tuple[int, ...], channels: int | None = None) -> None:
    """Refuses data that a network cannot read.

    Args:
        name: The network.
        shape: Of one sample.
        channels: What it insists on; None for any number.

    Raises:
        InputError: The samples are no images, or have other channels.
    """
    wanted = "channels" if channels is None else str(channels)
    if len(shape) != 3 or (channels is not None and shape[0] != channels):
        raise InputError(
            f"{name} cannot read samples of shape {' x '.join(map(str, shape))}",
            where="model",
            accepted=f"images of {wanted} x height x width",
        )


def flat_size(shape: tuple[int, ...]) -> int:
    """Numbers in one image or vector.

    Raises:
        InputError: The samples are texts.
    """
    if is_text_shape(shape):
        raise InputError("it cannot read the words of texts", where="model",
                         accepted="embedding-bag; images or vectors for this one")  # fmt: skip
    return math.prod(shape)
