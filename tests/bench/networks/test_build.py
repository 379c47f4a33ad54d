"""Networks: parameter counts, the split into features and head, options, what is refused."""

import importlib.util
import sys

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from prunebench.bench.networks import build as build_module
from prunebench.bench.networks.base import GROUP_CHANNELS, AveragePool2x2, quadrant_means
from prunebench.bench.networks.build import (
    FeatureNet,
    build_model,
    check_model,
    register_model,
)
from prunebench.bench.spec.recipe import Recipe
from prunebench.errors import InputError
from prunebench.registry import MODELS
from prunebench.rng import Streams

torch.set_num_threads(1)
STREAM = Streams(0, "data", "noise").get("init")
SMALL, LARGE = (3, 32, 32), (3, 224, 224)


def recipe(model, compat=(), **params):
    return Recipe(
        name="try", model=model, model_params=params, epochs=1, batch_size=8, lr=0.1, compat=compat
    )


def build(model, shape=SMALL, classes=10, compat=(), **params):
    return build_model(recipe(model, compat, **params), shape, classes, STREAM)


def on_paper(model, shape=LARGE, classes=1000, **params):
    """Built without memory or arithmetic."""
    with torch.device("meta"):
        return build(model, shape, classes, **params)


def size(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("classes", "count"), [(10, 11_173_962), (100, 11_220_132)])
def test_cifar_resnet_has_the_papers_parameters(classes, count):
    assert size(on_paper("resnet18", SMALL, classes)) == count


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [
        ("imagenet-resnet18", 1000, 11_689_512),
        ("imagenet-resnet34", 1000, 21_797_672),
        ("imagenet-resnet50", 14, 23_536_718),
        ("convnext_tiny", 1000, 28_589_128),
        ("convnext_base", 1000, 88_591_464),
        ("swin_t", 1000, 28_288_354),
        ("swin_b", 1000, 87_768_224),
        ("vit_b_16", 1000, 86_567_656),
    ],
)
def test_torchvision_networks_have_the_published_parameters_and_one_head(name, classes, count):
    model = on_paper(name, classes=classes)
    assert size(model) == count
    features = model.features(torch.empty(2, *LARGE, device="meta"))
    assert features.shape == (2, model.fc.in_features)
    assert model.head(features).shape == (2, classes)


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [
        ("inception_resnet_v2", 50, 54_383_314),
        ("deit_small_patch16_224", 1000, 22_050_664),
        ("deit_base_patch16_224", 1000, 86_567_656),
        ("timm:resnet18", 10, 11_181_642),
    ],
)
def test_timm_networks_have_the_published_parameters_and_one_head(name, classes, count):
    pytest.importorskip("timm", reason="the extra timm is not installed")
    model = on_paper(name, classes=classes)
    assert size(model) == count
    features = model.features(torch.empty(2, *LARGE, device="meta"))
    assert features.shape == (2, model.fc.in_features)
    assert model.head(features).shape == (2, classes)


@pytest.mark.parametrize(("name", "rate"), [("convnext_tiny", 0.1), ("swin_t", 0.2)])
def test_stochastic_depth_rises_as_the_library_has_it(name, rate):
    from torchvision.ops import StochasticDepth

    def rates(**params):
        return [m.p for m in on_paper(name, **params).modules() if isinstance(m, StochasticDepth)]

    assert rates(drop_path=rate) == pytest.approx(rates())
    assert rates(drop_path=0.0) == [0.0] * len(rates())
    assert max(rates(drop_path=0.5)) == 0.5


def test_timm_takes_the_rate_of_stochastic_depth():
    pytest.importorskip("timm", reason="the extra timm is not installed")
    model = on_paper("deit_small_patch16_224", drop_path=0.3)
    assert max(getattr(m, "drop_prob", None) or 0.0 for m in model.modules()) == pytest.approx(0.3)


