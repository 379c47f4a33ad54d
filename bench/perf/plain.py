"""The contender that most code is: PIL transforms, a DataLoader, a value read back per step."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from prunebench.datasets.source import RawData
from prunebench.errors import InputError


class Pictures(Dataset[tuple[Tensor, int]]):
    """Arrays that become PIL images on access, as torchvision's CIFAR classes have them.

    Args:
        raw: The data set.
        count: How many of its training images.
    """

    def __init__(self, raw: RawData, count: int) -> None:
        from torchvision import transforms

        x = raw.train_x
        if not isinstance(x, Tensor):
            raise InputError("images that are streamed", where="--data", accepted="a packed set")
        side = int(x.shape[-1])
        self.pixels = x[:count].permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = raw.train_y[:count].tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.RandomCrop(side, min(4, side - 1), padding_mode="reflect"),
                transforms.ToTensor(),
                transforms.Normalize(raw.mean, raw.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


class PlainLoop:
    """An ordinary training loop in fp32.

    Args:
        raw: The data set.
        model: The network.
        device: Where to train.
        batch: Batch size.
        count: Images of one pass.
        workers: Decoding processes of the loader.
    """

    def __init__(
        self,
        raw: RawData,
        model: nn.Module,
        device: torch.device,
        batch: int,
        count: int,
        workers: int = 0,
    ) -> None:
        self.model, self.device = model.to(device), device
        self.loader: DataLoader[Any] = DataLoader(
            Pictures(raw, count), batch_size=batch, shuffle=True, num_workers=workers,
            pin_memory=device.type == "cuda", persistent_workers=workers > 0,
        )  # fmt: skip
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
        )

    def epoch(self) -> int:
        """One pass; returns the images trained."""
        self.model.train()
        seen, total = 0, 0.0
        for x, y in self.loader:
            x, y = x.to(self.device), y.to(self.device)
            loss = F.cross_entropy(self.model(x), y)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += loss.item()
            seen += len(y)
        return seen
