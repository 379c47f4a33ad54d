"""Grid files: TOML in, run specifications out. An error names file, field and accepted values."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from prunebench.bench.grids.controls import missing, row_of
from prunebench.bench.grids.transfer import (
    check_networks,
    check_scoring,
    check_used,
    network_fields,
    parse_transfer,
)
from prunebench.bench.grids.tuned_rows import admit, tuned_rows
from prunebench.bench.results.planned import MOST_CELLS
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.outside import outside_source
from prunebench.bench.runs.resolve import check_label, open_source, resolve_cell
from prunebench.bench.spec.recipe import NEEDED, Scalar
from prunebench.bench.spec.recipes import get_recipe
from prunebench.bench.spec.run_spec import SEEDS, HeldOut
from prunebench.bench.train.task import OUTSIDE
from prunebench.datasets.noise.names import parse_noise
from prunebench.datasets.source import DataSource, identity_of
from prunebench.errors import InputError, nearest
from prunebench.methods.compose import resolve_method
from prunebench.problems import FILE_NAME, FILE_NAME_WORDS, first_problem
from prunebench.record import NONE, OPENSET
from prunebench.untrusted import user_path
from prunebench.userfiles import read_toml

_SEEDS = 'a whole number from 0, a list of them, or a range such as "0..4"'
PRESETS = Path(__file__).parent / "presets"


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def parse_seeds(value: Any) -> Sequence[int]:
    """``3``, ``[0, 1]`` or ``"0..4"`` (both ends included) as seeds; a range stays one, so that a
    file of ranges takes no more memory than its text."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d{1,19})(?:\.\.(\d{1,19}))?", value.strip(), re.ASCII)
        if not match:
            raise ValueError(_SEEDS)
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > MOST_CELLS // 2 or last >= SEEDS:
            raise ValueError(f"a range of 1 to {MOST_CELLS // 2:,} seeds, first to last")
        return range(first, last + 1)
    seeds: list[int] = _as_list(value)
    if not seeds or not all(type(s) is int and 0 <= s < SEEDS for s in seeds):
        raise ValueError(_SEEDS)
    return seeds


Names = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]
Ratios = Annotated[
    list[Annotated[float, Field(ge=0, lt=1, strict=True)]],
    BeforeValidator(_as_list),
    Field(min_length=1),
]
Seeds = Annotated[Sequence[int], PlainValidator(parse_seeds)]
Axis = Scalar | list[Scalar]
Transfer = Annotated[bool | list[dict[str, Any]], PlainValidator(parse_transfer)]