def test_split_network_computes_what_the_library_computes():
    from torchvision.models import resnet18

    split = build("imagenet-resnet18", classes=7).eval()
    whole = resnet18(num_classes=7).eval()
    body = {k.removeprefix("body."): v for k, v in split.state_dict().items() if "body." in k}
    head = {k: v for k, v in split.state_dict().items() if k.startswith("fc.")}
    whole.load_state_dict({**body, **head})
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(split(x), whole(x))
    assert torch.equal(split.head(split.features(x)), split(x))


def test_cifar_resnet_computes_what_torchvisions_does_with_its_stem_replaced():
    from torchvision.models import resnet18

    ours = build("resnet18").eval()
    theirs = resnet18(num_classes=10).eval()
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    named = {k.removeprefix("body."): v for k, v in ours.state_dict().items()}
    theirs.load_state_dict(named)  # same names and shapes
    x = torch.randn(2, *SMALL)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)
    assert [n for n, _ in theirs.named_parameters()] == [
        n.removeprefix("body.") for n, _ in ours.named_parameters()
    ]


@pytest.mark.parametrize("side", [(1, 1), (1, 4), (2, 3), (7, 7), (8, 8), (14, 9)])
def test_pooling_on_cards_has_the_windows_of_the_adaptive_one(side):
    x = torch.randn(3, 5, *side, dtype=torch.float64, requires_grad=True)
    wanted = nn.functional.adaptive_avg_pool2d(x, 2)
    weights = torch.randn_like(wanted)
    ours = quadrant_means(x)
    torch.testing.assert_close(ours, wanted)
    (of_wanted,) = torch.autograd.grad((wanted * weights).sum(), x)
    (of_ours,) = torch.autograd.grad((ours * weights).sum(), x)
    torch.testing.assert_close(of_ours, of_wanted)


def test_pooling_on_a_cpu_keeps_its_bits():
    x = torch.randn(3, 5, 14, 14)
    pooled = build("cnn").body[-2](x)
    assert torch.equal(pooled, nn.functional.adaptive_avg_pool2d(x, 2))
    assert not torch.equal(pooled, quadrant_means(x))  # why a CPU keeps the other form


#: Nodes of autograd whose backward ``torch.use_deterministic_algorithms`` refuses on a card.
UNDETERMINED = (
    "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "AvgPool3D", "AdaptiveMaxPool", "FractionalMaxPool",
    "MaxUnpool", "UpsampleLinear", "UpsampleBilinear", "UpsampleBicubic", "UpsampleTrilinear",
    "ReflectionPad", "GridSampler", "NllLoss2D", "EmbeddingBag-max", "Kthvalue", "CtcLoss", "Put",
)  # fmt: skip


