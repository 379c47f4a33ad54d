"""Repeating a recorded run and saying what differs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prunebench.bench.results.plugin_sources import plugin_files
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.outside import recorded_outside
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.spec.recipes import get_recipe
from prunebench.bench.spec.run_spec import RunSpec, Validation
from prunebench.bench.train.task import OUTSIDE, own_options
from prunebench.datasets.source import DataSource, identity_of
from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import OTHER_COLUMNS
from prunebench.leaderboard.board.mixed_sources import FIELD
from prunebench.methods.compose import resolve_method
from prunebench.options import resolve
from prunebench.problems import first_problem
from prunebench.record import DATA_NAME, USUAL_SEVERITY, Record, file_digest
from prunebench.registry import CRITERIA, DATASETS

_SIZES = {"original_train_size", "original_test_size"}
#: Fields of a specification that `run` has no flag for, with what it sets them to.
_WITHOUT_FLAG: dict[str, Any] = {
    "budget_share": None,
    "validation": Validation().model_dump(mode="json"),
    "proxy": "shared",
    "replica": 0,
    "role": "eval",
}


def recorded_cell(
    record: Record,
    data: Mapping[str, Any],
    file: str | None = None,
    weights: str | None = None,
    scoring_weights: str | None = None,
) -> Cell:
    """The cell of a record, with the data set opened on this machine.

    Args:
        record: The record.
        data: Options that the key leaves out (paths).
        file: The file of a method that reads one (``scores:FILE``).
        weights: The file of the initial weights, where the recipe names some.
        scoring_weights: Likewise of the scoring run's recipe.

    Raises:
        InputError: A spec of another version, a path that is missing, or other data.
    """
    spec, opened = recorded_data(record, data)
    start = scoring_start = ""
    if spec.recipe.weights:
        start = _same_file(weights, spec.recipe.weights, "its initial weights", "--weights")
    if spec.scoring_recipe is not None and spec.scoring_recipe.weights:
        digest, what = spec.scoring_recipe.weights, "the initial weights of its scoring run"
        scoring_start = _same_file(scoring_weights, digest, what, "--scoring-weights")
    argument = resolve_method(spec.method.name).target.argument
    # A repeat must store the same losses to leave the same artifacts.
    losses = frozenset[int]() if "losses.npz" in record.artifacts else None
    title = str(record.info.get(DATA_NAME, ""))
    cell = Cell(
        spec, opened, weights=start, scoring_weights=scoring_start, title=title,
        losses=losses,
    )  # fmt: skip
    if not argument:
        return cell
    what = f"the {argument} of method {spec.method.name!r}"
    found = _same_file(file, spec.method.identity, what, "--method-file")
    return replace(cell, method_params={argument: found})


def recorded_data(record: Record, data: Mapping[str, Any]) -> tuple[RunSpec, dict[str, Any]]:
    """The specification of a record, and ``Cell.data`` on this machine.

    Raises:
        InputError: As ``recorded_source``, also of the data set that images from outside are of.
    """
    spec, source = recorded_source(record, own_options(data))
    given = {name: value for name, value in data.items() if name.partition(".")[0] == OUTSIDE}
    opens = recorded_outside(spec.noise.outside, given)
    return spec, {**source.params, **({} if opens is None else {OUTSIDE: opens})}


def recorded_source(record: Record, data: Mapping[str, Any]) -> tuple[RunSpec, DataSource]:
    """The specification of a record, and its data set opened on this machine.

    Raises:
        InputError: A spec of another version, a path that is missing, or other data.
    """
    try:
        spec = RunSpec.model_validate(record.spec)
    except ValidationError as error:
        raise first_problem(error, f"record {record.key}", {"": RunSpec}) from None
    source_class: type[DataSource] = DATASETS.get(spec.dataset.name).target
    if source_class.lacks_argument(data):
        raise InputError(
            f"data set {spec.dataset.name!r} needs its {source_class.argument}",
            where="--dataset-param",
            accepted=f"{source_class.argument}=...",
        )
    source = source_class(**{**spec.dataset.params, **data})
    if identity_of(source) != spec.dataset.identity:
        raise InputError("these are other data than the record's", where=spec.dataset.name)
    return spec, source


def _same_file(file: str | None, digest: str, what: str, flag: str) -> str:
    if file is None or not Path(file).is_file():
        raise InputError(
            f"the record needs {what}",
            where=flag,
            accepted="the file that the record was made with",
        )
    if file_digest(file) != digest:
        raise InputError("not the file that the record was made with", where=file)
    return file


def command_of(record: Record, plugins: Sequence[str] = ()) -> str | None:
    """The command line that gives the record's run, options spelled out.

    Paths are in no record; ``PATH`` or ``FILE`` takes their place.

    Args:
        record: The record.
        plugins: ``--plugin`` files that are loaded; those that the run uses are named.

    Returns:
        None for a run that takes a grid file (a validation split, say).
    """
    spec = record.spec
    noise, reference, criterion = spec["noise"], spec["reference"], spec["criterion"]
    defaults = resolve(CRITERIA.get(criterion["name"]).target.options, {}, criterion["name"])
    has_flags = (
        all(spec[name] == value for name, value in _WITHOUT_FLAG.items())
        and "tuned" not in spec
        and reference["mode"] == "held_out"
        and criterion["params"] == defaults
    )
    if not has_flags:
        return None
    flags = [word for path in plugin_files(spec, plugins) for word in ("--plugin", path)]
    words = ["prunebench", *flags, "run", "--dataset"]
    words += [_named(spec["dataset"]["name"], DATASETS.get(spec["dataset"]["name"]).target)]
    words += ["--noise", noise["name"]]
    for name in ("imbalance", "corrupt"):
        if name in spec:
            words += [f"--{name}", spec[name]["name"]]
    words += ["--method"]
    words += [_named(spec["method"]["name"], resolve_method(spec["method"]["name"]).target)]
    words += ["--ratio", _text(spec["ratio"]), "--seed", _text(spec["seed"])]
    words += ["--recipe", spec["recipe"]["name"], "--criterion", criterion["name"]]
    words += ["--budget", spec["budget"]]
    changed = _changed(spec["recipe"])
    scoring = spec.get("scoring_recipe")
    if scoring is not None:
        words += ["--scoring-recipe", scoring["name"]]
    for flag, values in (
        ("--param", spec["method"]["params"]),
        ("--recipe-param", changed),
        ("--scoring-param", {} if scoring is None else _changed(scoring)),
        ("--dataset-param", spec["dataset"]["params"]),
        ("--corrupt-param", _severity(spec.get("corrupt"))),
        ("--noise-param", _noise_params(noise)),
    ):
        for name, value in sorted(values.items()):
            words += [flag, f"{name}={_text(value)}"]
    if reference["size"] is not None:
        words += ["--reference-size", _text(reference["size"])]
    if record.info.get("label"):
        words += ["--label", str(record.info["label"])]
    return shlex.join(words)


def _noise_params(noise: Mapping[str, Any]) -> dict[str, Any]:
    """What of a noise setting its name does not say, where it is not the default."""
    found = {} if noise["count"] == "exact_per_class" else {"count": noise["count"]}
    if noise["seed"] is not None:
        found["seed"] = noise["seed"]
    outside = noise.get("outside")
    if isinstance(outside, Mapping):
        target = DATASETS.get(outside["name"]).target
        found[OUTSIDE] = _named(outside["name"], target)
        found |= {f"{OUTSIDE}.{name}": value for name, value in outside["params"].items()}
    elif outside:
        found[OUTSIDE] = outside
    return found


def _severity(corrupt: Mapping[str, Any] | None) -> dict[str, Any]:
    """The severity of a corruption, where it is not the usual."""
    if corrupt is None or corrupt["severity"] == USUAL_SEVERITY:
        return {}
    return {"severity": corrupt["severity"]}


def _changed(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a recorded recipe that differ from the recipe of that name."""
    recipe = Recipe.model_validate(recorded)
    named = get_recipe(recipe.name)
    changed = {
        name: getattr(recipe, name)
        for name in type(recipe).model_fields
        if getattr(recipe, name) != getattr(named, name)
    }
    if "weights" in changed:
        changed["weights"] = "FILE" if recipe.weights else None
    return changed


