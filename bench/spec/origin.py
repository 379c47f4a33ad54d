"""What a run's specification says of the study that chose its options."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

#: Seeds from here on are for tuning; evaluation counts from 0.
FIRST_TUNING_SEED = 1_000_000


class Tuned(BaseModel):
    """The origin of tuned options.

    Attributes:
        study: Hash of the pinned parameter file.
        seeds: Every seed that the study has seen.
        metric: What it maximised.
        labels: Labels of its validation split.
        transfer: Whether the options come from another data set or another method.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str = Field(pattern=r"^[0-9a-f]{16}$", description="16 hexadecimal digits")
    seeds: tuple[int, ...] = Field(min_length=1)
    metric: Literal["validation_accuracy"] = "validation_accuracy"
    labels: Literal["noisy", "clean"] = "noisy"
    transfer: bool = False


def clean_labels(method: str, role: str, labels: str, tuned: Tuned | None) -> str:
    """What clean labels a run used: the method's, and those of the validation split behind it.

    Args:
        method: What the method uses; empty for none.
        role: ``eval`` or ``tune``.
        labels: Labels of the run's own validation split.
        tuned: Origin of its options.
    """
    clean = (role == "tune" and labels == "clean") or (
        tuned is not None and tuned.labels == "clean"
    )
    return ", ".join(part for part in (method, "validation split" * clean) if part)
