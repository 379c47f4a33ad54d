"""Batch normalisation without a counter of batches: who goes on counting, and what still loads."""

import pytest
import torch
from torch import nn

from prunebench.bench.networks import build
from prunebench.bench.networks.batch_norm import split_batch_norm, stop_counting
from prunebench.bench.networks.build import build_model
from prunebench.bench.networks.weights import fit_weights
from prunebench.bench.runs import checkpoint
from prunebench.bench.spec.recipe import Recipe
from prunebench.rng import Streams
from support.captures import Ops
from support.runs import Hooks, make, same

STREAM = Streams(0, "data", "noise").get("init")


class Integers(Ops):
    """Notes operations that write integers in place."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.__name__ == "add_.Tensor" and not args[0].is_floating_point():
            self.seen[func.__name__] += 1
        return func(*args, **(kwargs or {}))


def built(model, compat=(), **params):
    recipe = Recipe(name="x", model=model, model_params=params, epochs=1, batch_size=8, lr=0.1,
                    compat=compat)  # fmt: skip
    return build_model(recipe, (3, 32, 32), 10, STREAM).train()


@pytest.mark.parametrize(
    ("model", "compat"), [("resnet18", ()), ("resnet18", ("bn-split-2",)), ("cnn", ())]
)
def test_networks_that_are_trained_count_no_batches(model, compat):
    network = built(model, compat, width=8)
    assert any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
    with Integers() as counted:
        network(torch.randn(4, 3, 32, 32))
    assert not counted.seen
    assert not any("num_batches_tracked" in name for name in network.state_dict())


def test_the_layer_of_timm_counts_no_batches():
    layers = pytest.importorskip("timm.layers", reason="the extra timm is not installed")
    network = layers.BatchNormAct2d(3)
    stop_counting(network)
    network(torch.randn(4, 3, 2, 2))
    assert "num_batches_tracked" not in network.state_dict()


class Own(nn.BatchNorm2d):
    """A user's layer with a forward pass of its own, which may read the counter."""

    def forward(self, x):
        return super().forward(x)


def test_who_reads_the_counter_goes_on_counting():
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=None), Own(3), nn.BatchNorm2d(3))
    stop_counting(network)
    plain = nn.BatchNorm2d(3, momentum=None)
    for x in torch.randn(3, 8, 3, 2, 2):
        network(x)
        plain(x)
    assert [int(v) for k, v in network.state_dict().items() if "tracked" in k] == [3, 3]
    assert torch.equal(network[0].running_mean, plain.running_mean)


@pytest.mark.parametrize("split", [False, True])
def test_outputs_and_statistics_keep_their_bits(split):
    counting, silent = (nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)) for _ in range(2))
    if split:
        split_batch_norm(counting, "test")
        split_batch_norm(silent, "test")
    stop_counting(silent)
    for x in torch.randn(3, 8, 3, 2, 2):
        assert torch.equal(counting(x), silent(x))
    names = silent.state_dict()
    assert names
    assert all(torch.equal(names[name], counting.state_dict()[name]) for name in names)


def test_state_dicts_load_with_the_counters_and_without():
    counting, silent = nn.Sequential(nn.BatchNorm2d(3)), nn.Sequential(nn.BatchNorm2d(3))
    stop_counting(silent)
    nn.init.uniform_(counting[0].weight)
    silent.load_state_dict(counting.state_dict())
    assert torch.equal(silent[0].weight, counting[0].weight)
    silent.load_state_dict(dict(counting.state_dict()))  # as from a file: without versions
    silent.load_state_dict(dict(silent.state_dict()))
    counting.load_state_dict(dict(silent.state_dict()))
    network = built("cnn")
    whole = {**network.state_dict(), "body.1.num_batches_tracked": torch.tensor(7)}
    fit_weights(network, whole, "test")


def test_a_checkpoint_that_has_the_counters_is_restored(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "stop_counting", lambda model: None)
    earlier = make("full", graph="off", callbacks=[Hooks(epoch_end=lambda run: run.epoch == 2)])
    assert any("num_batches_tracked" in name for name in earlier.model.state_dict())
    with pytest.raises(checkpoint.stopping.Stopped):
        earlier.fit()
    checkpoint.save(earlier, tmp_path, "k")
    monkeypatch.undo()
    resumed, whole = (make("full", graph="off") for _ in range(2))
    assert checkpoint.restore(resumed, tmp_path, "k")
    resumed.fit()
    whole.fit()
    assert same(resumed, whole)
