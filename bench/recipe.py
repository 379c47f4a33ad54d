"""How a network is trained: one frozen, validated object, part of every run's key."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scalar = bool | int | float | str | None


class Recipe(BaseModel):
    """Model, optimiser, schedule, batch size, epochs, augmentation, precision and loss.

    Schedules are functions of progress in [0, 1], so they fit any number of steps. ``milestones``
    are shares of the run. ``warmup`` is the epoch Tw after which static methods score; None means
    max(2, round(0.15 epochs)).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    version: int = 1
    model: str
    model_params: dict[str, Scalar] = Field(default_factory=dict)
    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1)
    optimizer: Literal["sgd", "lars", "adam"] = "sgd"
    lr: float = Field(gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0)
    schedule: Literal["one_cycle", "multi_step", "cosine", "constant"] = "one_cycle"
    pct_start: float = Field(0.3, gt=0, lt=1)
    div: float = Field(25.0, gt=0)
    final_div: float = Field(1e4, gt=0)
    cycle_momentum: bool = True
    milestones: tuple[float, ...] = ()
    gamma: float = Field(0.1, gt=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    augment: Literal["dataset", "none", "crop_flip"] = "dataset"
    pad: int = Field(4, ge=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    warmup: int | None = Field(None, ge=1)
    eval_every: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if list(self.milestones) != sorted(self.milestones) or any(
            not 0 < m < 1 for m in self.milestones
        ):
            raise ValueError("milestones are ascending shares of the run, each between 0 and 1")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0")
        if self.warmup is not None and self.warmup > self.epochs:
            raise ValueError("warmup cannot exceed epochs")
        return self

    @property
    def scoring_epoch(self) -> int:
        """Tw: epochs of training before static methods score."""
        chosen = self.warmup if self.warmup is not None else max(2, round(0.15 * self.epochs))
        return min(chosen, self.epochs)
