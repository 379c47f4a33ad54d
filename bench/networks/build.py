"""Built-in networks. Every network splits into ``features(x)`` and ``head(f)``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

import torch
from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
from torch import nn
from torch.overrides import TorchFunctionMode

from prunebench.bench.networks import news as _news
from prunebench.bench.networks import proxy as _proxy
from prunebench.bench.networks import resnet as _resnet
from prunebench.bench.networks import words as _words
from prunebench.bench.networks.base import (
    AveragePool2x2,
    Builder,
    Depth,
    FeatureNet,
    Network,
    Norm,
    Size,
    flat_size,
    make_norm,
    need_images,
    register_model,
)
from prunebench.bench.networks.batch_norm import split_batch_norm, stop_counting
from prunebench.bench.networks.vision import TIMM, check_timm, timm_builder
from prunebench.bench.spec.recipe import Recipe, Scalar, head_classes
from prunebench.errors import InputError, nearest
from prunebench.problems import first_problem
from prunebench.record import canonical
from prunebench.registry import MODELS
from prunebench.rng import Stream

__all__ = [
    "Builder",
    "FeatureNet",
    "Network",
    "build_model",
    "check_model",
    "cnn",
    "mlp",
    "register_model",
]

#: Weights of 2 GiB in single precision; the largest networks of the papers have a tenth of it.
MOST_PARAMETERS = 2**29

_REGISTERED = (_news, _proxy, _resnet, _words)


@register_model("cnn")
def cnn(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Size = 16,
    depth: Depth = 2,
    stride: Size = 1,
    norm: Norm = "batch",
) -> nn.Module:
    """Plain convolutional network: ``depth`` stages of conv-norm-ReLU, each doubling the width
    and halving the image from the second on, then average pooling to 2 x 2.

    Args:
        shape: (channels, height, width) of one image.
        num_classes: C.
        width: Channels of the first stage.
        depth: Number of stages.
        stride: Of the first stage; 2 halves the image at once.
        norm: ``batch`` or ``group``.
    """
    need_images("cnn", shape)
    layers: list[nn.Module] = []
    channels, out = shape[0], width
    for stage in range(depth):
        step = stride if stage == 0 else 2
        layers += [
            nn.Conv2d(channels, out, 3, stride=step, padding=1, bias=False),
            make_norm(norm, out),
            nn.ReLU(inplace=True),
        ]
        channels, out = out, out * 2
    layers += [AveragePool2x2(), nn.Flatten()]
    return FeatureNet(nn.Sequential(*layers), channels * 4, num_classes)


@register_model("mlp")
def mlp(
    shape: tuple[int, ...], num_classes: int, *, width: Size = 128, depth: Depth = 2
) -> nn.Module:
    """Multi-layer perceptron with ``depth`` hidden layers of ``width`` units; no normalisation."""
    layers: list[nn.Module] = [nn.Flatten()]
    size = flat_size(shape)
    for _ in range(depth):
        layers += [nn.Linear(size, width), nn.ReLU(inplace=True)]
        size = width
    return FeatureNet(nn.Sequential(*layers), size, num_classes)


@register_model("linear")
def linear(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """One linear layer; the features are the samples themselves."""
    return FeatureNet(nn.Flatten(), flat_size(shape), num_classes)


def builder_of(name: str) -> Builder:
    """The builder of a registered network, or of ``timm:NAME``.

    Raises:
        UnknownName: Nothing has that name.
        InputError: timm is missing, or has no such architecture.
    """
    if name.startswith(TIMM):
        check_timm(name.removeprefix(TIMM))
        return timm_builder(name.removeprefix(TIMM))
    builder: Builder = MODELS.get(name).target
    if hasattr(builder, "timm"):
        check_timm(builder.timm)
    return builder


def reads_words(recipe: Recipe) -> bool:
    """Whether a recipe's network reads the words of texts."""
    return bool(getattr(builder_of(recipe.model), "reads_words", False))