class Block(BaseModel):
    """One product of axes; in a file's ``[[block]]`` it overrides the top level.

    ``params`` holds options by method name; a list of values is an axis of its own. ``tuned`` lists
    pinned files of ``prunebench tune``, each of which gives its method a further row;
    ``transfer = true`` lets them serve what they were not tuned on. ``scoring_recipe`` and
    ``scoring_params`` are the recipe of the scoring runs; a list of networks in ``transfer`` has
    every subset trained with each of them too (``bench.grids.transfer``). ``label`` names the
    rows of a method on boards: a table by method, or one name where a block has one method that
    prunes.
    ``controls`` adds rows beside methods with ``+align``; see ``bench.grids.controls``.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    dataset: Names | None = None
    noise: Names | None = None
    imbalance: Names | None = None
    corrupt: Names | None = None
    method: Names | None = None
    ratio: Ratios | None = None
    seed: Seeds | None = None
    recipe: Names | None = None
    criterion: Names | None = None
    budget: Literal["samples", "paper", "epochs"] | None = None
    budget_share: float | None = Field(None, ge=0, lt=1, strict=True)
    params: dict[str, dict[str, Axis]] | None = None
    dataset_params: dict[str, Scalar] | None = None
    recipe_params: dict[str, Any] | None = None
    criterion_params: dict[str, dict[str, Scalar]] | None = None
    scoring_recipe: str | None = None
    scoring_params: dict[str, Any] | None = None
    noise_params: dict[str, Scalar] | None = None
    corrupt_params: dict[str, Scalar] | None = None
    reference: HeldOut | None = None
    proxy: Literal["shared", "own"] | None = None
    tuned: Names | None = None
    transfer: Transfer | None = None
    label: str | dict[str, str] | None = None
    controls: Literal["reference"] | None = None


class Grid(Block):
    """A grid file.

    ``name`` becomes the results folder's name; ``losses`` lists epochs whose per-sample losses
    are stored (``[]`` for all).
    """

    name: str = Field(pattern=FILE_NAME, description=FILE_NAME_WORDS)
    about: str = ""
    losses: list[Annotated[int, Field(ge=1, strict=True)]] | None = None
    block: list[Block] = Field(default_factory=list)


def read_grid(source: str | Path) -> tuple[Grid, str]:
    """Reads a grid from a TOML file or the name of a built-in one.

    Returns:
        The grid and the file's path, for messages.

    Raises:
        InputError: No such file, malformed TOML, or a field that is not accepted.
    """
    path = user_path(source, "grid")
    if not path.suffix and not path.exists():
        path = PRESETS / f"{source}.toml"
        if not path.is_file():
            known = sorted(p.stem for p in PRESETS.glob("*.toml"))
            raise InputError(
                f"no grid file and no built-in grid {str(source)!r}",
                accepted=f"a .toml file or {nearest(str(source), known)}",
            )
    content = read_toml(path)
    try:
        return Grid.model_validate(content), str(path)
    except ValidationError as error:
        raise first_problem(error, str(path), {"": Grid}) from None


def expand(grid: Grid, where: str, absent: dict[str, str] | None = None) -> list[Cell]:
    """All cells of a grid, each once, in a fixed order.

    Methods that train on everything (``full``) appear once whatever the ratios.

    Args:
        grid: The grid.
        where: Its file, for messages.
        absent: Where given, data sets whose files are not here are noted in it with what is
            missing, and their cells get keys that hold on no machine: good for counting only.

    Raises:
        InputError: A name, option or value that is not accepted, with the file's name.
    """
    cells: dict[str, Cell] = {}
    given = grid.block or [grid]
    split = [_by_recipe(_merge(grid, block)) for block in given]
    blocks = list(itertools.chain(*split))
    for merged in blocks:
        _check_params(merged, where)
    corrupted = any({*(block.corrupt or [])} - {NONE} for block in blocks)
    if not corrupted and any(block.corrupt_params for block in blocks):
        raise InputError("options without a corruption", where=f"{where}: corrupt_params",
                         accepted="with corrupt = KIND:SHARE")  # fmt: skip
    networks = [_by_network(merged, where) for merged in blocks]
    controls = _control_blocks([block for own in networks for block in own])
    if sum(map(_size, [*itertools.chain(*networks), *controls])) > MOST_CELLS:
        raise InputError(
            "the product of the axes is too large", where=where,
            accepted=f"at most {MOST_CELLS:,} cells in a file",
        )  # fmt: skip
    made: list[list[Cell]] = [[] for _ in given]
    places = [place for place, own in enumerate(split) for _ in own]
    for place, own in zip(places, networks, strict=True):
        for cell in _cells(own, where, absent):
            made[place].append(cell)
            old = cells.setdefault(cell.spec.key, cell)
            if cell.label and old.label not in ("", cell.label):
                raise InputError(
                    f"{old.label!r} and {cell.label!r} name one run ({cell.shown})",
                    where=f"{where}: label", accepted="one label per run",
                )  # fmt: skip
            if cell.label:
                cells[cell.spec.key] = replace(old, label=cell.label)
    for block, own_cells in zip([*given, grid], [*made, cells.values()], strict=True):
        _check_scoring_used(block, own_cells, where)
    listed = {row_of(cell) for cell in cells.values()} if controls else set()
    for block in controls:
        for cell in _product(block, where, absent):
            if row_of(cell) not in listed:
                cells.setdefault(cell.spec.key, cell)
    if grid.losses is not None:
        kept = frozenset(grid.losses)
        return [replace(cell, losses=kept) for cell in cells.values()]
    return list(cells.values())


def _by_recipe(block: Block) -> list[Block]:
    """A block as one for each of its recipes."""
    return [block.model_copy(update={"recipe": [name]}) for name in block.recipe or ()] or [block]


def _check_scoring_used(block: Block, cells: Iterable[Cell], where: str) -> None:
    """Refuses networks to transfer to, or a scoring recipe, that a block sets itself and that
    change none of its cells."""
    if isinstance(block.transfer, list):
        check_used(cells, f"{where}: transfer")
    elif block.scoring_recipe or block.scoring_params is not None:
        check_used(cells, f"{where}: scoring_recipe")


def _cells(networks: Sequence[Block], where: str, absent: dict[str, str] | None) -> Iterator[Cell]:
    """The cells of a block, network by network."""
    missing = {name.partition(":")[0] for name in absent or ()}
    for number, one in enumerate(networks):
        cells = list(_product(one, where, absent))
        check = check_networks if number else check_scoring
        check((c for c in cells if c.spec.dataset.name not in missing), where)
        yield from cells


def _by_network(block: Block, where: str) -> list[Block]:
    """A block of one recipe as a block for each network: its own first, then those that it lists
    in ``transfer``, whose scoring runs stay those of its own."""
    own, scoring = block.recipe_params or {}, block.scoring_params
    if scoring is not None and block.scoring_recipe is None:
        scoring = {**own, **scoring}
    whole = block.model_copy(update={"scoring_params": scoring})
    if not isinstance(block.transfer, list):
        return [whole]
    names = [name for dataset in block.dataset or [] if (name := _recipe_of(block, dataset))]
    shared = scoring if block.scoring_recipe or scoring is not None else own
    return [whole, *(
        block.model_copy(update={"recipe_params": fields, "scoring_params": shared})
        for fields in network_fields(block.transfer, own, names, where)
    )]  # fmt: skip


def _recipe_of(block: Block, dataset: str) -> str:
    """Name of the recipe of a block with one at most."""
    if block.recipe:
        return block.recipe[0]
    return open_source(dataset, block.dataset_params or {}).default_recipe()


def _scoring_recipe(block: Block, dataset: str) -> str | None:
    """Name of the recipe of the scoring runs; None where it is each cell's own."""
    if block.scoring_recipe is not None or block.scoring_params is None:
        return block.scoring_recipe
    return _recipe_of(block, dataset)


