"""From names to a run: what a user asks for, resolved into a full specification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from prunebench.bench.networks.build import check_model, reads_words
from prunebench.bench.networks.weights import weights_digest
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.outside import Outside, resolve_outside
from prunebench.bench.runs.scoring_runs import reads_evidence
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.spec.recipes import get_recipe
from prunebench.bench.spec.run_spec import (
    CorruptSetting,
    ImbalanceSetting,
    Named,
    NoiseSetting,
    RunSpec,
)
from prunebench.bench.train.task import OUTSIDE, clock_of, load_task
from prunebench.datasets.corrupt.names import parse_corruption
from prunebench.datasets.imbalance import parse_imbalance
from prunebench.datasets.noise.names import parse_noise, real_rule
from prunebench.datasets.noise.rules import ALIASES
from prunebench.datasets.source import DataSource, data_mark, identity_of, named_source
from prunebench.errors import InputError, SkipCell, nearest
from prunebench.leaderboard.board.check_record import LABEL_WORDS, is_label
from prunebench.leaderboard.board.collect import FULL
from prunebench.methods.compose import MethodInfo, resolve_method
from prunebench.methods.precomputed import FromFile
from prunebench.options import Value, of_content, resolve
from prunebench.problems import first_problem
from prunebench.record import NONE, file_digest
from prunebench.registry import CRITERIA, DATASETS
from prunebench.untrusted import user_path

#: What a user's fields become, by the names of those fields.
_MODELS = {
    "": RunSpec, "recipe_params": Recipe, "noise_params": NoiseSetting, "method": Named,
    "corrupt_params": CorruptSetting,
}  # fmt: skip
#: What of a noise setting its name does not say.
_NOISE_FIELDS = ("count", "seed", OUTSIDE)


def open_source(text: str, params: Mapping[str, Any], recipe: Recipe | None = None) -> DataSource:
    """Resolves ``digits`` or ``packed:PATH`` with options.

    Args:
        text: Name and argument.
        params: Options.
        recipe: That its runs have; None for the data set's own. Where its network reads words, a
            data set that can give them does, unless the options say otherwise.

    Raises:
        InputError: Unknown data set or option, or a missing argument.
    """
    given, words = dict(params), DATASETS.get(text.partition(":")[0]).target.as_words
    if recipe is not None and words and reads_words(recipe):
        given = {**words, **given}
    return named_source(text, given)


def _digest_of(path: Any, where: str) -> str:
    if not path or not user_path(str(path), where).is_file():
        raise InputError(f"no such file: {path!r}", where=where, accepted=f"{where}:FILE")
    return file_digest(str(path))


def title_of(source: DataSource) -> str:
    """How boards call a data set that is a user's own: never as they call a registered one."""
    title = " ".join(source.title().split())[:60].strip()
    if not is_label(title):
        return ""
    return f"{source.name}:{title}" if title in DATASETS.names() else title


def check_label(label: str, method: str, where: str) -> str:
    """A name for the rows of a method.

    Raises:
        InputError: It cannot be shown, holds ``@``, is another method's name, or is given to full
            training, which boards look for by its name.
    """
    if not is_label(label):
        raise InputError(f"{label!r}", where=f"{where}: label", accepted=LABEL_WORDS)
    if method == FULL and label != FULL:
        raise InputError(f"{label!r} for full training", where=f"{where}: label",
                         accepted=f"no label: boards find it by the name {FULL!r}")  # fmt: skip
    try:
        other = resolve_method(label.partition(":")[0]).name
    except InputError:
        return label
    if other != resolve_method(method).name:
        raise InputError(f"{label!r} is another method's name", where=f"{where}: label",
                         accepted="a name of its own")  # fmt: skip
    return label


def noise_setting(
    text: str,
    source: DataSource,
    params: Mapping[str, Any],
    dataset: Named,
    outside_content: tuple[Mapping[str, Any], str] | None = None,
) -> tuple[NoiseSetting, Outside]:
    """Resolves the user's noise to the rule it means on a data set.

    Args:
        text: ``symmetric:0.4``, ...
        source: The data set.
        params: ``noise_params``.
        dataset: The data set as the key holds it.
        outside_content: Options and content identity of the one that ``outside`` names, where they
            are known.

    Raises:
        InputError: Unknown kind, a rate out of range, human labels that are not there, or images
            from outside that are not accepted.
    """
    noise = parse_noise(text)
    rule = ALIASES.get(noise.kind, noise.kind)
    if noise.kind == "asymmetric":
        rule = source.asymmetric_rule()
    elif noise.kind == "real":
        known = source.variants()
        rule = noise.name if known is None else real_rule(noise, known)
    beyond = {name: value for name, value in params.items() if name.partition(".")[0] == OUTSIDE}
    own = {name: value for name, value in params.items() if name not in beyond}
    for name in own:
        if name not in _NOISE_FIELDS:
            raise InputError(
                f"unknown field {name!r}", where="noise_params",
                accepted=nearest(name, _NOISE_FIELDS),
            )  # fmt: skip
    # A set's only human labels have one name and one stream, however they are asked for.
    name = rule if noise.kind == "real" else noise.name
    outside = resolve_outside(noise.kind, beyond, dataset, outside_content)
    return NoiseSetting(name=name, rule=rule, outside=outside.setting, **own), outside


