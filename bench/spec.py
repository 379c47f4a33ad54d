"""One run's specification: frozen, validated, and turned into canonical JSON and a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from prunebench.bench.models import check_model
from prunebench.bench.recipe import NEEDED, Recipe, Scalar
from prunebench.bench.recipes import get_recipe
from prunebench.bench.weights import weights_digest
from prunebench.bench.tuning.mark import Tuned
from prunebench.datasets.noise import parse_noise, real_rule
from prunebench.datasets.rules import ALIASES
from prunebench.datasets.task import DataSource
from prunebench.errors import InputError
from prunebench.methods.compose import resolve_method
from prunebench.options import resolve
from prunebench.record import canonical, content_key, file_digest
from prunebench.registry import CRITERIA, DATASETS

SPEC_SCHEMA = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Named(_Frozen):
    """A registered thing with its version and all its options; where an option holds a path,
    ``identity`` stands for the content instead."""

    name: str
    version: str
    params: dict[str, Scalar] = Field(default_factory=dict)
    identity: str = ""


class NoiseSetting(_Frozen):
    """Label noise: the user's word, the rule it means here, the counting, and its own seed
    (None draws a new realisation per run seed)."""

    name: str
    rule: str
    count: Literal["exact_per_class", "exact_global", "bernoulli"] = "exact_per_class"
    seed: int | None = Field(None, ge=0)


class HeldOut(_Frozen):
    """Clean reference set. ``size`` None means min(1000, 7 % of the training split)."""

    size: int | None = Field(None, ge=0)
    mode: Literal["held_out", "overlap"] = "held_out"


class Validation(_Frozen):
    """Split for tuning, carved from training."""

    size: int = Field(0, ge=0)
    labels: Literal["noisy", "clean"] = "noisy"


class RunSpec(_Frozen):
    """Everything that decides a run's result, and nothing that does not (device, workers)."""

    spec_schema: Literal[1] = Field(1, alias="schema")
    dataset: Named
    noise: NoiseSetting
    method: Named
    criterion: Named
    recipe: Recipe
    ratio: float = Field(ge=0, lt=1)
    budget: Literal["samples", "paper", "epochs"] = "samples"
    budget_share: float | None = Field(None, ge=0, lt=1)
    reference: HeldOut = HeldOut()
    validation: Validation = Validation()
    proxy: Literal["shared", "own"] = "shared"
    replica: int = Field(0, ge=0)
    seed: int = Field(ge=0)
    role: Literal["eval", "tune"] = "eval"
    tuned: Tuned | None = None

    @model_validator(mode="after")
    def _shares(self) -> RunSpec:
        if self.budget_share is not None and self.budget != "paper":
            raise ValueError("budget_share belongs to budget 'paper'")
        if self.recipe.weights == NEEDED:
            raise ValueError("the recipe names no weights to start from")
        if self.role == "tune" and (self.validation.size == 0 or self.tuned is not None):
            raise ValueError("a tuning run has a validation split and no tuned options")
        if self.tuned is not None and self.seed in self.tuned.seeds:
            raise ValueError(f"seed {self.seed} was seen by the study that tuned the options")
        return self

    @cached_property
    def content(self) -> dict[str, Any]:
        """The canonical content as JSON values; ``tuned`` is left out where there is none."""
        left_out = {"tuned"} if self.tuned is None else None
        return self.model_dump(mode="json", by_alias=True, exclude=left_out)

    @cached_property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON."""
        return content_key(self.content)

    def but(self, **changes: Any) -> RunSpec:
        """The same run with some fields changed, validated anew (``model_copy`` would keep the
        cached key)."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        fields["schema"] = fields.pop("spec_schema")
        return RunSpec(**{**fields, **changes})

    @property
    def setting(self) -> tuple[str, str]:
        """(dataset, noise) as the salt of every stream; paths and methods play no part."""
        data = self.dataset
        salt = canonical([data.name, data.version, data.params, data.identity])
        return salt, canonical([self.noise.name, self.noise.count])

    @property
    def label(self) -> str:
        """Short name for progress displays."""
        ratio = "" if self.ratio == 0 else f" {self.ratio:g}"
        return f"{self.dataset.name} {self.noise.name} {self.method.name}{ratio} s{self.seed}"

    def proxy_spec(self, replica: int = 0, criterion: Named | None = None) -> RunSpec:
        """The full-data run whose evidence serves this cell."""
        full = resolve_method("full")
        return self.but(
            method=Named(name=full.name, version=full.version),
            criterion=criterion or self.criterion,
            ratio=0.0,
            budget="samples",
            budget_share=None,
            proxy="shared",
            replica=replica,
            tuned=None,
        )


