"""The small network that chooses for a larger one (``airbench-proxy``)."""

from __future__ import annotations

from torch import nn

from prunebench.bench.networks.base import (
    AveragePool2x2,
    FeatureNet,
    Size,
    flat_size,
    register_model,
)


@register_model("airbench-proxy")
def airbench_proxy(shape: tuple[int, ...], num_classes: int, *, width: Size = 32) -> nn.Module:
    """Three stages of ``width``, 2 ``width`` and 2 ``width`` channels.

    The channels 32, 64 and 64 are published (KellerJordan/cifar10-airbench:
    airbench96_faster.py). The stages are ours: 3 x 3 convolution, batch normalisation and ReLU,
    the second and the third halving the image, then average pooling to 2 x 2. Samples that are no
    images pass linear stages of the same sizes.

    Args:
        shape: Of one sample: (channels, height, width), or any other, which is flattened.
        num_classes: C.
        width: Channels or units of the first stage.
    """
    widths = (width, 2 * width, 2 * width)
    layers: list[nn.Module] = []
    if len(shape) != 3:
        layers, size = [nn.Flatten()], flat_size(shape)
        for out in widths:
            layers += [nn.Linear(size, out), nn.BatchNorm1d(out), nn.ReLU(inplace=True)]
            size = out
        return FeatureNet(nn.Sequential(*layers), size, num_classes)
    channels = shape[0]
    for stage, out in enumerate(widths):
        layers += [
            nn.Conv2d(channels, out, 3, stride=2 if stage else 1, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        ]
        channels = out
    layers += [AveragePool2x2(), nn.Flatten()]
    return FeatureNet(nn.Sequential(*layers), 4 * channels, num_classes)
