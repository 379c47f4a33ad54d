"""Built-in recipes; a recipe is a function without arguments that returns one."""

from __future__ import annotations

from prunebench.bench.spec import recipes_alignprune as _paper
from prunebench.bench.spec import recipes_imagenet as _imagenet
from prunebench.bench.spec.recipe import NEEDED, Recipe, register_recipe
from prunebench.registry import RECIPES

__all__ = ["get_recipe", "register_recipe"]

_REGISTERED = (_imagenet, _paper)


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


@register_recipe("digits-lars")
def digits_lars() -> Recipe:
    """``digits`` under LARS, at a rate at which full training memorises wrong labels."""
    changes = {"name": "digits-lars", "optimizer": "lars", "lr": 8.0}
    return get_recipe("digits").model_copy(update=changes)


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


@register_recipe("vectors")
def vectors() -> Recipe:
    """Vectors of one's own: a multi-layer perceptron with two hidden layers."""
    return Recipe(
        name="vectors",
        model="mlp",
        model_params={"width": 128, "depth": 2},
        epochs=30,
        batch_size=128,
        lr=0.1,
        schedule="one_cycle",
        cycle_momentum=False,
    )


@register_recipe("text")
def text() -> Recipe:
    """Texts of one's own: the mean of learned word vectors and a linear layer."""
    return Recipe(
        name="text",
        model="embedding-bag",
        model_params={"width": 32},
        epochs=20,
        batch_size=64,
        optimizer="adam",
        lr=0.01,
        weight_decay=0.0,
        schedule="one_cycle",
        cycle_momentum=False,
    )


@register_recipe("news-bag")
def news_bag() -> Recipe:
    """Newsgroup posts as bags of words: seconds per run on one core."""
    changes = {"name": "news-bag", "epochs": 10, "batch_size": 128}
    return get_recipe("text").model_copy(update=changes)


@register_recipe("linear-probe")
def linear_probe() -> Recipe:
    """Embeddings: one linear layer on standardised features, close to logistic regression."""
    return Recipe(
        name="linear-probe",
        model="linear",
        epochs=20,
        batch_size=64,
        optimizer="adamw",
        lr=0.02,
        weight_decay=0.1,
        schedule="cosine",
        normalise="train",
    )


@register_recipe("finetune")
def finetune() -> Recipe:
    """Images, from the weights of a file: all layers at a small rate for a few epochs."""
    return Recipe(
        name="finetune",
        model="imagenet-resnet18",
        epochs=5,
        batch_size=32,
        lr=0.005,
        weight_decay=1e-4,
        nesterov=True,
        schedule="cosine",
        lr_warmup=0.1,
        normalise="imagenet",
        weights=NEEDED,
    )


@register_recipe("finetune-head")
def finetune_head() -> Recipe:
    """Images, from the weights of a file: the last layer alone, on the features they give."""
    return Recipe(
        name="finetune-head",
        model="imagenet-resnet18",
        epochs=10,
        batch_size=128,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.01,
        schedule="cosine",
        augment="none",
        normalise="imagenet",
        train="head",
        weights=NEEDED,
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


@register_recipe("memorise")
def memorise() -> Recipe:
    """``cifar-small`` for 60 epochs with shifts of one pixel at most: full training on 5,000
    images fits most wrong labels by its end."""
    changes = {
        "name": "memorise", "epochs": 60, "lr": 0.1, "weight_decay": 1e-4,
        "augment": "crop_flip", "pad": 1, "eval_every": 5, "label_fit": 1000,
    }  # fmt: skip
    return get_recipe("cifar-small").model_copy(update=changes)


@register_recipe("memorise-resnet18", bf16=True)
def memorise_resnet18() -> Recipe:
    """ResNet-18 for 60 epochs with the usual crop and flip: full training on 10,000 images fits
    nearly all wrong labels by its end. For a card."""
    return Recipe(
        name="memorise-resnet18",
        model="resnet18",
        epochs=60,
        batch_size=128,
        lr=0.1,
        schedule="one_cycle",
        cycle_momentum=False,
        augment="crop_flip",
        eval_every=5,
        label_fit=1000,
    )


@register_recipe("memorise-mnist")
def memorise_mnist() -> Recipe:
    """A perceptron on MNIST for 60 epochs: full training on 5,000 images fits all wrong labels."""
    changes = {
        "name": "memorise-mnist", "model": "mlp", "model_params": {"width": 256, "depth": 2},
        "epochs": 60, "lr": 0.05, "weight_decay": 0.0, "eval_every": 5, "label_fit": 1000,
    }  # fmt: skip
    return get_recipe("mnist-small").model_copy(update=changes)


@register_recipe("memorise-news")
def memorise_news() -> Recipe:
    """``news-bag`` for 20 epochs: full training fits all wrong labels."""
    changes = {"name": "memorise-news", "epochs": 20, "eval_every": 2, "label_fit": 1000}
    return get_recipe("news-bag").model_copy(update=changes)


@register_recipe("news-small")
def news_small() -> Recipe:
    """The NEWS recipe in 10 epochs; the tail starts at the same share of the run."""
    changes = {"name": "news-small", "epochs": 10, "drop_last": False}
    return _paper.news().model_copy(update=changes)
