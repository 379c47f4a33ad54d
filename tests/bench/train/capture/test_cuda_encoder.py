"""The self-supervised encoder on a card: one graph per step, which repeats its bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.self_supervised import Encoder
from prunebench.bench.train.step import StepGenerator, run_to_end
from prunebench.bench.train.task import load_task
from prunebench.rng import Streams
from support.cells import small_cell
from support.runs import run_all

pytestmark = pytest.mark.cuda


def encoder(graph: Any = "auto", half: bool | None = None) -> Encoder:
    recipe = {"epochs": 2, "model": "resnet18", "model_params": {"width": 8}}
    data = {"n": 100, "test": 20, "classes": 4, "superclasses": 1, "size": 8}
    cell = small_cell("ssp", dataset="synthetic", dataset_params=data, recipe_params=recipe)
    raw = load_task(cell.spec, cell.data).raw
    options = ExecutionOptions(graph=graph, deterministic=True)
    device = torch.device("cuda")
    streams = Streams(0, "d", "n")
    return Encoder(raw, cell.spec.recipe, streams, device, options, batch=32, half=half)


def features(trained: Encoder) -> StepGenerator[Tensor]:
    yield from trained.steps()
    found = yield from trained.embed()
    trained.close()
    return found


def test_a_captured_encoder_repeats_its_bits_and_follows_the_launched_one() -> None:
    first = encoder()
    found = run_to_end(features(first))
    assert first.not_captured_because == ""
    assert torch.equal(found, run_to_end(features(encoder())))
    together = run_all([lambda: features(encoder()) for _ in range(2)], torch.device("cuda"), 2)
    assert all(torch.equal(found, one) for one in together)
    # In bf16 two correct forms drift apart; in fp32 they stay together.
    captured, launched = (run_to_end(features(encoder(g, half=False))) for g in ("auto", "off"))
    torch.testing.assert_close(captured, launched, rtol=0.05, atol=0.05)


def test_no_step_of_it_waits_for_the_card() -> None:
    trained = encoder()
    steps = trained.steps()
    next(steps)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in steps:
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trained.captured is not None
    assert trained.captured.capture.replays == trained.step == trained.count
    trained.close()
