"""Contenders that are timed epoch by epoch: a plain loop, and our training in its forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from prunebench.bench.perf.workload import LAUNCHED, Settings, Workload
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.interleaved import InterleavedRuns
from prunebench.bench.train.step import StepGenerator, run_to_end
from prunebench.bench.train.trainer import Trainer
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
    """What most code is: PIL transforms, a DataLoader, fp32, a value read back per step.

    Args:
        work: The workload.
        count: Images of one pass.
        workers: Decoding processes of the loader.
    """

    how = "a loop of the usual style"

    def __init__(self, work: Workload, count: int, workers: int = 0) -> None:
        self.device, self.model = work.device, work.network().to(work.device)
        self.loader: DataLoader[Any] = DataLoader(
            Pictures(work.raw, count), batch_size=work.batch, shuffle=True, num_workers=workers,
            pin_memory=work.device.type == "cuda", persistent_workers=workers > 0,
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


def one_epoch(run: Trainer) -> StepGenerator[int]:
    """One epoch with all that belongs to it; returns the samples trained."""
    before = run.ledger.trained
    yield from run.epoch_steps()
    return run.ledger.trained - before


def how(run: Trainer) -> str:
    """Whether steps are captured, or why not."""
    return run.not_captured_because or ("captured" if run.captured_step else "launched")


class Solo:
    """One run, epoch by epoch.

    Args:
        run: The run.
    """

    def __init__(self, run: Trainer) -> None:
        self.run, self._begun = run, False

    def epoch(self) -> int:
        """One epoch; the first captures the step. Returns the samples trained."""
        if not self._begun:
            self.run.acquire_captured_step()
            self._begun = True
        return run_to_end(one_epoch(self.run))

    def close(self) -> None:
        """Frees the captured step."""
        self.run.close()

    @property
    def how(self) -> str:
        """How steps are run."""
        return how(self.run)


def epoch_part(
    s: Settings, precision: str = "fp32", execution: ExecutionOptions = LAUNCHED
) -> Solo:
    """Our trainer on a part of an epoch, losses recorded."""
    return Solo(s.work(s.part, precision).trainer(execution))


class Laned:
    """Several runs in lanes, one epoch of each at a time.

    Args:
        work: The workload; lane i has seed i.
        execution: How steps are run.
        count: Lanes.
    """

    def __init__(self, work: Workload, execution: ExecutionOptions, count: int) -> None:
        self.work, self.execution, self.count = work, execution, count
        self.lanes = InterleavedRuns(work.device, count)
        self.runs: dict[int, Trainer] = {}

    def _steps(self, lane: int) -> StepGenerator[int]:
        if lane not in self.runs:
            self.runs[lane] = self.work.trainer(self.execution, seed=lane)
            self.runs[lane].acquire_captured_step()
        return (yield from one_epoch(self.runs[lane]))

    def epoch(self) -> int:
        """One epoch of every run; returns the samples of all."""
        for lane in range(self.count):
            self.lanes.add(lane, self._steps(lane))
        total = 0
        while self.lanes.running:
            for end in self.lanes.step():
                if end.error is not None:
                    self.lanes.close()
                    raise end.error
                total += end.value
        return total

    def close(self) -> None:
        """Frees the lanes and their captured steps."""
        for run in self.runs.values():
            run.close()
        self.lanes.close()

    @property
    def how(self) -> str:
        """How steps of the first run are run."""
        return how(self.runs[0])


class Pass:
    """A pass in eval mode over the reference set of a run, or over its test split.

    Args:
        run: The run.
        test: Which of the two.
    """

    how = ""

    def __init__(self, run: Trainer, test: bool) -> None:
        self.run, self.test = run, test

    def epoch(self) -> int:
        """One pass."""
        if self.test:
            return len(self.run.test_logits())
        self.run._measure_reference()
        return len(self.run.reference_sample_ids)

    def close(self) -> None:
        """Nothing of it stays."""
        self.run.close()


class WholeRun:
    """Whole short runs, evaluation at the end included; the first is of one epoch, for it is not
    counted.

    Args:
        work: The workload.
        method: Of the run.
        ratio: Of the run.
        execution: How steps are run.
    """

    how = ""

    def __init__(
        self, work: Workload, method: str, ratio: float, execution: ExecutionOptions
    ) -> None:
        self.work, self.method, self.ratio, self.execution = work, method, ratio, execution
        self._warm = False

    def epoch(self) -> int:
        """Trains one; returns the samples trained."""
        work = self.work if self._warm else replace(self.work, epochs=1)
        self._warm = True
        run = work.trainer(self.execution, self.method, self.ratio)
        try:
            run.fit()
            run.test_accuracy()
            return run.ledger.trained
        finally:
            run.close()
