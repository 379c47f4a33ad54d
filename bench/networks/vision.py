"""Networks for large images: torchvision's, and timm's where torchvision has none."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from prunebench.bench.networks.base import Builder, FeatureNet, need_images, register_model
from prunebench.errors import InputError, nearest

Share = Annotated[float, Field(ge=0, lt=1)]

#: ``timm:NAME`` builds any of timm's architectures.
TIMM = "timm:"

#: torchvision architecture -> path of its last linear layer, by registered name.
_TORCHVISION = {
    "imagenet-resnet18": ("resnet18", "fc"),
    "imagenet-resnet34": ("resnet34", "fc"),
    "imagenet-resnet50": ("resnet50", "fc"),
    "convnext_tiny": ("convnext_tiny", "classifier.2"),
    "convnext_base": ("convnext_base", "classifier.2"),
    "swin_t": ("swin_t", "head"),
    "swin_b": ("swin_b", "head"),
    "vit_b_16": ("vit_b_16", "heads.head"),
}
_STOCHASTIC_DEPTH = ("convnext", "swin")
_TIMM = ("inception_resnet_v2", "deit_small_patch16_224", "deit_base_patch16_224")


def _torchvision(architecture: str, path: str) -> Builder:
    def whole(shape: tuple[int, ...], num_classes: int) -> nn.Module:
        from torchvision import models

        need_images(architecture, shape, 3)
        size = _image_size(architecture, shape)
        net: nn.Module = getattr(models, architecture)(num_classes=num_classes, **size)
        return net

    def plain(shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Torchvision's network."""
        return FeatureNet.around(whole(shape, num_classes), path)

    def deep(
        shape: tuple[int, ...], num_classes: int, *, drop_path: Share | None = None
    ) -> nn.Module:
        """Torchvision's network; ``drop_path`` is the rate of stochastic depth in its last block,
        None the library's."""
        net = whole(shape, num_classes)
        if drop_path is not None:
            set_stochastic_depth(net, drop_path)
        return FeatureNet.around(net, path)

    return deep if architecture.startswith(_STOCHASTIC_DEPTH) else plain


def set_stochastic_depth(net: nn.Module, rate: float) -> None:
    """Lets the rate of stochastic depth rise in a line from 0 in the first block to ``rate`` in
    the last, in place (torchvision's Swin takes none as an argument)."""
    from torchvision.ops import StochasticDepth

    blocks = [module for module in net.modules() if isinstance(module, StochasticDepth)]
    for place, block in enumerate(blocks):
        block.p = rate * place / (len(blocks) - 1)


def _image_size(architecture: str, shape: tuple[int, ...]) -> dict[str, int]:
    if not architecture.startswith("vit_"):
        return {}
    need_images(architecture, shape, 3)
    if shape[1] != shape[2] or shape[1] % 16:
        raise InputError(
            f"images of {shape[1]} x {shape[2]}",
            where=f"model {architecture}", accepted="squares whose side 16 divides",
        )  # fmt: skip
    return {"image_size": shape[1]}


def need_timm(name: str) -> Any:
    """The library timm.

    Raises:
        InputError: It is not installed.
    """
    if importlib.util.find_spec("timm") is None:
        raise InputError(
            "needs the library timm", where=f"model {name}",
            accepted="pip install 'prunebench[timm]'",
        )  # fmt: skip
    return importlib.import_module("timm")


def timm_builder(name: str) -> Callable[..., nn.Module]:
    """Builder of one of timm's architectures, without its pretrained weights."""

    def build(
        shape: tuple[int, ...],
        num_classes: int,
        *,
        drop_rate: Share = 0.0,
        drop_path: Share = 0.0,
    ) -> nn.Module:
        """timm's network; ``drop_rate`` before the head, ``drop_path`` of stochastic depth."""
        timm = need_timm(name)
        need_images(name, shape)
        more: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
        entry = timm.get_pretrained_cfg(name)
        if entry is not None and entry.fixed_input_size:
            more["img_size"] = tuple(shape[1:])
        net = timm.create_model(
            name, pretrained=False, num_classes=num_classes, in_chans=shape[0],
            drop_rate=drop_rate, **more,
        )  # fmt: skip
        return FeatureNet.around(net, str(net.pretrained_cfg["classifier"]))

    build.timm = name  # type: ignore[attr-defined]
    return build


def check_timm(name: str) -> None:
    """Checks that timm is here and knows an architecture.

    Raises:
        InputError: It is not, or does not.
    """
    timm = need_timm(name)
    if not timm.is_model(name):
        raise InputError(
            f"timm has no model {name!r}", where="model",
            accepted=nearest(name, timm.list_models()),
        )  # fmt: skip


for _name, (_architecture, _path) in _TORCHVISION.items():
    register_model(_name)(_torchvision(_architecture, _path))
for _name in _TIMM:
    register_model(_name)(timm_builder(_name))
