"""ImageNet-1K at 100 epochs, one recipe per architecture of the AlignPrune paper's Table 4.

The paper says "default settings" of each architecture and no more. Rates and decays are those of
the architectures' own papers, rescaled in a line to a batch of 1,024 where theirs is another.
"""

from __future__ import annotations

from prunebench.bench.spec.recipe import Recipe, Scalar, register_recipe


def _residual(model: str) -> Recipe:
    return Recipe(
        name=model,
        model=model,
        epochs=100,
        batch_size=256,
        lr=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        schedule="multi_step",
        milestones=(0.3, 0.6, 0.9),
        augment="resized_crop",
        normalise="imagenet",
    )


def _modern(name: str, model: str, *, lr: float, warmup: float, drop_path: float) -> Recipe:
    params: dict[str, Scalar] = {"drop_path": drop_path}
    return Recipe(
        name=name,
        model=model,
        model_params=params,
        epochs=100,
        batch_size=1024,
        optimizer="adamw",
        lr=lr,
        momentum=0.9,
        weight_decay=0.05,
        schedule="cosine",
        lr_warmup=warmup,
        label_smoothing=0.1,
        augment="resized_crop",
        normalise="imagenet",
        precision="bf16",
    )


@register_recipe("imagenet-resnet18", bf16=True)
def resnet18() -> Recipe:
    """ResNet-18 (He et al. 2016): SGD, three steps."""
    return _residual("imagenet-resnet18")


@register_recipe("imagenet-resnet50", bf16=True)
def resnet50() -> Recipe:
    """ResNet-50 (He et al. 2016): SGD, three steps."""
    return _residual("imagenet-resnet50")


@register_recipe("imagenet", bf16=True)
def imagenet() -> Recipe:
    """The default for ImageNet-1K: ResNet-50."""
    return _residual("imagenet-resnet50").model_copy(update={"name": "imagenet"})


@register_recipe("imagenet-convnext-tiny")
def convnext_tiny() -> Recipe:
    """ConvNeXt-T (Liu et al. 2022): 4e-3 at batch 4,096."""
    return _modern("imagenet-convnext-tiny", "convnext_tiny", lr=1e-3, warmup=0.067, drop_path=0.1)


@register_recipe("imagenet-convnext-base")
def convnext_base() -> Recipe:
    """ConvNeXt-B (Liu et al. 2022): 4e-3 at batch 4,096."""
    return _modern("imagenet-convnext-base", "convnext_base", lr=1e-3, warmup=0.067, drop_path=0.5)


@register_recipe("imagenet-deit-small")
def deit_small() -> Recipe:
    """DeiT-S (Touvron et al. 2021): 5e-4 at batch 512, five epochs of 300 to warm up."""
    return _modern(
        "imagenet-deit-small", "deit_small_patch16_224", lr=1e-3, warmup=0.017, drop_path=0.1
    )


@register_recipe("imagenet-deit-base")
def deit_base() -> Recipe:
    """DeiT-B (Touvron et al. 2021): 5e-4 at batch 512, five epochs of 300 to warm up."""
    return _modern(
        "imagenet-deit-base", "deit_base_patch16_224", lr=1e-3, warmup=0.017, drop_path=0.1
    )


@register_recipe("imagenet-swin-tiny")
def swin_tiny() -> Recipe:
    """Swin-T (Liu et al. 2021): 1e-3 at batch 1,024, 20 epochs of 300 to warm up."""
    return _modern("imagenet-swin-tiny", "swin_t", lr=1e-3, warmup=0.067, drop_path=0.2)


@register_recipe("imagenet-swin-base")
def swin_base() -> Recipe:
    """Swin-B (Liu et al. 2021): 1e-3 at batch 1,024, 20 epochs of 300 to warm up."""
    return _modern("imagenet-swin-base", "swin_b", lr=1e-3, warmup=0.067, drop_path=0.5)
