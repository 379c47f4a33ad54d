"""The network of the NEWS experiments (co-teaching+; Yu et al., ICML 2019)."""

from __future__ import annotations

from torch import nn

from prunebench.bench.networks.base import FeatureNet, flat_size, register_model

#: Units of the two hidden layers.
HIDDEN = (1200, 300)


@register_model("news-mlp")
def news_mlp(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Three linear layers with batch normalisation and softsign between them.

    Source: bhanML/coteaching_plus, model.py. The frozen embedding and the pooling in front of it
    have no parameters; the data set applies them once and hands over their output.

    Args:
        shape: (4800,), the pooled word vectors of a document.
        num_classes: C.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    size = flat_size(shape)
    for width in HIDDEN:
        layers += [nn.Linear(size, width), nn.BatchNorm1d(width), nn.Softsign()]
        size = width
    return FeatureNet(nn.Sequential(*layers), size, num_classes)
