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


@register_recipe("mnist")
def mnist() -> Recipe:
    """MNIST and Fashion-MNIST at full size."""
    return Recipe(
        name="mnist",
        model="cnn",
        model_params={"width": 32, "depth": 3},
        epochs=30,
        batch_size=128,
        lr=0.1,
        schedule="one_cycle",
        cycle_momentum=False,
    )


@register_recipe("mnist-small")
def mnist_small() -> Recipe:
    """28 x 28 images on one core: a narrow network that halves the image at once, 10 epochs."""
    return Recipe(
        name="mnist-small",
        model="cnn",
        model_params={"width": 8, "depth": 2, "stride": 2},
        epochs=10,
        batch_size=128,
        lr=0.2,
        schedule="one_cycle",
        cycle_momentum=False,
    )


@register_recipe("cifar-small")
def cifar_small() -> Recipe:
    """32 x 32 images on one core: a residual network of 10 layers and width 8, 10 epochs."""
    return Recipe(
        name="cifar-small",
        model="resnet18",
        model_params={"width": 8, "depth": 1},
        epochs=10,
        batch_size=128,
        lr=0.2,
        schedule="one_cycle",
        cycle_momentum=False,
    )


@register_recipe("news")
def news_recipe() -> Recipe:
    """20 newsgroups in 7 classes, as in co-teaching+ (bhanML/coteaching_plus, main.py)."""
    return Recipe(
        name="news",
        model="news-mlp",
        epochs=200,
        batch_size=128,
        optimizer="adam",
        lr=1e-3,
        momentum=0.9,
        weight_decay=0.0,
        schedule="linear_tail",
        milestones=(0.4,),
        tail_momentum=0.1,
    )


@register_recipe("news-small")
def news_small() -> Recipe:
    """The NEWS recipe in 10 epochs; the tail starts at the same share of the run."""
    return news_recipe().model_copy(update={"name": "news-small", "epochs": 10})
