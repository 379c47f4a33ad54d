"""Transfer: subsets that one network's scoring run chooses are trained with further networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from prunebench.bench.networks.build import check_fit, check_model, filled_params
from prunebench.bench.runs.cell import Cell
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.spec.recipes import get_recipe
from prunebench.bench.train.task import load_raw, own_options
from prunebench.datasets.source import Outline, RawData
from prunebench.errors import InputError
from prunebench.problems import first_problem
from prunebench.record import canonical
from prunebench.registry import DATASETS

_OWN = "the recipe's own"
_WORDS = 'true, false, or a list of networks: "cnn", or { model = "cnn", epochs = 5 }'


def parse_transfer(value: Any) -> bool | list[dict[str, Any]]:
    """``true``, ``false``, or networks; each becomes a table of recipe fields."""
    if isinstance(value, bool):
        return value
    listed = value if isinstance(value, list) else [value]
    networks = [{"model": entry} if isinstance(entry, str) else entry for entry in listed]
    fine = [
        isinstance(entry, dict)
        and isinstance(entry.get("model"), str)
        and isinstance(entry.get("model_params", {}), dict)
        and not entry.keys() & {"name", "version"}
        for entry in networks
    ]
    if not networks or not all(fine):
        raise ValueError(_WORDS)
    return networks


def network_fields(
    networks: Sequence[Mapping[str, Any]],
    own: Mapping[str, Any],
    recipes: Sequence[str],
    where: str,
) -> list[dict[str, Any]]:
    """Fields of the recipe under each listed network.

    Args:
        networks: As ``parse_transfer`` gives them.
        own: Fields that the block sets for its recipe; its initial weights fit its network alone.
        recipes: Names of the recipe, or of those of the data sets.
        where: The grid file.

    Raises:
        InputError: An unknown network, one that is listed twice, the recipe's own, or one without
            weights where the recipe trains the head alone.
    """
    found, seen = [], dict.fromkeys(_trained_as(recipes, own, where, "recipe_params"), _OWN)
    heads = any({"train": get_recipe(name).train, **own}["train"] == "head" for name in recipes)
    for network in networks:
        if not network.get("weights") and "train" not in network and heads:
            raise InputError(
                f"{network['model']!r} has no weights, and the recipe trains the head alone",
                where=f"{where}: transfer", accepted='weights = FILE or train = "all" in its entry',
            )  # fmt: skip
        fields = {**own, "model_params": {}, "weights": None, **network}
        texts = _trained_as(recipes, fields, where, "transfer")
        said = next((seen[text] for text in texts if text in seen), "")
        if said:
            raise InputError(
                f"{network['model']!r} is {said}", where=f"{where}: transfer",
                accepted="each network once, besides that of the recipe",
            )  # fmt: skip
        seen |= dict.fromkeys(texts, "listed twice")
        found.append(fields)
    return found


def _trained_as(
    recipes: Sequence[str], fields: Mapping[str, Any], where: str, field: str
) -> list[str]:
    """What fields make of each recipe, defaults of the network's parameters filled in.

    Raises:
        InputError: Fields that a recipe does not take, or a network that there is not.
    """
    found = []
    for name in recipes:
        others = {part: value for part, value in fields.items() if part != "weights"}
        try:
            recipe = Recipe(**{**get_recipe(name).model_dump(), **others, "weights": ""})
            check_model(recipe)
        except ValidationError as error:
            raise first_problem(error, where, {field: Recipe}) from None
        except InputError as error:
            raise InputError(
                error.what, where=f"{where}: {field}", accepted=error.accepted
            ) from None
        params = filled_params(recipe.model, recipe.model_params)
        text = canonical({**recipe.model_dump(mode="json"), "model_params": params})
        found.append(f"{text} {fields.get('weights') or ''}")
    return found


def check_used(cells: Iterable[Cell], where: str) -> None:
    """Refuses a scoring recipe, or networks to transfer to, that change no cell.

    Args:
        cells: Of a block or of the whole file, under all networks.
        where: The field of the grid file.

    Raises:
        InputError: No method reads evidence of another recipe.
    """
    if all(cell.spec.scoring_recipe is None for cell in cells):
        raise InputError(
            "no method here is chosen by a scoring run under another recipe", where=where,
            accepted="with a static method that reads evidence, such as dual or el2n",
        )  # fmt: skip


def check_networks(cells: Iterable[Cell], where: str) -> None:
    """Refuses networks to transfer to that cannot read the data.

    Args:
        cells: Of one network, those whose data are here.
        where: The grid file.

    Raises:
        InputError: One cannot.
    """
    _check_fits(((cell, cell.spec.recipe) for cell in cells), f"{where}: transfer")


def check_scoring(cells: Iterable[Cell], where: str) -> None:
    """Refuses a scoring recipe whose network cannot read the data.

    Args:
        cells: Of the recipe's own network, those whose data are here.
        where: The grid file.

    Raises:
        InputError: It cannot.
    """
    shared = (cell for cell in cells if cell.spec.proxy == "shared")  # others may replace it
    scored = ((cell, cell.spec.scoring_recipe) for cell in shared)
    _check_fits(
        ((cell, recipe) for cell, recipe in scored if recipe is not None),
        f"{where}: scoring_recipe",
    )


def _check_fits(networks: Iterable[tuple[Cell, Recipe]], where: str) -> None:
    """``check_fit`` of recipes to the data of cells, each pair once."""
    checked = set()
    for cell, recipe in networks:
        name, data = cell.spec.dataset.name, own_options(cell.data)
        slot = canonical([name, data, recipe.model_dump(mode="json")])
        if slot in checked:
            continue
        checked.add(slot)
        seen: Outline | RawData = DATASETS.get(name).target(**data).outline() or load_raw(
            name, data
        )
        shape = seen.shape if isinstance(seen, Outline) else seen.input_shape
        classes = seen.classes if isinstance(seen, Outline) else seen.num_classes
        try:
            check_fit(recipe, shape, classes)
        except InputError as error:
            raise InputError(
                f"{error.what} (data set {name!r})", where=where, accepted=error.accepted
            ) from None