def split_settings(
    imbalance: str, corrupt: str, params: Mapping[str, Any], source: DataSource, where: str
) -> tuple[ImbalanceSetting | None, CorruptSetting | None]:
    """Class imbalance and corrupted images of the training split; None for the usual one.

    Raises:
        InputError: An unknown kind, a number out of range, a field that is not accepted, or
            corruption of data that are known to be no images.
    """
    for name in params:
        if name != "severity":
            raise InputError(f"unknown field {name!r}", where=f"{where}: corrupt_params",
                             accepted="severity")  # fmt: skip
    try:
        uneven, damaged = parse_imbalance(imbalance), parse_corruption(corrupt, **params)
    except InputError as error:
        raise InputError(error.what, where=f"{where}: {error.where}",
                         accepted=error.accepted) from None  # fmt: skip
    if damaged is None and params:
        raise InputError("options without a corruption", where=f"{where}: corrupt_params",
                         accepted="with corrupt = KIND:SHARE")  # fmt: skip
    outline = source.outline() if damaged else None
    if damaged and outline is not None and not outline.images:
        raise InputError(f"{damaged.name} of vectors", where=f"{where}: corrupt",
                         accepted=f"{NONE}: {source.name} has no images")  # fmt: skip
    return (
        None if uneven is None else ImbalanceSetting(name=uneven.name),
        None if damaged is None else CorruptSetting(name=damaged.name, severity=damaged.severity),
    )


def resolve_cell(
    *,
    dataset: str,
    noise: str = "clean",
    imbalance: str = NONE,
    corrupt: str = NONE,
    method: str = "full",
    ratio: float | None = 0.0,
    seed: int = 0,
    recipe: str | None = None,
    criterion: str = "ce",
    params: Mapping[str, Any] | None = None,
    dataset_params: Mapping[str, Any] | None = None,
    recipe_params: Mapping[str, Any] | None = None,
    criterion_params: Mapping[str, Any] | None = None,
    noise_params: Mapping[str, Any] | None = None,
    corrupt_params: Mapping[str, Any] | None = None,
    scoring_recipe: str | None = None,
    scoring_params: Mapping[str, Any] | None = None,
    content: tuple[Mapping[str, Any], str] | None = None,
    outside_content: tuple[Mapping[str, Any], str] | None = None,
    label: str | None = None,
    where: str = "run",
    **fields: Any,
) -> Cell:
    """Resolves names and defaults into a full specification.

    Args:
        dataset: ``digits``, ``synthetic``, ``packed:PATH``, ...
        noise: ``clean``, ``symmetric:0.4``, ...
        imbalance: ``none``, ``exp:50``, ``step:10``, ...
        corrupt: ``none``, ``gaussian-noise:0.3``, ...
        method: A registered name, ``base+align``, ``score@sampler`` or ``scores:FILE``.
        ratio: Share of training to save; None where nobody gave one.
        seed: Seed of every stream.
        recipe: Recipe name; the data set's own by default.
        criterion: ``ce``, ``sop`` or ``sop+``.
        params: Options of the method; the other ``*_params`` likewise.
        scoring_recipe: Recipe of the scoring run; ``recipe`` and its fields where there are none.
            Methods without a scoring run take no notice of it.
        scoring_params: Fields of the scoring recipe; without its name, of the recipe itself.
        content: Options and content identity of the data set for the key, where they are known;
            asked of the data set else.
        outside_content: Likewise of the data set that open-set noise takes images from.
        label: Name of the row; None for the method's.
        where: Prefix of error lines (a file and entry, say).
        fields: Further fields of ``RunSpec``.

    Raises:
        InputError: One clear line for whatever is wrong.
    """
    named_recipe = get_recipe(recipe) if recipe else None
    source = open_source(dataset, dataset_params or {}, named_recipe)
    chosen = named_recipe or get_recipe(source.default_recipe())
    info = resolve_method(method)
    loss = CRITERIA.get(criterion)
    options = resolve(info.options, {**info.fixed, **(params or {})}, f"{where}: {info.name}")
    info, options = info.shortest(options)
    argument = info.target.argument
    paths = {name: options.pop(name) for name in (argument,) if name in options}
    digest, weights = weights_digest(chosen, recipe_params or {}, where)
    options_of_data, identity = content or (source.portable(), identity_of(source))
    losses = resolve(loss.target.options, criterion_params or {}, f"{where}: {criterion}")
    if ratio is None:
        ratio = _ratio_left_out(info, str(fields.get("budget", "samples")), where)
    _check_shares(info, options, ratio, where)
    if info.ratios == "zero" and ratio != 0:
        raise InputError(
            f"{ratio:g} is not accepted",
            where=f"{where}: ratio of {info.name}",
            accepted="0: it trains on everything",
        )
    uneven, damaged = split_settings(imbalance, corrupt, corrupt_params or {}, source, where)
    try:
        data = Named(
            name=source.name,
            version=str(source.version),
            params=dict(options_of_data),
            identity=identity,
        )
        labels, outside = noise_setting(noise, source, noise_params or {}, data, outside_content)
        spec = RunSpec(
            dataset=data,
            noise=labels,
            imbalance=uneven,
            corrupt=damaged,
            method=Named(
                name=info.name,
                version=info.version,
                params=of_content(info.options, options),
                identity=_digest_of(paths[argument], info.name) if paths else "",
            ),
            criterion=Named(name=criterion, version=str(loss.version), params=losses),
            recipe=Recipe(**{**chosen.model_dump(), **(recipe_params or {}), "weights": digest}),
            ratio=ratio,
            seed=seed,
            **fields,
        )
    except ValidationError as error:
        raise first_problem(error, where, _MODELS) from None
    check_model(spec.recipe)
    if paths and issubclass(info.target, FromFile):
        info.target.check_data(str(paths[argument]), data_mark(spec.content["dataset"]))
    named = "" if label is None else check_label(label, method, where)
    opened = source.params if outside.opens is None else {**source.params, OUTSIDE: outside.opens}
    cell = Cell(spec, opened, paths, weights, title=title_of(source), label=named)
    if scoring_recipe is None and scoring_params is None:
        return cell
    if scoring_recipe is None:
        scoring_recipe = chosen.name
        scoring_params = {**(recipe_params or {}), **(scoring_params or {})}
    return scored_under(cell, scoring_recipe, scoring_params or {}, where)


