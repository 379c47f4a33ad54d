"""Built-in recipes; a recipe is a function without arguments that returns one."""

from __future__ import annotations

from collections.abc import Callable

from prunebench.bench.recipe import Recipe
from prunebench.registry import RECIPES


def register_recipe(name: str, *, version: int = 1) -> Callable[[Callable[[], Recipe]], object]:
    """Decorator that registers a function returning a recipe."""
    return RECIPES.register(name, version=version)


def get_recipe(name: str) -> Recipe:
    """Looks a recipe up; its name and version come from the registry.

    Raises:
        UnknownName: No recipe of that name.
    """
    entry = RECIPES.get(name)
    recipe: Recipe = entry.target()
    return recipe.model_copy(update={"name": entry.name, "version": entry.version})


@register_recipe("digits")
def digits() -> Recipe:
    """Handwritten digits, 8 x 8: a small convolutional network, seconds per run on one core."""
    return Recipe(
        name="digits",
        model="cnn",
        model_params={"width": 8, "depth": 2},
        epochs=40,
        batch_size=64,
        lr=0.2,
        weight_decay=5e-4,
        schedule="one_cycle",
        cycle_momentum=False,
    )


@register_recipe("synthetic")
def synthetic() -> Recipe:
    """Generated images: a narrow convolutional network and a short schedule."""
    return Recipe(
        name="synthetic",
        model="cnn",
        model_params={"width": 16, "depth": 3},
        epochs=10,
        batch_size=64,
        lr=0.1,
        schedule="one_cycle",
        cycle_momentum=False,
    )


@register_recipe("packed")
def packed() -> Recipe:
    """Any packed image file: crop and flip, a convolutional network of moderate width."""
    return Recipe(
        name="packed",
        model="cnn",
        model_params={"width": 32, "depth": 3},
        epochs=30,
        batch_size=128,
        lr=0.2,
        schedule="one_cycle",
        cycle_momentum=False,
    )
