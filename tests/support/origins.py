"""Ids of limited splits, held against the same split read whole."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.source import RawData


def pixels(x: Tensor | ImageFiles) -> Tensor:
    """All of them, read."""
    return x.read(range(len(x))) if isinstance(x, ImageFiles) else x


def check_ids(limited: RawData, whole: RawData) -> None:
    """Every id of a limited set names, in the whole one, the sample that it stands for."""
    for split, ids in (
        ("train", limited.train_ids(torch.arange(len(limited.train_y)))),
        ("test", limited.test_ids(torch.arange(len(limited.test_y)))),
    ):
        few, all_x = (pixels(getattr(raw, f"{split}_x")) for raw in (limited, whole))
        few_y, all_y = (getattr(raw, f"{split}_y") for raw in (limited, whole))
        assert 0 < len(ids) == len(few) < len(all_x)
        assert not torch.equal(ids, torch.arange(len(ids))), "as if nothing were left out"
        assert torch.equal(few, all_x[ids])
        assert torch.equal(few_y, all_y[ids])
    assert limited.original_size == whole.original_size == len(whole.training_rows)
