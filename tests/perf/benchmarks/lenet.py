"""LeNet-5 with ReLU and max-pooling, as a plugin: the network that DeepCore calls ``LeNet``."""

from __future__ import annotations

from torch import nn

from prunebench import FeatureNet, register_model


@register_model("lenet")
def lenet(shape: tuple[int, ...], num_classes: int) -> FeatureNet:
    """Two convolutions of 6 and 16 channels, hidden layers of 120 and 84, for 28 x 28 images."""
    body = nn.Sequential(
        nn.Conv2d(shape[0], 6, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120), nn.ReLU(inplace=True),
        nn.Linear(120, 84), nn.ReLU(inplace=True),
    )  # fmt: skip
    return FeatureNet(body, 84, num_classes)
