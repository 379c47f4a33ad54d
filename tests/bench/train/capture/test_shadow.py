"""Captured steps read weights in bf16 that one call rounds: bits are those of autocast's casts."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunebench.bench.networks.base import flat_size
from prunebench.bench.train.capture import pool
from prunebench.bench.train.capture.pool import CapturedStepPool
from support.captures import Ops, armed, launched
from support.runs import make, same

BF16 = {"precision": "bf16", "epochs": 2}
SMALL = {**BF16, "epochs": 1, "model_params": {"width": 4, "depth": 1}}


@pytest.fixture(autouse=True)
def _own_captures():
    before = pool.use(CapturedStepPool())
    yield
    pool.use(before)


def both(method="full", **fields):
    """A run with captured steps and one of launched operations, trained to their ends."""
    replayed, eager = make(method, **fields), launched(method, **fields)
    replayed.fit()
    eager.fit()
    assert replayed.not_captured_because == ""
    return replayed, eager


def halves(run):
    """Names of the parameters that the network reads in bf16."""
    rounded = run.optimizer.halves
    return {name for name, p in run.model.named_parameters() if p in rounded}


@pytest.mark.parametrize(("method", "criterion", "fields"), [
    ("infobatch", "ce", {"model": "resnet18", "recipe_params": {**SMALL, "optimizer": "lars"}}),
    ("divbs", "ce", {"model": "resnet18", "recipe_params": SMALL}),
    ("infobatch", "sop+", {"recipe_params": BF16}),
    ("full", "ce", {"recipe_params": {**BF16, "optimizer": "adam", "lr": 0.01}}),
    ("full", "ce", {"model": "mlp", "recipe_params": BF16}),
])  # fmt: skip
def test_bits_are_those_of_autocast(method, criterion, fields):
    replayed, eager = both(method, criterion=criterion, **fields)
    layers = dict(replayed.model.named_modules()).items()
    cast = {name for name, layer in layers if isinstance(layer, (nn.Conv2d, nn.Linear))}
    assert halves(replayed) == {
        name for name, _ in replayed.model.named_parameters() if name.rpartition(".")[0] in cast
    }
    assert not eager.optimizer.halves
    assert same(replayed, eager)  # the log with its test accuracies included
    assert torch.equal(replayed.test_logits(), eager.test_logits())


@pytest.mark.parametrize("library", ["densenet", "vit", "convnext", "swin"])
def test_torchvisions_networks_keep_their_bits(library, network):
    models = pytest.importorskip("torchvision.models")
    vision = pytest.importorskip("torchvision.models.swin_transformer")

    def made():
        if library == "densenet":
            return models.DenseNet(4, (2, 1), 8, 2, num_classes=16)
        if library == "vit":
            return models.VisionTransformer(8, 4, 2, 2, 16, 32, num_classes=16)
        if library == "convnext":
            block = models.convnext.CNBlockConfig
            return models.ConvNeXt([block(8, 16, 1), block(16, None, 1)], num_classes=16)
        return vision.SwinTransformer([2, 2], 8, [1, 1], [2, 2], [2, 2], num_classes=16)

    class Body(nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.net = made()

        def forward(self, x):
            size = 8 if library == "vit" else 16
            return self.net(F.interpolate(x.repeat(1, 3, 1, 1), (size, size)))

    replayed, eager = both(model=network(Body), recipe_params={**BF16, "epochs": 1})
    assert len(halves(replayed)) >= 8
    assert same(replayed, eager)


class Reading(nn.Module):
    """Normalises its weight, in single precision."""

    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, flat_size(shape)) / 8)
        self.after = nn.Linear(16, 16)

    def forward(self, x):
        return self.after(F.linear(x.flatten(1), F.normalize(self.weight)).relu())


class Parted(nn.Module):
    """Uses two parts of one weight, each of which is rounded by itself."""

    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, flat_size(shape)) / 8)
        self.after = nn.Linear(16, 16)

    def forward(self, x):
        parts = [F.linear(x.flatten(1), part) for part in self.weight.chunk(2)]
        return self.after(torch.cat(parts, 1).relu())


class Asking(nn.Module):
    """Does something else where its weight is in another type."""

    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, flat_size(shape)) / 8)

    def forward(self, x):
        y = F.linear(x.flatten(1), self.weight)
        return y if self.weight.dtype == torch.float32 else y.tanh()


class WhenScoring(nn.Linear):
    """Reads its weight in single precision in eval mode alone."""

    def __init__(self, shape):
        super().__init__(flat_size(shape), 16)

    def forward(self, x):
        y = super().forward(x.flatten(1))
        return y if self.training else y + self.weight.mean()


@pytest.mark.parametrize(("method", "body", "expected"), [
    ("full", Reading, {"body.after.weight", "body.after.bias", "fc.weight", "fc.bias"}),
    ("full", Parted, {"body.after.weight", "body.after.bias", "fc.weight", "fc.bias"}),
    ("full", Asking, set()),
    ("full", WhenScoring, {"body.weight", "body.bias", "fc.weight", "fc.bias"}),
    ("divbs", WhenScoring, {"body.bias", "fc.weight", "fc.bias"}),
])  # fmt: skip
def test_weights_that_are_read_otherwise_are_left_to_autocast(method, body, expected, network):
    replayed, eager = both(method, model=network(body), recipe_params=BF16)
    assert halves(replayed) == expected
    assert same(replayed, eager)


class Twice(nn.Module):
    """One weight in two layers, one of which is used twice."""

    def __init__(self, shape):
        super().__init__()
        self.first = nn.Linear(flat_size(shape), 16)
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 16)
        self.two.weight = self.one.weight

    def forward(self, x):
        x = self.first(x.flatten(1)).relu()
        return self.two(self.one(self.one(x).relu()).relu())


def test_a_weight_that_layers_share_is_rounded_once(network):
    replayed, eager = both(model=network(Twice), recipe_params=BF16)
    assert "body.one.weight" in halves(replayed)
    body = replayed.model.body
    assert body.one.weight is body.two.weight
    assert same(replayed, eager)


def test_outside_a_step_the_network_has_its_own_weights():
    run = make("full", recipe_params=BF16)
    own = list(run.model.parameters())
    run.fit()
    assert run.optimizer.halves
    now = list(run.model.parameters())
    assert all(p is q for p, q in zip(own, now, strict=True))
    assert all(p.dtype == torch.float32 for p in now)


def test_a_later_run_reads_its_own_weights():
    first = make("full", seed=1, recipe_params=BF16)
    first.fit()
    first.close()
    second = make("full", recipe_params=BF16)
    second.fit()
    assert pool.current().reused == 1
    eager = launched("full", recipe_params=BF16)
    eager.fit()
    assert same(second, eager)


def test_weights_are_rounded_by_one_call_and_full_precision_has_no_others():
    run = armed("full", recipe_params=BF16)
    run.captured_step.step()
    with Ops() as ops:
        run.captured_step.step()
    assert ops.seen["_to_copy"] <= 2  # logits, and their gradient
    assert not armed("full").optimizer.halves


def test_a_network_through_the_compiler_reads_them_too(monkeypatch):
    compiled = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda model, **options: compiled(model, backend="eager", **options)
    )
    fields = {"recipe_params": BF16}
    through = make("infobatch", execution={"compile": True}, **fields)
    through.fit()
    assert through.not_captured_because == ""
    assert through.optimizer.halves
    eager = launched("infobatch", **fields)
    eager.fit()
    assert same(through, eager)
