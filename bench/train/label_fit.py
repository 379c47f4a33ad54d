"""How far a network has fitted the training labels, wrong and right ones apart."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from prunebench.bench.train.evaluate import Readback
from prunebench.datasets.task import Task
from prunebench.rng import Stream

#: Columns of the per-epoch table and metrics of a run, shares in [0, 1]: of samples with a wrong
#: training label, those for which the network predicts this label (memorised), and those for which
#: it predicts the clean one; of samples with a right label, those for which it predicts that.
COLUMNS = ("wrong_label_accuracy", "wrong_label_corrected", "right_label_accuracy")


class LabelFit:
    """The samples that are looked at, and what is found of them; for diagnostics only.

    Args:
        task: Of the run; its clean labels have to be known.
        most: Samples with a wrong label, and samples with a right one, at most.
        stream: Which of them; equal for all methods of a setting and seed.
        device: Of the run.
    """

    def __init__(
        self, task: Task, most: int, stream: Stream, device: torch.device | str = "cpu"
    ) -> None:
        wrong = task.flipped
        order = stream.bits(task.train.sample_ids).argsort(stable=True)
        picked = [order[wrong[order]][:most], order[~wrong[order]][:most]]
        self.wrong = len(picked[0])
        places = torch.cat(picked)
        self.sample_ids = task.train.sample_ids[places].to(device)
        self._given = task.train.labels[places].to(device)
        self._clean = task.clean_labels[places].to(device)

    @classmethod
    def of(
        cls, task: Task, most: int, stream: Stream, device: torch.device | str = "cpu"
    ) -> LabelFit | None:
        """The samples of a task; None where none are asked for or clean labels are not known."""
        return cls(task, most, stream, device) if most and task.raw.clean_known else None

    def figures(self, logits: Tensor) -> Mapping[str, Readback]:
        """The columns that have samples, not waited for.

        Args:
            logits: float [n, C] of ``sample_ids``.
        """
        predicted, w = logits.argmax(1), self.wrong
        given, clean = predicted == self._given, predicted == self._clean
        found = zip(COLUMNS, (given[:w], clean[:w], given[w:]), strict=True)
        return {name: Readback(hits.double().mean()) for name, hits in found if len(hits)}