def added_controls(grid: Grid, cells: Sequence[Cell]) -> dict[str, int]:
    """Cells of the methods that ``controls`` adds to some block, by method."""
    added = _control_blocks([_merge(grid, block) for block in grid.block or [Block()]])
    names = dict.fromkeys(name for block in added for name in block.method or [])
    counts = {name: sum(cell.spec.method.name == name for cell in cells) for name in names}
    return {name: count for name, count in counts.items() if count}


def _control_blocks(blocks: Sequence[Block]) -> list[Block]:
    """The products of the controls: those of the blocks with other methods, at their defaults."""
    plain = {"params": None, "tuned": None, "transfer": None, "label": None, "proxy": None}
    return [
        block.model_copy(update={**plain, "method": names})
        for block in blocks
        if (names := missing(block.controls, block.method or []))
    ]


def _size(block: Block) -> int:
    """Cells of a block at most, counted before any is made."""
    ratios = len(block.ratio or [0.0])
    options = len(block.tuned or []) + sum(
        math.prod(
            len(v) for v in (block.params or {}).get(name, {}).values() if isinstance(v, list)
        )
        for name in block.method or []
    )
    axes = (
        block.dataset, block.criterion, block.noise, block.imbalance, block.corrupt, block.seed,
    )  # fmt: skip
    return ratios * options * math.prod(len(axis) for axis in axes if axis)


def _merge(grid: Grid, block: Block) -> Block:
    values: dict[str, Any] = {}
    for name in Block.model_fields:
        own, top = getattr(block, name), getattr(grid, name)
        both = isinstance(own, dict) and isinstance(top, dict)
        values[name] = {**top, **own} if both else (top if own is None else own)
    return Block.model_construct(**values)


def _labels(block: Block, where: str) -> dict[str, str]:
    """Names of rows by method."""
    named = block.label or {}
    if isinstance(named, str):
        pruning = [name for name in block.method or [] if resolve_method(name).ratios != "zero"]
        if len(pruning) != 1:
            raise InputError(
                f"{named!r} for {len(pruning)} methods", where=f"{where}: label",
                accepted="a table by method: label = { METHOD = NAME }",
            )  # fmt: skip
        named = {pruning[0]: named}
    for name in named:
        if name not in (block.method or []):
            raise InputError(
                f"a label for {name!r}, which is not in 'method'",
                where=f"{where}: label", accepted=", ".join(block.method or []),
            )  # fmt: skip
    return {name: check_label(label, name, where) for name, label in named.items()}


def _check_params(block: Block, where: str) -> None:
    for name in block.params or {}:
        if name not in (block.method or []):
            raise InputError(
                f"options for {name!r}, which is not in 'method'",
                where=f"{where}: params", accepted=", ".join(block.method or []),
            )  # fmt: skip
    for name, options in (block.params or {}).items():
        for option, value in options.items():
            if value == []:
                raise InputError(
                    "an empty list gives no cell", where=f"{where}: params.{name}.{option}",
                    accepted="a value, or a list of values",
                )  # fmt: skip


