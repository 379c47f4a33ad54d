"""One run's specification: frozen, validated, and turned into canonical JSON and a key."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from prunebench.bench.spec.recipe import NEEDED, Recipe, Scalar
from prunebench.methods.compose import resolve_method
from prunebench.record import OWN_CONTENT, USUAL_SEVERITY, canonical, content_key, setting_name

SPEC_SCHEMA = 1
#: Seeds are below this, so that every reader of a record can hold them.
SEEDS = 2**63
#: Seeds from here on are for tuning; evaluation counts from 0.
FIRST_TUNING_SEED = 1_000_000
#: Fields that are left out of the content where they are None.
_WHERE_USED = ("imbalance", "corrupt", "scoring_recipe", "tuned")
_OWN = re.compile(rf"{OWN_CONTENT}([0-9a-f]{{64}}):[0-9a-f]{{16}}")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Named(_Frozen):
    """A registered thing with its version and all its options; where an option holds a path,
    ``identity`` is the digest of the content instead."""

    name: str
    version: str
    params: dict[str, Scalar] = Field(default_factory=dict)
    identity: str = ""


class NoiseSetting(_Frozen):
    """Label noise: the user's word, the rule it means here, the counting, and its own seed
    (None draws a new realisation per run seed).

    ``outside`` is where ``openset`` takes its images from: ``last:K``, or a data set; None for the
    default number of last classes, and for every other noise."""

    name: str
    rule: str
    count: Literal["exact_per_class", "exact_global", "bernoulli"] = "exact_per_class"
    seed: int | None = Field(None, ge=0, lt=SEEDS)
    outside: str | Named | None = None


class ImbalanceSetting(_Frozen):
    """Class imbalance of the training split: ``exp:50``."""

    name: str


class CorruptSetting(_Frozen):
    """Corrupted training images: kind and share (``gaussian-noise:0.3``), and how strong."""

    name: str
    severity: int = Field(USUAL_SEVERITY, ge=1, le=5)


class HeldOut(_Frozen):
    """Clean reference set. ``size`` None means min(1000, 7 % of the training split)."""

    size: int | None = Field(None, ge=0)
    mode: Literal["held_out", "overlap"] = "held_out"


class Validation(_Frozen):
    """Split for tuning, carved from training."""

    size: int = Field(0, ge=0)
    labels: Literal["noisy", "clean"] = "noisy"


class Tuned(_Frozen):
    """The origin of tuned options.

    Attributes:
        study: Hash of the pinned parameter file.
        seeds: Every seed that the study has seen.
        metric: What it maximised.
        labels: Labels of its validation split.
        transfer: Whether the options come from another data set or another method.
    """

    study: str = Field(pattern=r"^[0-9a-f]{16}$", description="16 hexadecimal digits")
    seeds: tuple[int, ...] = Field(min_length=1)
    metric: Literal["validation_accuracy"] = "validation_accuracy"
    labels: Literal["noisy", "clean"] = "noisy"
    transfer: bool = False


class RunSpec(_Frozen):
    """Everything that decides a run's result, and nothing that does not (device, workers).

    ``part`` is what a holdout model trains on (``bench.runs.holdout``): the clean reference set, or
    the first or second half of the training split; ``all`` for every other run. ``imbalance`` and
    ``corrupt`` are None for the usual training split. ``scoring_recipe`` trains the scoring run of
    a static method whose subset another recipe trains; None where ``recipe`` does both.
    """

    spec_schema: Literal[1] = Field(1, alias="schema")
    dataset: Named
    noise: NoiseSetting
    imbalance: ImbalanceSetting | None = None
    corrupt: CorruptSetting | None = None
    method: Named
    criterion: Named
    recipe: Recipe
    scoring_recipe: Recipe | None = None
    ratio: float = Field(ge=0, lt=1)
    budget: Literal["samples", "paper", "epochs"] = "samples"
    budget_share: float | None = Field(None, ge=0, lt=1)
    reference: HeldOut = HeldOut()
    validation: Validation = Validation()
    proxy: Literal["shared", "own"] = "shared"
    replica: int = Field(0, ge=0)
    part: Literal["all", "reference", "first", "second"] = "all"
    seed: int = Field(ge=0, lt=SEEDS)
    role: Literal["eval", "tune"] = "eval"
    tuned: Tuned | None = None

    @model_validator(mode="after")
    def _shares(self) -> RunSpec:
        if self.budget_share is not None and self.budget != "paper":
            raise ValueError("budget_share belongs to budget 'paper'")
        if self.corrupt is not None and self.reference.mode == "overlap":
            raise ValueError("corrupted images go with a reference set that is held out, not with "
                             "reference.mode 'overlap'")  # fmt: skip
        if NEEDED in (self.recipe.weights, self.evidence_recipe.weights):
            raise ValueError("the recipe names no weights to start from")
        if self.role == "tune" and (self.validation.size == 0 or self.tuned is not None):
            raise ValueError("a tuning run has a validation split and no tuned options")
        if self.tuned is not None and self.seed in self.tuned.seeds:
            raise ValueError(f"seed {self.seed} was seen by the study that tuned the options")
        return self

    @cached_property
    def content(self) -> dict[str, Any]:
        """The canonical content as JSON values. Of the fields that came later those are left out
        that a run does not use, so that the keys of earlier runs stay."""
        left_out = {name for name in _WHERE_USED if getattr(self, name) is None}
        left_out |= {"part"} if self.part == "all" else set()
        found = self.model_dump(mode="json", by_alias=True, exclude=left_out)
        if self.noise.outside is None:
            del found["noise"]["outside"]
        return found

    @cached_property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON."""
        return content_key(self.content)

    @cached_property
    def key_without_seed(self) -> str:
        """Key of what this run shares with its repeats under other seeds."""
        return content_key({**self.content, "seed": None})

    def with_seed(self, seed: int) -> RunSpec:
        """The same run under another seed. What was validated is not validated again: in large
        grids most cells differ by their seeds alone."""
        if self.tuned is not None or type(seed) is not int or seed < 0:
            return self.replace(seed=seed)
        made = self.model_copy(update={"seed": seed})
        made.__dict__.pop("key", None)
        made.__dict__.update(
            key_without_seed=self.key_without_seed, content={**self.content, "seed": seed}
        )
        return made

    def replace(self, **changes: Any) -> RunSpec:
        """The same run with some fields changed, validated anew (``model_copy`` would keep the
        cached key)."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        fields["schema"] = fields.pop("spec_schema")
        return RunSpec(**{**fields, **changes})

    @property
    def evidence_recipe(self) -> Recipe:
        """The recipe under which the evidence of a static method is recorded."""
        return self.scoring_recipe or self.recipe

    @property
    def data_salt(self) -> str:
        """The data set as the salt of streams: of a user's own data the samples and labels alone,
        so that class folders and Parquet files of one content have equal draws."""
        data = self.dataset
        own = _OWN.fullmatch(data.identity)
        parts = [own[1]] if own else [data.name, data.version, data.params, data.identity]
        return canonical(parts)

    @property
    def setting(self) -> tuple[str, str]:
        """(dataset, noise) as the salt of every stream; paths and methods play no part."""
        return self.data_salt, canonical([self.noise.name, self.noise.count])

    @property
    def label(self) -> str:
        """Short name for progress displays."""
        ratio = "" if self.ratio == 0 else f" {self.ratio:g}"
        setting = setting_name(self.content)
        return f"{self.dataset.name} {setting} {self.method.name}{ratio} s{self.seed}"

    def scoring_spec(self, replica: int = 0, criterion: Named | None = None) -> RunSpec:
        """The full-data run whose evidence serves this cell."""
        full = resolve_method("full")
        return self.replace(
            method=Named(name=full.name, version=full.version),
            criterion=criterion or self.criterion,
            recipe=self.evidence_recipe,
            scoring_recipe=None,
            ratio=0.0,
            budget="samples",
            budget_share=None,
            proxy="shared",
            replica=replica,
            tuned=None,
        )

    def holdout_spec(self, part: str, criterion: Named) -> RunSpec:
        """The run of a holdout model that serves this cell.

        Args:
            part: What it trains on.
            criterion: Plain cross-entropy.
        """
        return self.scoring_spec(0, criterion).replace(part=part)


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