def _named(name: str, target: Any) -> str:
    return f"{name}:{target.argument.upper()}" if target.argument else name


def _text(value: Any) -> str:
    """A value as the command line reads it back."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return json.dumps(value) if value.lower() == "none" else value
    return json.dumps(value)


def compare_records(old: Record, new: Record, plugins: Sequence[str] = ()) -> dict[str, Any]:
    """What differs between two runs of one spec, figures and artifacts; times are left out.

    Args:
        old: The record that was repeated.
        new: That of the repeat.
        plugins: ``--plugin`` files that are loaded.
    """
    lines: list[str] = []
    if old.status != new.status:
        lines.append(f"status: {old.status} -> {new.status}")
    one_set = old.info.get("metrics") == new.info.get("metrics")
    metrics = old.metrics.keys() | new.metrics.keys()
    for name in sorted(metrics if one_set else old.metrics.keys() & new.metrics.keys()):
        a, b = old.metrics.get(name), new.metrics.get(name)
        if a != b:
            lines.append(f"{name}: {a} -> {b}")
    for name in sorted(old.ledger.keys() | new.ledger.keys()):
        if old.ledger.get(name) != new.ledger.get(name):
            lines.append(f"ledger.{name}: {old.ledger.get(name)} -> {new.ledger.get(name)}")
    tables = set() if one_set else OTHER_COLUMNS
    for name in sorted((old.artifacts.keys() & new.artifacts.keys()) - tables):
        if name.endswith(".npz") and _SIZES & old.info.keys() != _SIZES & new.info.keys():
            continue  # the same samples under other ids, see ``execute.run_info``
        if old.artifacts[name]["sha256"] != new.artifacts[name]["sha256"]:
            lines.append(f"artifact {name} differs")
    for name in ("device_class", "threads", "torch", "code", FIELD):
        if lines and old.environment.get(name) != new.environment.get(name):
            a, b = old.environment.get(name), new.environment.get(name)
            lines.append(f"environment.{name}: {a} -> {b}")
    return {
        "key": old.key,
        "identical": not lines,
        "differences": lines,
        "command": command_of(old, plugins),
    }
