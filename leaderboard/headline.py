"""The metrics that a board may be about; tests, ranks, marks and words follow the one declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MetricName = Literal["accuracy", "balanced", "worst-class", "worst-group"]
#: First set of metrics that holds the balanced accuracy, and that of the worst group.
SET_OF_BALANCED = 4


@dataclass(frozen=True)
class Headline:
    """One of them.

    Attributes:
        entry: Its name in ``Record.metrics``.
        words: Its name in running text.
        floor: Whether a network that answers one class alone has 0; it has one over the number of
            classes otherwise.
        lacking: What a record without it lacks.
    """

    entry: str
    words: str
    floor: bool
    lacking: str

    @property
    def kind(self) -> str:
        """Its name in metadata: ``accuracy``, ``worst_class_accuracy``."""
        return self.entry.removeprefix("test_")


HEADLINES: dict[MetricName, Headline] = {
    "accuracy": Headline("test_accuracy", "accuracy", False, "test accuracy"),
    "balanced": Headline(
        "balanced_accuracy", "balanced accuracy", False,
        f"balanced accuracy (recorded from set {SET_OF_BALANCED} of metrics on)",
    ),
    "worst-class": Headline(
        "worst_class_accuracy", "worst-class accuracy", True, "worst-class accuracy"
    ),
    "worst-group": Headline(
        "worst_group_accuracy", "worst-group accuracy", True,
        "worst-group accuracy (of data with groups, recorded from set "
        f"{SET_OF_BALANCED} of metrics on)",
    ),
}  # fmt: skip


def words_of(metric: MetricName) -> str:
    """The metric in running text: ``accuracy``, ``worst-class accuracy``."""
    return HEADLINES[metric].words
