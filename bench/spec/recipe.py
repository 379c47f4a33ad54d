"""How a network is trained: one frozen, validated object, part of every run's key."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from prunebench.errors import InputError
from prunebench.options import Option
from prunebench.registry import RECIPES

Scalar = bool | int | float | str | None

#: Fields that came after the first release: at their defaults they are left out of the content,
#: so that the keys of older runs stay the same.
_LATER = (
    "tail_momentum", "lr_warmup", "drop_last", "normalise", "compat", "weights", "train",
    "label_fit",
)  # fmt: skip

#: Quirks of official loops that can be switched on (``compat``); see ``SWITCHES``.
Switch = Literal["bn-split-2", "head-100", "lr-per-epoch", "seta-lr"]

#: What each switch does, and whose loop it copies.
SWITCHES: dict[Switch, tuple[str, str]] = {
    "bn-split-2": (
        "batch normalisation over each half of the batch, running statistics of the first half",
        "InfoBatch and SeTa wrap the network in DataParallel; the paper's machine had two cards",
    ),
    "head-100": (
        "100 outputs whatever the number of classes",
        "SeTa's loop (examples/cifar/main.py) runs CIFAR-10 with the head for CIFAR-100",
    ),
    "lr-per-epoch": (
        "learning rate and momentum of an epoch's start, held until its end",
        "co-teaching+ (main.py) sets the rate once per epoch",
    ),
    "seta-lr": (
        "one-cycle stretched over samples instead of batches, set anew where each epoch starts",
        "SeTa's loop gives OneCycleLR the number of samples as steps per epoch",
    ),
}

#: Outputs under ``head-100``.
HEAD = 100

#: ``Recipe.weights`` of a recipe that starts from pretrained weights which are still to be named.
NEEDED = "needed"


def register_recipe(
    name: str, *, version: int = 1, bf16: bool = False
) -> Callable[[Callable[[], Recipe]], object]:
    """Decorator that registers a function returning a recipe.

    Args:
        name: Of the recipe.
        version: Raise it whenever results change.
        bf16: Whether ``NAME-bf16`` is registered too: the same but for its precision.
    """

    def register(build: Callable[[], Recipe]) -> object:
        if bf16:
            in_bf16 = wraps(build)(lambda: build().model_copy(update={"precision": "bf16"}))
            RECIPES.register(f"{name}-bf16", version=version)(in_bf16)
        return RECIPES.register(name, version=version)(build)

    return register


def text_options() -> dict[str, Option]:
    """The recipe's fields that hold one text, as options: the command line reads them as such."""
    found = {}
    for name, info in Recipe.model_fields.items():
        words = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
        if info.annotation is str or words:
            default = "" if info.is_required() else info.default
            found[name] = Option(default, name, choices=words, optional=name == "weights")
    return found


class Recipe(BaseModel):
    """Model, optimiser, schedule, batch size, epochs, augmentation, precision and loss.

    Schedules are functions of progress in [0, 1], so they fit any number of steps. ``milestones``
    are shares of the run; ``linear_tail`` holds the rate up to the first and then takes it to 0 in
    a line, with ``tail_momentum`` from there on; ``lr_warmup`` is the share over which ``cosine``
    rises from 0 in a line. ``momentum`` is beta1 for Adam. ``warmup`` is the epoch Tw after which
    static methods score; None means max(2, round(0.15 epochs)). ``weights`` is the SHA-256 of the
    file with the initial weights: its path is no part of the recipe. ``train = "head"`` trains
    the last linear layer alone, see ``networks.base.FeatureNet.freeze_body``. ``label_fit`` is how
    many samples with a wrong training label, and how many with a right one, every evaluation looks
    at, see ``bench.train.label_fit``; 0 for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    version: int = 1
    model: str
    model_params: dict[str, Scalar] = Field(default_factory=dict)
    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1)
    optimizer: Literal["sgd", "lars", "adam", "adamw"] = "sgd"
    lr: float = Field(gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0)
    schedule: Literal["one_cycle", "multi_step", "cosine", "constant", "linear_tail"] = "one_cycle"
    pct_start: float = Field(0.3, gt=0, lt=1)
    div: float = Field(25.0, gt=0)
    final_div: float = Field(1e4, gt=0)
    cycle_momentum: bool = True
    milestones: tuple[float, ...] = ()
    gamma: float = Field(0.1, gt=0)
    tail_momentum: float | None = Field(None, ge=0, lt=1)
    lr_warmup: float = Field(0.0, ge=0, lt=1)
    drop_last: bool = False
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    augment: Literal["dataset", "none", "crop_flip", "resized_crop"] = "dataset"
    normalise: Literal[
        "dataset",
        "cifar10",
        "cifar10-n",
        "cifar100-official",
        "imagenet",
        "clothing1m-dividemix",
        "train",
    ] = "dataset"
    pad: int = Field(4, ge=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    warmup: int | None = Field(None, ge=1)
    eval_every: int = Field(0, ge=0)
    label_fit: int = Field(0, ge=0)
    compat: tuple[Switch, ...] = ()
    train: Literal["all", "head"] = "all"
    weights: str = Field(
        "", pattern=r"^([0-9a-f]{64}|needed)?$", description="the file with the initial weights"
    )

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
        if self.schedule == "linear_tail" and len(self.milestones) != 1:
            raise ValueError("linear_tail needs one milestone, the share where the tail starts")
        if self.tail_momentum is not None and self.schedule != "linear_tail":
            raise ValueError("tail_momentum belongs to the schedule linear_tail")
        if self.lr_warmup and self.schedule != "cosine":
            raise ValueError("lr_warmup belongs to the schedule cosine")
        if list(self.compat) != sorted(set(self.compat)):
            raise ValueError("compat lists each switch once, in alphabetical order")
        if {"lr-per-epoch", "seta-lr"} <= set(self.compat):
            raise ValueError("lr-per-epoch and seta-lr exclude each other")
        return self

    @model_serializer(mode="wrap")
    def _content(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {
            name: value
            for name, value in content.items()
            if name not in _LATER or getattr(self, name) != fields[name].default
        }

    @property
    def scoring_epoch(self) -> int:
        """Tw: epochs of training before static methods score."""
        chosen = self.warmup if self.warmup is not None else max(2, round(0.15 * self.epochs))
        return min(chosen, self.epochs)


def head_classes(recipe: Recipe, num_classes: int) -> int:
    """Number of outputs of the network.

    Raises:
        InputError: ``head-100`` on 100 classes or more, where it would change nothing.
    """
    if "head-100" not in recipe.compat:
        return num_classes
    if num_classes >= HEAD:
        raise InputError(
            f"head-100 on {num_classes} classes",
            where=f"recipe {recipe.name}: compat",
            accepted=f"data sets of fewer than {HEAD} classes",
        )
    return HEAD


def schedule_point(
    recipe: Recipe, step: int, steps: int, started: int, trained: int, num_samples: int
) -> tuple[float, int]:
    """Where in its schedule a step is.

    Args:
        recipe: Its ``compat`` decides.
        step: Position of the step in its epoch.
        steps: Steps of the epoch.
        started: Samples trained before the epoch.
        trained: Samples trained before the step.
        num_samples: N.

    Returns:
        The share of the epoch that counts as done, and the samples that count as trained
        (arguments of ``Clock.fraction``).
    """
    if "lr-per-epoch" in recipe.compat:
        return 0.0, started
    if "seta-lr" in recipe.compat:
        return step / num_samples, started + step
    return step / steps, trained
