"""Runs and grids from Python: the same cells, keys and records as the command line's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prunebench.api.own_data import OwnData
from prunebench.api.own_model import Model, OwnModel
from prunebench.api.results import Results, Run, load_results
from prunebench.bench.grids.driver import Report, run_cells
from prunebench.bench.grids.grid_file import Grid, expand, read_grid
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.resolve import check_trainable, resolve_cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.run_spec import HeldOut
from prunebench.errors import InputError
from prunebench.problems import first_problem
from prunebench.record import NONE

#: Arguments of ``run`` that are those of ``resolve_cell``.
_NAMED = {"noise", "imbalance", "corrupt", "ratio", "seed", "params"}
_EXECUTION = {field.name for field in fields(ExecutionOptions)} - {"inline", "workers"}


def run(
    dataset: str | OwnData = "digits",
    *,
    noise: str = "clean",
    imbalance: str = NONE,
    corrupt: str = NONE,
    method: str = "full",
    ratio: float | None = None,
    seed: int = 0,
    recipe: str | Mapping[str, Any] | None = None,
    model: str | Model | None = None,
    head: str | None = None,
    params: Mapping[str, Any] | None = None,
    out: str | Path = "results/run",
    reference_size: int | None = None,
    **given: Any,
) -> Run:
    """Runs one cell, and the scoring run it needs, unless it is recorded.

    Args:
        dataset: A data set's name (``digits``, ``folder:PATH``), or what ``task`` returned.
        noise: ``clean``, ``symmetric:0.4``, ``real``, ...
        imbalance: Class sizes of the training split: ``none``, ``exp:50``, ``step:10``, ...
        corrupt: Corrupted training images: ``none``, ``gaussian-noise:0.3``, ...
        method: A registered name, ``base+align``, ``scores:FILE`` or ``ids:FILE``.
        ratio: Share of training to save; methods that prune need one.
        seed: Of every stream.
        recipe: A registered recipe, or fields of the data set's own (``epochs``, ``lr``, ...).
        model: A registered network, or a function ``(num_classes, in_shape) -> Module``.
        head: Name of the network's last linear layer, where it does not end in it.
        params: Options of the method.
        out: Results folder.
        reference_size: Clean samples held out; min(1000, 7 %) where left out.
        given: Further fields of ``prunebench run``: of the cell (``budget``, ``criterion``,
            ``label``, ``dataset_params``, ``recipe_params``, ``corrupt_params``,
            ``scoring_recipe``: as ``recipe``, for the scoring run of a static method...) and of
            how it is executed (``devices``, ``threads``, ``mlflow``, ``quiet``...).

    Raises:
        InputError: Anything that cannot be run; nothing is recorded.
        FolderError: The results folder cannot be written.
    """
    cell, options = resolve_own(
        dataset, out, noise=noise, imbalance=imbalance, corrupt=corrupt, method=method,
        ratio=ratio, seed=seed, recipe=recipe, model=model, head=head, params=params,
        reference_size=reference_size, **given,
    )  # fmt: skip
    store = Store(Path(out))
    check_trainable(cell)
    report = run_cells([cell], store, options)
    record = store.get(cell.spec.key)
    if record is None:
        raise _lost(report, store)
    return Run(record, store.root)


def resolve_own(
    dataset: str | OwnData,
    out: str | Path,
    *,
    method: str,
    recipe: str | Mapping[str, Any] | None = None,
    model: str | Model | None = None,
    head: str | None = None,
    reference_size: int | None = None,
    **given: Any,
) -> tuple[Cell, ExecutionOptions]:
    """A cell and how it is executed in this process; arguments as of ``run``.

    Data of one's own are written into the results folder.
    """
    folder, own = Path(out), _own_model(model, head)
    named = {name: given.pop(name) for name in _NAMED & given.keys()}
    execution, fields = _sorted(given, "run")
    if reference_size is not None:
        fields["reference"] = HeldOut(size=reference_size)
    chosen, recipe_params = _recipe(recipe, own or model, fields.pop("recipe_params", None))
    scoring = fields.pop("scoring_recipe", None)
    if isinstance(scoring, Mapping):
        fields["scoring_params"] = {**(fields.get("scoring_params") or {}), **scoring}
    else:
        fields["scoring_recipe"] = scoring
    if isinstance(dataset, OwnData):
        Store.open(folder)
        dataset = dataset.write(folder)
    cell = resolve_cell(dataset=dataset, method=method, recipe=chosen, recipe_params=recipe_params,
                        **named, **fields)  # fmt: skip
    return cell, _options(execution, 1, own, folder)


def grid(
    source: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    model: str | Model | None = None,
    head: str | None = None,
    **execution: Any,
) -> Results:
    """Runs every cell of a grid that is not recorded yet; a second call goes on.

    Args:
        source: A grid file, the name of a built-in grid, or a grid's fields (``dataset``,
            ``noise``, ``method``, ``ratio``, ``seed``, ``params``...; ``name`` may be left out).
        out: Results folder; ``results/NAME`` where left out.
        workers: Cells at once; the cores of this machine where left out, 1 for a network that
            other processes cannot import.
        model: As of ``run``, for all cells.
        head: As of ``run``.
        execution: Fields of how cells are executed, as of ``prunebench grid``.

    Returns:
        All runs of the results folder.

    Raises:
        InputError: Anything that cannot be run, or cells that ended without a record.
        FolderError: The results folder cannot be written.
    """
    own = _own_model(model, head)
    loaded, where, data = _grid(source)
    folder = Path(out) if out is not None else Path("results") / loaded.name
    if own is not None or model is not None:
        chosen = own.name if own is not None else model
        params = {**(loaded.recipe_params or {}), "model": chosen, "model_params": {}}
        loaded = loaded.model_copy(update={"recipe_params": params})
    if data is not None:
        loaded = loaded.model_copy(update={"dataset": [data.write(folder)]})
    cells: Sequence[Cell] = expand(loaded, where)
    unknown = sorted(execution.keys() - _EXECUTION)
    if unknown:
        raise InputError(f"unknown field {unknown[0]!r}", where="grid",
                         accepted=", ".join(sorted(_EXECUTION)))  # fmt: skip
    alone = own is not None and bool(own.alone)
    count = workers or (1 if alone else os.cpu_count() or 1)
    report = run_cells(
        cells, Store(folder), _options(execution, count, own, folder), grid=loaded.name
    )
    lost = [o for o in report.outcomes if o.status in ("failed", "killed")
            and Store(folder).get(o.key) is None]  # fmt: skip
    if lost:
        raise _lost(report, Store(folder))
    return load_results(folder)


def _sorted(given: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of execution, and those of the cell."""
    known = {"budget", "criterion", "label", "dataset_params", "recipe_params", "criterion_params",
             "noise_params", "corrupt_params", "budget_share", "proxy", "scoring_recipe",
             "scoring_params"}  # fmt: skip
    unknown = sorted(given.keys() - known - _EXECUTION)
    if unknown:
        raise InputError(f"unknown field {unknown[0]!r}", where=where,
                         accepted=", ".join(sorted(known | _EXECUTION)))  # fmt: skip
    return ({k: v for k, v in given.items() if k in _EXECUTION},
            {k: v for k, v in given.items() if k in known})  # fmt: skip


