"""``train = "head"``: the body keeps the bits of its file on every path, and the head learns."""

import pytest
import torch
from api.own_loop import OwnLoop, parameters, to_end
from safetensors.torch import load_file, save_file
from torch import nn

from prunebench.bench.networks.build import build_model, freeze_body, register_model
from prunebench.bench.results.store import Store
from prunebench.bench.runs import checkpoint
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.capture import pool
from prunebench.bench.train.capture.pool import CapturedStepPool
from prunebench.bench.train.step import run_to_end
from prunebench.bench.train.stopping import Stopped
from prunebench.errors import InputError
from prunebench.registry import MODELS
from prunebench.rng import Streams
from support.card_cells import captured_equals_launched
from support.cells import small_cell
from support.processes import together
from support.runs import Hooks, run_all, same, trainer_of

CNN = {"model": "cnn", "model_params": {"width": 4, "depth": 2}}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network trained for an epoch: its batch normalisation has statistics of its own."""
    run = trainer_of(small_cell("full", noise="clean", recipe_params={**CNN, "epochs": 1}))
    run.fit()
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    tensors = {name: value.contiguous() for name, value in run.model.state_dict().items()}
    save_file({n: v for n, v in tensors.items() if not n.startswith("fc.")}, path)
    return str(path)


@pytest.fixture(autouse=True)
def _own_captures():
    before = pool.use(CapturedStepPool())
    yield
    pool.use(before)


def cell_of(weights, method="full", **fields):
    recipe = {**CNN, "epochs": 3, "batch_size": 128, "lr": 0.1, "train": "head",
              "weights": weights, **fields.pop("recipe_params", {})}  # fmt: skip
    return small_cell(method, recipe_params=recipe, **fields)


def make(weights, method="full", graph="off", callbacks=(), **fields):
    cell = cell_of(weights, method, **fields)
    how = ExecutionOptions(graph="rehearse" if graph == "launched" else graph)
    run = trainer_of(cell, weights=weights or "", execution=how, callbacks=callbacks)
    if graph == "launched":  # the steps of a card, one operation at a time
        run.acquire_captured_step = lambda: None
    return run


def check_body(run, weights):
    for name, value in load_file(weights).items():
        assert torch.equal(run.model.state_dict()[name], value), name


@pytest.mark.parametrize(("method", "recipe"), [
    ("full", {}), ("infobatch", {"precision": "bf16"}), ("divbs", {"optimizer": "adamw"}),
    ("ies", {"optimizer": "lars", "augment": "crop_flip"}),
    ("full", {"compat": ["bn-split-2"], "augment": "crop_flip"}),
])  # fmt: skip
def test_the_head_alone_is_trained_launched_and_captured(method, recipe, weights):
    launched, captured = (
        make(weights, method, graph, recipe_params=recipe) for graph in ("launched", "rehearse")
    )
    head = [p.shape for p in launched.model.fc.parameters()]
    before = launched.model.fc.weight.detach().clone()
    launched.fit()
    assert [p.shape for group in launched.optimizer.param_groups for p in group["params"]] == head
    assert len(launched.optimizer.state) <= 2
    assert all(p.grad is None for p in launched.model.body.parameters())
    assert not torch.equal(launched.model.fc.weight, before)
    check_body(launched, weights)
    captured.fit()
    assert captured.not_captured_because == ""
    check_body(captured, weights)
    assert captured.model.body.training is False
    assert same(launched, captured)
    plain = make(weights, method, recipe_params=recipe)
    plain.fit()
    check_body(plain, weights)
    assert len(plain.optimizer.state) <= 2


def test_a_learning_head_beats_chance(weights):
    run = make(weights, noise="clean", recipe_params={"epochs": 6})
    run.fit()
    assert run.test_accuracy() > 0.6


def test_a_captured_step_serves_frozen_and_whole_training_apart(weights):
    frozen = make(weights, graph="rehearse")
    whole = make(weights, graph="rehearse", recipe_params={"train": "all"})
    assert pool.capture_key(frozen) != pool.capture_key(whole)
    frozen.fit()
    frozen.close()
    other = make(weights, graph="rehearse", seed=1)
    other.fit()
    assert (pool.current().recorded, pool.current().reused) == (1, 1)
    alone = make(weights, graph="launched", seed=1)
    alone.fit()
    assert same(other, alone)


def test_interleaved_runs_give_the_bits_of_single_ones(weights):
    def steps(seed):
        run = make(weights, "infobatch", "rehearse", seed=seed)
        yield from run.steps()
        return run

    interleaved = run_all([lambda s=seed: steps(s) for seed in (0, 1)], torch.device("cpu"), 2)
    for seed, run in enumerate(interleaved):
        single = make(weights, "infobatch", "launched", seed=seed)
        run_to_end(single.steps())
        assert same(run, single)


def test_a_resumed_run_is_the_whole_run(weights, tmp_path):
    whole = make(weights, "infobatch", recipe_params={"optimizer": "adam"})
    whole.fit()
    broken = make(weights, "infobatch", recipe_params={"optimizer": "adam"},
                  callbacks=[Hooks(step_end=lambda run: run.epoch == 1)])  # fmt: skip
    with pytest.raises(Stopped):
        broken.fit()
    checkpoint.save(broken, tmp_path, "k")
    resumed = make(weights, "infobatch", recipe_params={"optimizer": "adam"})
    assert checkpoint.restore(resumed, tmp_path, "k")
    resumed.fit()
    assert same(whole, resumed)


def test_several_processes_keep_the_body(weights):
    def body(world):
        run = make(weights, noise="clean")
        run.fit()
        check_body(run, weights)
        return run.model.fc.weight.detach().clone()

    alone = make(weights, noise="clean")
    alone.fit()
    for found in together(body, 3):
        assert torch.allclose(found, alone.model.fc.weight, atol=1e-4)


@pytest.mark.parametrize("method", ["infobatch", "divbs"])
def test_a_loop_of_one_s_own_with_a_frozen_network_is_the_run(method):
    recipe = {"batch_size": 64, "augment": "none", "cycle_momentum": False}
    run = make(None, method, recipe_params=recipe)
    loop = OwnLoop(run, method)
    loop.model.freeze_body()
    run.fit()
    to_end(loop)
    own, whole = parameters(loop.model), parameters(run.model)
    assert all(torch.equal(own[name], whole[name]) for name in whole)


def test_on_a_card(weights, tmp_path):
    captured_equals_launched(tmp_path, method="divbs", recipe_params={"train": "head"})


STATIC = ("grand", "craig", "glister", "gradmatch", "moderate", "gm-matching", "rho-loss")


@pytest.mark.parametrize("method", STATIC)
def test_methods_that_read_gradients_or_features(method, weights, tmp_path):
    """Gradients are those of the last layer, which is trained."""
    params = {"features": "snapshot"} if method == "gm-matching" else {}
    cell = cell_of(weights, method, params=params, recipe_params={"epochs": 2})
    record, _ = run_cell(cell, Store.open(tmp_path), ExecutionOptions())
    assert record.status == "done", record.reason


def test_scores_read_the_features_of_the_weights(weights):
    run = make(weights, noise="clean")
    ids = run.sample_ids[:20]

    def features():
        return run.forward(
            run.inputs, lambda ids: run.inputs.unaugmented_batches(ids).batch, ids, features=True
        )[1]  # fmt: skip

    before = features()
    run.fit()
    assert torch.equal(features(), before)


def test_a_network_that_names_no_head_is_refused(weights):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def features(self, x):
            return x.flatten(1)

        def head(self, f):
            return self.layer(f)

    register_model("plain")(lambda shape, num_classes: Plain())
    try:
        recipe = cell_of(weights, recipe_params={"model": "plain", "model_params": {}}).spec.recipe
        model = build_model(recipe, (1, 8, 8), 10, Streams(0, "d", "n").get("init"))
        with pytest.raises(InputError, match="accepted: all, or a FeatureNet"):
            freeze_body(model, recipe)
    finally:
        MODELS._entries.pop("plain", None)