def validation_line(error: ValidationError, where: str) -> InputError:
    """The first problem of a pydantic error as one line with field and accepted values."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "spec"
    accepted = str(first.get("ctx", {}).get("expected", "")) or first["msg"]
    value = first.get("input")
    shown = "" if isinstance(value, Mapping) else f"{value!r} "
    if first["type"] == "extra_forbidden":
        return InputError(f"unknown field {field!r}", where=where)
    return InputError(f"{shown}is not accepted", where=f"{where}: {field}", accepted=accepted)


def split_argument(text: str) -> tuple[str, str]:
    """``name:argument`` -> (name, argument); the argument may be empty."""
    name, _, argument = text.partition(":")
    return name, argument


def open_source(text: str, params: Mapping[str, Any]) -> DataSource:
    """Resolves ``digits`` or ``packed:PATH`` with options.

    Raises:
        InputError: Unknown data set or option, or a missing argument.
    """
    name, argument = split_argument(text)
    source_class: type[DataSource] = DATASETS.get(name).target
    given = dict(params)
    if argument:
        if not source_class.argument:
            raise InputError(f"data set {name!r} takes no argument", where=f"dataset {text!r}")
        given[source_class.argument] = argument
    elif (
        source_class.argument
        and not source_class.argument_optional
        and source_class.argument not in given
    ):
        raise InputError(
            f"data set {name!r} needs an argument",
            where="dataset",
            accepted=f"{name}:{source_class.argument.upper()}",
        )
    return source_class(**given)


def _digest_of(path: Any, where: str) -> str:
    if not path or not Path(str(path)).is_file():
        raise InputError(f"no such file: {path!r}", where=where, accepted=f"{where}:FILE")
    return file_digest(str(path))


@dataclass(frozen=True)
class Cell:
    """A run and what opens it on this machine: paths stay out of the specification.

    Attributes:
        spec: The run.
        data: Options of the data set, paths included.
        method_params: Options of the method that the key replaces by digests.
        weights: File of the initial weights, which the key names by its digest; empty for none.
    """

    spec: RunSpec
    data: Mapping[str, Any]
    method_params: Mapping[str, Any]
    weights: str = ""


def noise_setting(text: str, source: DataSource, params: Mapping[str, Any]) -> NoiseSetting:
    """Resolves the user's noise to the rule it means on a data set.

    Raises:
        InputError: Unknown kind, a rate out of range, or human labels that are not there.
    """
    noise = parse_noise(text)
    rule = ALIASES.get(noise.kind, noise.kind)
    if noise.kind == "asymmetric":
        rule = source.asymmetric_rule()
    elif noise.kind == "real":
        known = source.variants()
        rule = noise.name if known is None else real_rule(noise, known)
    return NoiseSetting(name=noise.name, rule=rule, **params)


def build_cell(
    *,
    dataset: str,
    noise: str = "clean",
    method: str = "full",
    ratio: float = 0.0,
    seed: int = 0,
    recipe: str | None = None,
    criterion: str = "ce",
    params: Mapping[str, Any] | None = None,
    dataset_params: Mapping[str, Any] | None = None,
    recipe_params: Mapping[str, Any] | None = None,
    criterion_params: Mapping[str, Any] | None = None,
    noise_params: Mapping[str, Any] | None = None,
    content: tuple[Mapping[str, Any], str] | None = None,
    where: str = "run",
    **fields: Any,
) -> Cell:
    """Resolves names and defaults into a full specification.

    Args:
        dataset: ``digits``, ``synthetic``, ``packed:PATH``, ...
        noise: ``clean``, ``symmetric:0.4``, ...
        method: A registered name, ``base+align`` or ``scores:FILE``.
        ratio: Share of training to save.
        seed: Seed of every stream.
        recipe: Recipe name; the data set's own by default.
        criterion: ``ce``, ``sop`` or ``sop+``.
        params: Options of the method; the other ``*_params`` likewise.
        content: Options and content identity of the data set for the key, where they are known;
            asked of the data set else.
        where: Prefix of error lines (a file and entry, say).
        fields: Further fields of ``RunSpec``.

    Raises:
        InputError: One clear line for whatever is wrong.
    """
    source = open_source(dataset, dataset_params or {})
    chosen = get_recipe(recipe or source.recipe)
    info = resolve_method(method)
    loss = CRITERIA.get(criterion)
    options = resolve(info.options, {**info.fixed, **(params or {})}, f"{where}: {info.name}")
    argument = info.target.argument
    paths = {name: options.pop(name) for name in (argument,) if name in options}
    digest, weights = weights_digest(chosen, recipe_params or {}, where)
    options_of_data, identity = content or (source.portable(), source.identity())
    losses = resolve(loss.target.options, criterion_params or {}, f"{where}: {criterion}")
    if info.ratios == "zero" and ratio != 0:
        raise InputError(
            f"{ratio:g} is not accepted",
            where=f"{where}: ratio of {info.name}",
            accepted="0: it trains on everything",
        )
    try:
        spec = RunSpec(
            dataset=Named(
                name=source.name,
                version=str(source.version),
                params=options_of_data,
                identity=identity,
            ),
            noise=noise_setting(noise, source, noise_params or {}),
            method=Named(
                name=info.name,
                version=info.version,
                params=options,
                identity=_digest_of(paths[argument], info.name) if paths else "",
            ),
            criterion=Named(name=criterion, version=str(loss.version), params=losses),
            recipe=Recipe(**{**chosen.model_dump(), **(recipe_params or {}), "weights": digest}),
            ratio=ratio,
            seed=seed,
            **fields,
        )
    except ValidationError as error:
        raise validation_line(error, where) from None
    check_model(spec.recipe)
    return Cell(spec, source.params, paths, weights)


def build_spec(**fields: Any) -> RunSpec:
    """The specification of ``build_cell`` alone."""
    return build_cell(**fields).spec