def _product(block: Block, where: str, absent: dict[str, str] | None) -> Iterator[Cell]:
    for name in ("dataset", "method"):
        if not getattr(block, name):
            raise InputError(f"field {name!r} is missing", where=where)
    axes = itertools.product(
        block.dataset or [], block.criterion or ["ce"], block.noise or ["clean"],
        block.imbalance or [NONE], block.corrupt or [NONE], block.seed or [0],
        block.method or [],
    )  # fmt: skip
    common: dict[str, Any] = {"budget": block.budget or "samples"}
    for name in ("budget_share", "reference", "proxy"):
        if getattr(block, name) is not None:
            common[name] = getattr(block, name)
    recipe = block.recipe[0] if block.recipe else None
    recipe_params = _weights(block.recipe_params, recipe, absent)
    contents = {
        name: _content(name, block.dataset_params or {}, recipe, absent)
        for name in block.dataset or []
    }
    scoring = {name: _scoring_recipe(block, name) for name in block.dataset or []}
    labels = _labels(block, where)
    transfer = block.transfer is True
    beyond = outside_source(_beyond(block.noise_params or {}))
    outside = None if beyond is None else _content_of(beyond, beyond.name, absent)
    openset = any(parse_noise(noise).kind == OPENSET for noise in block.noise or [])
    tuned = tuned_rows(block.tuned or [], block.method or [], transfer, where)
    first: dict[tuple[Any, ...], Cell] = {}
    for dataset, criterion, noise, imbalance, corrupt, seed, method in axes:
        whole = resolve_method(method).ratios == "zero"
        for ratio in [None] if whole or not block.ratio else block.ratio:
            untuned = [(params, None) for params in _options((block.params or {}).get(method, {}))]
            rows = [*untuned, *((p.params, p) for p in tuned.get(method, []))]
            for number, (params, pinned) in enumerate(rows):
                slot = (dataset, criterion, noise, imbalance, corrupt, method, ratio, number)
                if pinned is None and slot in first:
                    cell = first[slot]
                    yield replace(cell, spec=cell.spec.with_seed(seed))
                    continue
                extra = dict(common)
                if whole:
                    extra["budget"], extra["budget_share"] = "samples", None
                cell = resolve_cell(
                    dataset=dataset, noise=noise, imbalance=imbalance, corrupt=corrupt,
                    method=method, ratio=ratio, seed=seed, recipe=recipe, criterion=criterion,
                    params=params,
                    dataset_params=block.dataset_params, recipe_params=recipe_params,
                    criterion_params=(block.criterion_params or {}).get(criterion),
                    noise_params=_noise_params(block, noise, openset),
                    outside_content=outside,
                    corrupt_params=None if corrupt == NONE else block.corrupt_params,
                    scoring_recipe=scoring[dataset],
                    scoring_params=_weights(block.scoring_params, scoring[dataset], absent),
                    content=contents[dataset], label=labels.get(method), where=where,
                    **extra,
                )  # fmt: skip
                first.setdefault(slot, cell)
                yield admit(cell, pinned, transfer, where) if pinned is not None else cell


def _weights(
    given: dict[str, Any] | None, recipe: str | None, absent: dict[str, str] | None
) -> dict[str, Any] | None:
    """The recipe's fields; for counting, a recipe that starts from a file starts without it."""
    if absent is None or recipe is None or "weights" in (given or {}):
        return given
    if get_recipe(recipe).weights != NEEDED:
        return given
    absent[f"recipe {recipe}"] = "recipe_params: weights = FILE, its initial weights"
    return {**(given or {}), "weights": None}


def _content(
    dataset: str, params: dict[str, Scalar], recipe: str | None, absent: dict[str, str] | None
) -> tuple[dict[str, Any], str]:
    """Options and content identity of a data set, read once for all its cells."""
    source = open_source(dataset, params, get_recipe(recipe) if recipe else None)
    return _content_of(source, dataset, absent)


def _content_of(
    source: DataSource, text: str, absent: dict[str, str] | None
) -> tuple[dict[str, Any], str]:
    try:
        return source.portable(), identity_of(source)
    except InputError as error:
        if absent is None:
            raise
        absent[text] = str(error)
        return {k: v for k, v in source.params.items() if k != source.argument}, "absent"


def _beyond(params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Fields that say where open-set noise takes its images from."""
    return {name: value for name, value in params.items() if name.partition(".")[0] == OUTSIDE}


def _noise_params(block: Block, noise: str, openset: bool) -> Mapping[str, Scalar] | None:
    """The fields of one noise: beside open-set noise the others have no ``outside``."""
    params = block.noise_params
    if params is None or not openset or parse_noise(noise).kind == OPENSET:
        return params
    return {name: value for name, value in params.items() if name not in _beyond(params)}


def _options(table: dict[str, Axis]) -> Iterator[dict[str, Scalar]]:
    names = list(table)
    values = [v if isinstance(v, list) else [v] for v in table.values()]
    for chosen in itertools.product(*values):
        yield dict(zip(names, chosen, strict=True))
