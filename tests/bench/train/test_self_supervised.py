"""Training an encoder: the bits of a plain loop, in every form and among others."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunebench.bench.inputs.streaming import open_inputs
from prunebench.bench.inputs.strong import strong_view
from prunebench.bench.networks.base import FeatureNet, flat_size
from prunebench.bench.networks.build import build_model, register_model
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.evaluate import forward_all
from prunebench.bench.train.optimizers import EagerAdam
from prunebench.bench.train.schedules import one_cycle
from prunebench.bench.train.self_supervised import LR, PROJECTION, Encoder, nt_xent
from prunebench.bench.train.step import StepGenerator, run_to_end
from prunebench.bench.train.task import load_task
from prunebench.bench.train.trainer import guarded
from prunebench.datasets.source import RawData
from prunebench.registry import MODELS
from prunebench.rng import Streams
from support.runs import everything, make, run_all

CPU = torch.device("cpu")
STREAMS = Streams(0, "d", "n")
DATA = {"n": 200, "test": 20, "classes": 4, "superclasses": 1, "size": 8}
SMALL = {"epochs": 3, "model": "cnn", "model_params": {"width": 4, "depth": 2},
         "augment": "crop_flip"}  # fmt: skip


@pytest.fixture(scope="module")
def forgetful() -> Iterator[str]:
    """A network with dropout, which reads torch's global generator."""

    @register_model("forgetful-encoder")
    def build(shape: tuple[int, ...], num_classes: int) -> nn.Module:
        body = nn.Sequential(nn.Flatten(), nn.Linear(flat_size(shape), 32), nn.ReLU(),
                             nn.Dropout(0.5))  # fmt: skip
        return FeatureNet(body, 32, num_classes)

    yield "forgetful-encoder"
    MODELS._entries.pop("forgetful-encoder", None)


def parts(**recipe: Any) -> tuple[RawData, Recipe]:
    cell = resolve_cell(dataset="synthetic", dataset_params=DATA, recipe_params={**SMALL, **recipe})
    return load_task(cell.spec, cell.data).raw, cell.spec.recipe


def encoder(graph: Any = "auto", half: bool | None = None, **recipe: Any) -> Encoder:
    raw, named = parts(**recipe)
    options = ExecutionOptions(graph=graph)
    return Encoder(raw, named, STREAMS, CPU, options, batch=64, half=half)


def features_of(trained: Encoder) -> StepGenerator[Tensor]:
    yield from trained.steps()
    features = yield from trained.embed()
    trained.close()
    return features


def trained(**fields: Any) -> Tensor:
    with guarded(CPU):
        return run_to_end(features_of(encoder(**fields)))


def plain_loop(raw: RawData, recipe: Recipe, batch: int) -> Tensor:
    """The training as one loop over launched operations."""
    inputs = open_inputs(raw.train_x, raw, augment=recipe.augment, pad=recipe.pad, device=CPU)
    net: Any = build_model(recipe, raw.input_shape, raw.num_classes, STREAMS.get("init"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(STREAMS.get("projector").key & 0x7FFFFFFFFFFFFFFF)
        width = net.features(inputs.unaugmented(torch.arange(2))).shape[1]
        projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTION))
    optimizer = EagerAdam([*net.parameters(), *projector.parameters()], lr=LR)
    n = len(raw.train_x)
    each = n // batch
    for step in range(recipe.epochs * each):
        epoch, place = divmod(step, each)
        rows = STREAMS.get("order", epoch).permutation(n)[place * batch : (place + 1) * batch]
        views = [strong_view(inputs, rows, STREAMS.get("view", epoch).child(s)) for s in "ab"]
        first, second = projector(net.features(torch.cat(views))).split(batch)
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(step / (recipe.epochs * each), LR, pct_start=0.1)
        optimizer.zero_grad()
        nt_xent(first, second).backward()
        optimizer.step()
    full = torch.autocast("cpu", enabled=False)
    batches = inputs.unaugmented_batches(torch.arange(n)).batch
    found = forward_all(net, n, batches, full, features=True)[1]
    assert found is not None
    return found


def test_the_default_form_gives_the_bits_of_a_plain_loop() -> None:
    raw, recipe = parts()
    assert torch.equal(trained(), plain_loop(raw, recipe, 64))


def launched(**fields: Any) -> Encoder:
    """The state and optimiser of a captured training, every operation launched."""
    made = encoder(graph="rehearse", **fields)
    made._capture = lambda: None  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize("model", ["cnn", "forgetful-encoder"])
def test_the_captured_form_gives_the_bits_of_the_launched_one(model: str, forgetful: str) -> None:
    recipe: dict[str, Any] = {"model": model}
    if model == forgetful:
        recipe["model_params"] = {}
    with guarded(CPU):
        one, two = encoder(graph="rehearse", **recipe), launched(**recipe)
        for made in (one, two):
            run_to_end(made.steps())
        assert one.captured is not None
        assert one.captured.capture.replays == one.step == one.count == 9
        assert two.captured is None
        for a, b in zip(one.state(), two.state(), strict=True):
            assert torch.equal(a, b)
        assert torch.equal(run_to_end(one.embed()), run_to_end(two.embed()))


def test_the_captured_form_follows_the_default_one() -> None:
    torch.testing.assert_close(trained(graph="rehearse"), trained(), rtol=1e-3, atol=1e-3)


def test_half_precision_stays_near_full_precision() -> None:
    """Three epochs apart; their distances to each other are what methods read."""
    full, half = trained(), trained(half=True)
    assert half.dtype == torch.float32
    assert not torch.equal(full, half)
    alike = [torch.pdist(x / x.norm(dim=1, keepdim=True)) for x in (full, half)]
    assert float(torch.corrcoef(torch.stack(alike))[0, 1]) > 0.99


def test_a_closed_encoder_leaves_nothing_to_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        made = encoder(graph="rehearse")
        steps = made.steps()
        next(steps)
        steps.close()
        step = weakref.ref(made.captured)
        del steps
        made.close()
        left = weakref.ref(made)
        del made
        assert (step(), left()) == (None, None)
    finally:
        gc.enable()


def test_what_ran_before_does_not_matter(forgetful: str) -> None:
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(trained(model=forgetful, model_params={}))
    assert torch.equal(*found)


@pytest.mark.parametrize("graph", ["auto", "rehearse"])
def test_among_other_runs_it_gives_the_bits_that_it_gives_alone(graph: Any, forgetful: str) -> None:
    seen = []

    def run() -> StepGenerator[dict[str, Tensor]]:
        other = make("infobatch", graph=graph, recipe_params={"epochs": 1})
        for wait in other.steps():
            seen.append("run")
            yield wait
        state = {name: value.clone() for name, value in everything(other).items()}
        other.close()
        return state

    def train(made: Encoder) -> StepGenerator[Tensor]:
        for wait in made.steps():
            seen.append("encoder")
            yield wait
        return (yield from made.embed())

    fields: list[dict[str, Any]] = [{}, {"model": forgetful, "model_params": {}}]
    makers: list[Any] = [lambda f=f: train(encoder(graph=graph, **f)) for f in fields]
    *both, beside = run_all([*makers, run], CPU, 3)
    assert seen[:9] == ["encoder", "encoder", "run"] * 3
    with guarded(CPU):
        alone = run_to_end(run())
    for one, field in zip(both, fields, strict=True):
        assert torch.equal(one, trained(graph=graph, **field))
    for name, value in beside.items():
        assert torch.equal(value.nan_to_num(-7), alone[name].nan_to_num(-7))
