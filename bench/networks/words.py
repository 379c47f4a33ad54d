"""The network for texts: the mean of learned word vectors, and a linear layer."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from prunebench.bench.networks.base import FeatureNet, Size, register_model
from prunebench.datasets.source import is_text_shape
from prunebench.errors import InputError

#: Standard deviation of the initial word vectors; those of the usual 1 would hardly move in a
#: short run.
SPREAD = 0.1


class WordBag(nn.EmbeddingBag):
    """The mean of the vectors of a text's words; 0 where it has none.

    Deterministic on a card as well: of this layer's modes only ``max`` is not.
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__(vocabulary, width, mode="mean", padding_idx=0)

    def reset_parameters(self) -> None:
        """Normal numbers, zeros for the padding."""
        with torch.no_grad():
            self.weight.normal_(std=SPREAD)
            self.weight[0].zero_()

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """float [B, width] of int [B, L], numbers of words with zeros behind them."""
        return super().forward(x)


@register_model("embedding-bag")
def embedding_bag(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Size = 32,
    hidden: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
) -> nn.Module:
    """Mean of learned word vectors, then a linear layer, as in fastText without n-grams (Joulin et
    al., EACL 2017).

    Args:
        shape: (V, L): numbers of words and the length of a text.
        num_classes: C.
        width: Numbers of a word's vector.
        hidden: Units of a hidden layer behind the mean; 0 for none.
    """
    if not is_text_shape(shape):
        raise InputError(
            f"embedding-bag cannot read samples of shape {' x '.join(map(str, shape))}",
            where="model",
            accepted="the words of texts: text:PATH, or news with representation=words",
        )
    layers: list[nn.Module] = [WordBag(shape[0], width)]
    if hidden:
        layers += [nn.Linear(width, hidden), nn.ReLU(inplace=True)]
    return FeatureNet(nn.Sequential(*layers), hidden or width, num_classes)


embedding_bag.reads_words = True  # type: ignore[attr-defined]
