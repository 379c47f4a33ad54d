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
from prunebench.bench.networks.words import WordBag
from prunebench.datasets.source import is_text_shape


@register_model("airbench-proxy")
def airbench_proxy(shape: tuple[int, ...], num_classes: int, *, width: Size = 32) -> nn.Module:
    """Three stages of ``width``, 2 ``width`` and 2 ``width`` channels.

    The channels 32, 64 and 64 are published (KellerJordan/cifar10-airbench:
    airbench96_faster.py). The stages are ours: 3 x 3 convolution, batch normalisation and ReLU,
    the second and the third halving the image, then average pooling to 2 x 2. Samples that are no
    images pass linear stages of the same sizes; of texts the first is the mean of word vectors.

    Args:
        shape: Of one sample: (channels, height, width), (V, L) of texts, or a vector's.
        num_classes: C.
        width: Channels or units of the first stage.
    """
    widths = (width, 2 * width, 2 * width)
    layers: list[nn.Module] = []
    if len(shape) != 3:
        size = 0 if is_text_shape(shape) else flat_size(shape)
        layers = [nn.Flatten()] if size else []
        for out in widths:
            layers += [nn.Linear(size, out) if size else WordBag(shape[0], out)]
            layers += [nn.BatchNorm1d(out), nn.ReLU(inplace=True)]
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