def nodes(tensor):
    """Names of the autograd nodes behind a tensor; those of embedding bags with their mode."""
    found, left = set(), [tensor.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in found:
            found.add(node)
            left += [before for before, _ in node.next_functions]
    modes = ("sum", "mean", "max")
    return {
        f"EmbeddingBag-{modes[node._saved_mode]}" if "EmbeddingBag" in node.name() else node.name()
        for node in found
    }


def test_every_built_in_network_has_a_deterministic_backward_on_a_card(monkeypatch):
    x = torch.empty(2, 3, 8, 8, requires_grad=True)
    assert "AdaptiveAvgPool2DBackward0" in nodes(build("cnn")(x))  # of the form for CPUs
    monkeypatch.setattr(AveragePool2x2, "forward", lambda self, x: quadrant_means(x))
    timm = importlib.util.find_spec("timm") is not None
    for name in MODELS.names():
        ours = MODELS.get(name).target.__module__.startswith("prunebench.")
        if not ours or (hasattr(MODELS.get(name).target, "timm") and not timm):
            continue
        if "_base" in name or name in ("swin_b", "linear"):  # the same operations, more often
            continue
        shape = {"news-mlp": (4800,), "inception_resnet_v2": (3, 299, 299),
                 "embedding-bag": (50, 9)}.get(name, LARGE)  # fmt: skip
        model = on_paper(name, shape, 10)
        x = torch.empty(2, *shape, device="meta")
        if name == "embedding-bag":
            model, x = build(name, shape, 10, hidden=4), torch.ones(2, 9, dtype=torch.int32)
        found = nodes(model(x))
        assert not [node for node in found if node.startswith(UNDETERMINED)], name
        assert len(found) > 3, name


def test_cifar_resnet_options():
    assert size(build("resnet18", width=8, depth=1)) == 78_002
    narrow = build("resnet18", width=8, depth=1, stem_stride=2)
    assert narrow.body.layer4(narrow.body.layer3(torch.zeros(1, 16, 8, 8))).shape[-1] == 2
    assert narrow.body.conv1(torch.zeros(1, *SMALL)).shape == (1, 8, 16, 16)
    grouped = build("resnet18", width=16, depth=1, norm="group")
    kinds = {type(m) for m in grouped.modules()}
    assert nn.GroupNorm in kinds
    assert nn.BatchNorm2d not in kinds
    assert {m.num_channels // m.num_groups for m in grouped.modules()
            if isinstance(m, nn.GroupNorm)} == {GROUP_CHANNELS}  # fmt: skip


def test_group_norm_treats_every_batch_alike():
    x = torch.randn(6, 1, 8, 8)
    for name, shape in (("cnn", (1, 8, 8)), ("resnet18", (1, 8, 8))):
        model = build(name, shape, width=8, depth=1, norm="group").train()
        torch.testing.assert_close(model(x)[:1], model(x[:1]), rtol=1e-4, atol=1e-5)


def test_official_initialisation_of_convolutions():
    spread = {}
    for init in ("torchvision", "pytorch"):
        conv = build("resnet18", depth=1, init=init).body.layer1[0].conv1
        spread[init] = conv.weight.std().item()
    assert spread["torchvision"] == pytest.approx(0.0589, rel=0.02)
    assert spread["pytorch"] == pytest.approx(0.0241, rel=0.02)


@pytest.mark.parametrize("hidden", [0, 5])
def test_a_bag_of_words_is_the_mean_of_their_vectors(hidden):
    model = build("embedding-bag", (7, 4), 3, width=6, hidden=hidden)
    words = model.body[0]
    x = torch.tensor([[3, 5, 0, 0], [1, 2, 3, 6], [0, 0, 0, 0]], dtype=torch.int32)
    vectors = words.weight.detach()
    assert not vectors[0].any()
    wanted = torch.stack([vectors[[3, 5]].mean(0), vectors[[1, 2, 3, 6]].mean(0), torch.zeros(6)])
    torch.testing.assert_close(words(x), wanted)
    assert model.features(x).shape == (3, hidden or 6)
    model(x).sum().backward()
    touched = words.weight.grad.abs().sum(1) > 0
    assert touched.tolist() == [False, True, True, True, False, True, True]


def test_plain_network_halves_from_the_stride_on():
    shape = (1, 28, 28)
    plain, strided = (build("cnn", shape, width=8, stride=s) for s in (1, 2))
    x = torch.zeros(1, *shape)
    assert plain.body[0](x).shape[-1] == 28
    assert strided.body[0](x).shape[-1] == 14
    assert size(plain) == size(strided)


def test_default_weights_of_the_digits_network_stand():
    model = build("cnn", (1, 8, 8), width=8, depth=2)
    assert list(model.state_dict())[:2] == ["body.0.weight", "body.1.weight"]
    total = sum(v.double().sum().item() for v in model.state_dict().values())
    assert total == pytest.approx(44.89936221749031, abs=1e-6)


def test_news_network_is_the_published_one():
    model = build("news-mlp", (4800,), 7)
    kinds = [type(m).__name__ for m in model.body]
    assert kinds == ["Flatten", *["Linear", "BatchNorm1d", "Softsign"] * 2]
    assert [tuple(p.shape) for p in model.parameters() if p.dim() == 2] == [
        (1200, 4800), (300, 1200), (7, 300)
    ]  # fmt: skip
    assert model.features(torch.randn(5, 4800)).shape == (5, 300)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = build("resnet18", width=8, depth=1), build("resnet18", width=8, depth=1)
    assert torch.equal(before, torch.get_rng_state())
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(("name", "params", "shape"), [
    ("resnet18", {"width": 23, "depth": 1}, (3, 8, 8)), ("embedding-bag", {"width": 23}, (50, 9)),
])  # fmt: skip
def test_counting_parameters_draws_none_of_them(name, params, shape):
    called = []

    class Calls(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            called.append(func.__name__)
            return func(*args, **(kwargs or {}))

    with Calls():  # without values, normal numbers would be drawn by the compiler's help: seconds
        build_module.check_fit(recipe(name, **params), shape, 10)
    assert "empty" in called
    assert "normal_" not in called


@pytest.mark.parametrize(
    ("model", "params", "said"),
    [
        ("resnet18", {"width": 0}, "1 or more"),
        ("resnet18", {"depth": 1.5}, "a whole number"),
        ("resnet18", {"norm": "layer"}, "batch, group"),
        ("cnn", {"strides": 2}, "stride, depth, norm, width"),
        ("news-mlp", {"width": 3}, "none"),
        ("embedding-bag", {"hidden": -1}, "0 or more"),
        ("swin_t", {"drop_path": 1.0}, "less than 1"),
        ("resnet19", {}, "resnet18"),
    ],
)
def test_bad_parameters_are_one_clear_line(model, params, said):
    with pytest.raises(InputError) as error:
        check_model(recipe(model, **params))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "shape", "said"),
    [
        ("cnn", (64,), "channels x height x width"),
        ("resnet18", (64,), "channels x height x width"),
        ("imagenet-resnet18", (1, 28, 28), "3 x height x width"),
        ("cnn", (50, 9), "channels x height x width"),
        ("mlp", (50, 9), "cannot read the words of texts"),
        ("news-mlp", (50, 9), "cannot read the words of texts"),
        ("embedding-bag", (64,), "the words of texts: text:PATH"),
        ("embedding-bag", (1, 8, 8), "cannot read samples of shape 1 x 8 x 8"),
        ("vit_b_16", (3, 30, 30), "squares whose side 16 divides"),
    ],
)
def test_data_a_network_cannot_read_are_one_clear_line(model, shape, said):
    with pytest.raises(InputError, match=said):
        build(model, shape)


@pytest.mark.parametrize("name", ["timm:resnet18", "deit_small_patch16_224"])
def test_without_timm_the_line_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"prunebench\[timm\]"):
        check_model(recipe(name))


def test_timm_names_are_checked():
    pytest.importorskip("timm", reason="the extra timm is not installed")
    with pytest.raises(InputError, match="resnet18"):
        check_model(recipe("timm:resnet_18"))
    check_model(recipe("timm:resnet18", drop_rate=0.1))


def test_a_network_without_one_linear_head_is_refused():
    with pytest.raises(InputError, match="linear layer 'conv'"):
        FeatureNet.around(nn.Sequential(nn.Flatten()), "conv")


def test_third_party_networks_keep_their_own_types():
    def odd(shape, num_classes, *, kernel: "Kernel" = None):  # type: ignore[name-defined]  # noqa: F821
        return FeatureNet(nn.Flatten(), shape[0], num_classes)

    register_model("odd-types")(odd)
    try:
        check_model(recipe("odd-types", kernel="gauss"))
        assert build("odd-types", (4,), kernel="gauss")(torch.zeros(1, 4)).shape == (1, 10)
    finally:
        MODELS._entries.pop("odd-types")