def check_model(recipe: Recipe) -> None:
    """Checks that a recipe's network exists and takes its parameters.

    Raises:
        InputError: It does not.
    """
    where = f"recipe {recipe.name}: model_params"
    builder = builder_of(recipe.model)
    fit = (builder, canonical(recipe.model_params))
    if fit in _fitting:
        return
    signature = inspect.signature(builder)
    known = list(signature.parameters)[2:]
    try:
        signature.bind((), 0, **recipe.model_params)
    except TypeError as error:
        unknown = next((name for name in recipe.model_params if name not in known), "")
        raise InputError(
            f"model {recipe.model!r} has no parameter {unknown!r}" if unknown
            else f"model {recipe.model!r}: {error}",
            where=where, accepted=nearest(unknown, known) or "none",
        ) from None  # fmt: skip
    hints = _hints(builder)
    for name, value in recipe.model_params.items():
        try:
            TypeAdapter(hints.get(name, Any)).validate_python(value, strict=True)
        except PydanticSchemaGenerationError:
            continue  # a third party's own type
        except ValidationError as error:
            raise first_problem(error, f"{where}.{name}", {"": hints[name]}) from None
    if len(_fitting) < 1000:  # a grid asks the same for every cell
        _fitting.add(fit)


def filled_params(name: str, params: Mapping[str, Scalar]) -> dict[str, Any]:
    """Parameters of a network with the defaults of those that are left out.

    Raises:
        UnknownName: No such network.
    """
    known = list(inspect.signature(builder_of(name)).parameters.values())[2:]
    defaults = {p.name: p.default for p in known if p.default is not p.empty}
    return {**defaults, **params}


_fitting: set[tuple[Builder, str]] = set()


def _hints(builder: Builder) -> dict[str, Any]:
    try:
        return get_type_hints(builder, include_extras=True)
    except NameError:  # a third party's annotation that only type checkers can resolve
        return {}


def check_fit(recipe: Recipe, shape: tuple[int, ...], num_classes: int) -> None:
    """Builds a network without values: its parameters are counted before memory is taken for one,
    for a line of a grid file may ask for more than any machine has.

    Raises:
        InputError: Too many of them, or data that the network cannot read.
    """
    fit = canonical([recipe.model, recipe.model_params, list(shape), num_classes])
    if fit in _sized:
        return
    where = f"recipe {recipe.name}: model_params"
    accepted = f"a network of at most {MOST_PARAMETERS:,} parameters"
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"), _Undrawn():
                model = builder_of(recipe.model)(shape, num_classes, **recipe.model_params)
            count = sum(parameter.numel() for parameter in model.parameters())
        except InputError:
            raise
        except RuntimeError as error:
            if "overflow" not in str(error):  # a third party's network that cannot be only counted
                return
            raise InputError("more parameters than can be counted", where=where,
                             accepted=accepted) from None  # fmt: skip
        except Exception:  # likewise; if it is wrong, building it says so
            return
    if count > MOST_PARAMETERS:
        raise InputError(f"{count:,} parameters", where=where, accepted=accepted)
    if len(_sized) < 1000:
        _sized.add(fit)


_sized: set[str] = set()


class _Undrawn(TorchFunctionMode):
    """Leaves out normal draws: for tensors without values torch draws them in Python, and imports
    the compiler for it, which takes seconds in every process."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return args[0] if func is torch.Tensor.normal_ else func(*args, **(kwargs or {}))


def freeze_body(model: nn.Module, recipe: Recipe) -> None:
    """Has a network train its head alone, in place.

    Raises:
        InputError: It does not say which part of it is the head.
    """
    if not isinstance(model, FeatureNet):
        raise InputError(
            f"model {recipe.model!r} does not say which of its parameters are the head's",
            where=f"recipe {recipe.name}: train", accepted="all, or a FeatureNet",
        )  # fmt: skip
    model.freeze_body()


def build_model(
    recipe: Recipe, shape: tuple[int, ...], num_classes: int, stream: Stream
) -> nn.Module:
    """Builds the recipe's network with initial weights drawn from a stream.

    Torch's initialisers read the global generator; it is forked and restored around them.

    Raises:
        InputError: Unknown model, or parameters that it does not take.
    """
    builder = builder_of(recipe.model)
    params: dict[str, Scalar] = recipe.model_params
    check_fit(recipe, shape, num_classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream.key & 0x7FFFFFFFFFFFFFFF)
        try:
            model = builder(shape, head_classes(recipe, num_classes), **params)
        except TypeError as error:
            raise InputError(str(error), where=f"recipe {recipe.name}: model_params") from None
    if not hasattr(model, "features") or not hasattr(model, "head"):
        raise InputError(
            f"model {recipe.model!r} lacks features(x) or head(f)", where=f"recipe {recipe.name}"
        )
    if "bn-split-2" in recipe.compat:
        split_batch_norm(model, f"recipe {recipe.name}: compat")
    stop_counting(model)
    return model