def _own_model(model: str | Model | None, head: str | None) -> OwnModel | None:
    if model is None or isinstance(model, str):
        if head is not None:
            raise InputError(f"{head!r}", where="head", accepted="with a network of your own")
        return None
    return OwnModel(model, head)


def _recipe(
    recipe: str | Mapping[str, Any] | None,
    model: OwnModel | str | Any,
    params: Mapping[str, Any] | None,
) -> tuple[str | None, dict[str, Any]]:
    fields = {**(params or {}), **(recipe if isinstance(recipe, Mapping) else {})}
    if model is not None:
        name = model.name if isinstance(model, OwnModel) else model
        fields = {"model_params": {}, **fields, "model": name}
    return (recipe if isinstance(recipe, str) else None), fields


def _grid(source: str | Path | Mapping[str, Any]) -> tuple[Grid, str, OwnData | None]:
    if not isinstance(source, Mapping):
        return *read_grid(source), None
    content = {"name": "grid", **source}
    data = content.get("dataset")
    own = data if isinstance(data, OwnData) else None
    if own is not None:
        content["dataset"] = f"arrays:{own.name}"
    try:
        return Grid.model_validate(content), "grid", own
    except ValidationError as error:
        raise first_problem(error, "grid", {"": Grid}) from None


def _options(
    execution: Mapping[str, Any], workers: int, own: OwnModel | None, folder: Path
) -> ExecutionOptions:
    inline = workers == 1 and execution.get("executor", "local") == "local"
    options = ExecutionOptions(**execution, workers=workers, inline=inline)
    if own is not None and not inline:
        options = replace(options, plugins=(*options.plugins, str(own.plugin(folder))))
    return options


def _lost(report: Report, store: Store) -> InputError:
    outcome = next(o for o in report.outcomes if store.get(o.key) is None)
    return InputError(outcome.reason, where=outcome.key)
