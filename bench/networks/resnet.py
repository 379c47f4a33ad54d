"""ResNet for small images: torchvision's ``resnet18`` with another stem.

Names, shapes and order are torchvision's, and a test holds the two together; importing the library
would cost every process the seconds that its import of the compiler takes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, cast

from torch import Tensor, nn

from prunebench.bench.networks.base import (
    Depth,
    FeatureNet,
    Norm,
    Size,
    make_norm,
    need_images,
    register_model,
)

STAGES = 4


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (He et al. 2016, figure 2).

    Args:
        inputs: Channels that come in.
        planes: Channels that go out.
        stride: Of the first convolution.
        norm: Makes a normalisation for some channels.
    """

    def __init__(
        self, inputs: int, planes: int, stride: int, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = norm(planes)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != planes:
            widen = nn.Conv2d(inputs, planes, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(widen, norm(planes))

    def forward(self, x: Tensor) -> Tensor:
        """float [B, planes, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return cast(Tensor, self.relu(self.bn2(self.conv2(y)).add_(shortcut)))


class SmallResNet(nn.Module):
    """Stem of one 3 x 3 convolution, four stages of blocks, global average pooling.

    Args:
        channels: Of the images.
        width: Channels of the first stage; each further stage doubles them.
        depth: Basic blocks per stage.
        stem_stride: Of the first convolution.
        norm: ``batch`` or ``group``.
    """

    def __init__(self, channels: int, width: int, depth: int, stem_stride: int, norm: Norm) -> None:
        super().__init__()
        make = partial(make_norm, norm)
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stem_stride, padding=1, bias=False)
        self.bn1 = make(width)
        self.relu = nn.ReLU(inplace=True)
        inputs = width
        for stage in range(STAGES):
            planes, blocks = width << stage, []
            for block in range(depth):
                stride = 2 if stage and block == 0 else 1
                blocks.append(Block(inputs, planes, stride, make))
                inputs = planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.width = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """float [B, 8 width]."""
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in range(STAGES):
            x = getattr(self, f"layer{stage + 1}")(x)
        return cast(Tensor, self.avgpool(x).flatten(1))


@register_model("resnet18")
def resnet18(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Size = 64,
    depth: Depth = 2,
    stem_stride: Size = 1,
    norm: Norm = "batch",
    init: Literal["torchvision", "pytorch"] = "torchvision",
) -> nn.Module:
    """ResNet-18 for 32 x 32 images: 3 x 3 stem of stride 1, no max-pooling.

    Same function, shapes and order as the model of the InfoBatch repository (examples/model.py);
    11,173,962 parameters with 10 classes.

    Args:
        shape: (channels, height, width) of one image.
        num_classes: C.
        width: Channels of the first stage, 64 in the paper; smaller ones suit processors.
        depth: Blocks per stage: 2 makes 18 layers, 1 makes 10.
        stem_stride: 2 halves the image at once.
        norm: ``batch`` or ``group``.
        init: ``torchvision`` draws convolutions from the normal distribution by fan-out (He et
            al. 2015); ``pytorch`` leaves them at PyTorch's default, as the InfoBatch repository
            does (standard deviation 0.0241 in place of 0.0589 on 3 x 3 with 64 channels).
    """
    need_images("resnet18", shape)
    body = SmallResNet(shape[0], width, depth, stem_stride, norm)
    if init == "pytorch":
        for module in body.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
    return FeatureNet(body, body.width, num_classes)