def scored_under(cell: Cell, name: str, params: Mapping[str, Any], where: str) -> Cell:
    """A cell whose scoring run has a recipe of its own, where it has a scoring run at all.

    Raises:
        InputError: No such recipe, or fields that it does not take.
    """
    chosen = get_recipe(name)
    digest, weights = weights_digest(chosen, params, where, "scoring_params")
    try:
        recipe = Recipe(**{**chosen.model_dump(), **params, "weights": digest})
    except ValidationError as error:
        raise first_problem(error, where, {"scoring_params": Recipe}) from None
    check_model(recipe)
    if recipe == cell.spec.recipe:
        return cell
    scored = cell.spec.replace(scoring_recipe=recipe)
    if not reads_evidence(cell.pruner(), scored):
        return cell
    return replace(cell, spec=scored, scoring_weights=weights)


def _check_shares(info: MethodInfo, options: Mapping[str, Value], ratio: float, where: str) -> None:
    """Refuses options that stand for more samples than are pruned.

    Raises:
        InputError: One does.
    """
    for name, option in info.options.items():
        value = options.get(name)
        if option.at_most_ratio and isinstance(value, float) and value > ratio:
            raise InputError(
                f"{value:g} is above the share that is pruned",
                where=f"{where}: {info.name}.{name}",
                accepted=f"0 to {ratio:g}" + ", or none" * option.optional,
            )


def _ratio_left_out(info: MethodInfo, budget: str, where: str) -> float:
    """0 for a method that needs no ratio: one that trains on everything, or that has a pruned share
    of its own and epochs as its budget.

    Raises:
        InputError: How much is trained comes from the ratio, and would be everything.
    """
    if info.ratios == "zero" or (budget == "epochs" and not info.zero_is_full):
        return 0.0
    raise InputError(
        f"method {info.name!r} needs a ratio", where=f"{where}: ratio",
        accepted="a share of training to save, such as 0.5, or 0 to train on everything",
    )  # fmt: skip


def build_spec(**fields: Any) -> RunSpec:
    """The specification of ``resolve_cell`` alone."""
    return resolve_cell(**fields).spec


def check_trainable(cell: Cell) -> None:
    """Refuses a run that has nothing to train, before its results folder is made.

    Raises:
        InputError: Its ratio and epochs leave no sample, or its held-out samples do not.
    """
    spec = cell.spec
    try:
        clock_of(spec, cell.pruner(), len(load_task(spec, cell.data).train))
    except SkipCell as skip:
        raise InputError(skip.reason, where="ratio", accepted="a smaller ratio") from None
