"""Recipes of the AlignPrune paper (its Table A), filled up from the loops that it cites."""

from __future__ import annotations

from prunebench.bench.spec.recipe import NEEDED, Recipe, register_recipe


def _cifar(name: str, lr: float, normalise: str) -> Recipe:
    return Recipe.model_validate(
        {
            "name": name,
            "model": "resnet18",
            "model_params": {"init": "pytorch"},
            "epochs": 200,
            "batch_size": 128,
            "optimizer": "lars",
            "lr": lr,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "schedule": "one_cycle",
            "label_smoothing": 0.1,
            "augment": "crop_flip",
            "normalise": normalise,
        }
    )


@register_recipe("cifar100n", bf16=True)
def cifar100n() -> Recipe:
    """CIFAR-100 and CIFAR-100N: Table A; the rest as in the InfoBatch loop."""
    return _cifar("cifar100n", 5.2, "cifar100-official")


@register_recipe("cifar10n", bf16=True)
def cifar10n() -> Recipe:
    """CIFAR-10 and CIFAR-10N: Table A; the rest as in the InfoBatch loop."""
    return _cifar("cifar10n", 5.62, "cifar10")


def _step(name: str, model: str, epochs: int, lr: float, weights: str = "") -> Recipe:
    return Recipe(
        name=name,
        model=model,
        epochs=epochs,
        batch_size=32,
        lr=lr,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        schedule="multi_step",
        milestones=(0.5,),
        gamma=0.1,
        normalise="imagenet",
        weights=weights,
    )


@register_recipe("webvision", bf16=True)
def webvision() -> Recipe:
    """WebVision mini: Table A; momentum as in Prune4ReL's loop."""
    return _step("webvision", "inception_resnet_v2", 100, 0.02)


@register_recipe("clothing1m", bf16=True)
def clothing1m() -> Recipe:
    """Clothing-1M: Table A; momentum as in Prune4ReL's loop. Starts from ImageNet weights, whose
    file is given as ``weights``."""
    return _step("clothing1m", "imagenet-resnet50", 10, 0.002, NEEDED)


def news() -> Recipe:
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
        drop_last=True,
    )


register_recipe("news", bf16=True)(news)
