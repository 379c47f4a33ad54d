"""An epoch reaches captured steps a chunk at a time, in the precision that the network reads."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from prunebench.bench.inputs.strong import strong_draws
from prunebench.bench.networks.base import flat_size
from prunebench.bench.runs import checkpoint
from prunebench.bench.train.capture import buffers, pool
from prunebench.bench.train.capture.pool import CapturedStepPool
from prunebench.bench.train.epoch_steps import lay_out
from prunebench.bench.train.setup import Epoch
from prunebench.bench.train.stopping import Stopped
from prunebench.bench.train.trainer import Trainer
from prunebench.errors import SkipCell
from prunebench.methods.base import Plan
from support.captures import Ops, armed, launched
from support.runs import Hooks, make, same

#: Of two batches: an epoch of digits then takes several chunks.
SMALL = 2 * 128 * 8 * 8 * 4


@pytest.fixture(autouse=True)
def _own_captures():
    before = pool.use(CapturedStepPool())
    yield
    pool.use(before)


def trained(method, **fields):
    run = make(method, **fields)
    run.fit()
    return run


def unrecorded(method, **fields):
    run = launched(method, **fields)
    run.fit()
    return run


@pytest.mark.parametrize(("method", "recipe", "criterion"), [
    ("infobatch", {"augment": "crop_flip"}, "ce"), ("divbs", {}, "ce"), ("ies", {}, "sop+"),
])  # fmt: skip
def test_small_chunks_give_the_bits_of_large_ones(method, recipe, criterion, monkeypatch):
    fields = {"recipe_params": {"epochs": 2, **recipe}, "criterion": criterion}
    whole = trained(method, **fields)
    assert len(whole.captured_step.buffers.x) == len(whole.sample_ids) // 128
    monkeypatch.setattr(buffers, "CHUNK_BYTES", SMALL)
    pool.use(CapturedStepPool())
    parts = trained(method, **fields)
    assert len(parts.captured_step.buffers.x) == 2
    assert same(whole, parts)


def test_a_chunk_holds_one_step_at_least(monkeypatch):
    monkeypatch.setattr(buffers, "CHUNK_BYTES", 1)
    one = trained("full", recipe_params={"epochs": 1})
    assert len(one.captured_step.buffers.x) == 1
    assert same(one, unrecorded("full", recipe_params={"epochs": 1}))


@pytest.mark.parametrize(("method", "where"), [("infobatch", 4), ("infobatch", 5), ("divbs", 4)])
def test_a_run_stopped_within_a_chunk_or_after_it_goes_on_bit_for_bit(
    method, where, tmp_path, monkeypatch
):
    monkeypatch.setattr(buffers, "CHUNK_BYTES", SMALL)
    fields = {"recipe_params": {"epochs": 3, "augment": "crop_flip"}}
    asked = iter(range(1000))
    broken = make(method, callbacks=[Hooks(step_end=lambda _: next(asked) == where)], **fields)
    with pytest.raises(Stopped):
        broken.fit()
    checkpoint.save(broken, tmp_path, "k")
    resumed = make(method, **fields)
    assert checkpoint.restore(resumed, tmp_path, "k")
    resumed.fit()
    assert resumed.captured_step.capture.replays > 0
    assert same(trained(method, **fields), resumed)


def test_choices_of_an_epoch_that_was_broken_off_are_forgotten(monkeypatch):
    monkeypatch.setattr(buffers, "CHUNK_BYTES", 1)
    run = armed("divbs")
    step, first = run.captured_step, Epoch(Plan(torch.arange(len(run.sample_ids))), 0)
    step.step()
    step.step()  # of another chunk
    step.load(lay_out(run, first), run.stream, 0)
    assert step.choices() is None
    step.step()
    assert len(step.choices()) == step.kept


def test_a_step_reads_the_same_whatever_the_augmentation_costs():
    counts = []
    for augment in ("none", "crop_flip", "resized_crop"):
        run = armed("full", recipe_params={"augment": augment})
        run.captured_step.step()
        with Ops() as ops:
            run.captured_step.run()
        counts.append(ops.seen)
    assert counts[0] == counts[1] == counts[2]
    with Ops() as ops:
        run.captured_step.buffers.batch()
    assert ops.seen["index_select"] == 3


def test_second_views_are_drawn_outside_of_the_step():
    run = armed("full", criterion="sop+")
    with Ops() as step:
        run.captured_step.run()
    with Ops() as draws:
        strong_draws(run.inputs, run.sample_ids[:128], run.stream("strong"))
    assert draws.seen["__rshift__"] > 10
    assert step.seen["__rshift__"] == 0


def test_second_views_of_vectors_are_refused_before_the_first_step():
    images = make("full", criterion="sop+")
    raw = images.setup.task.raw
    flat = replace(
        raw, train_x=raw.train_x.flatten(1).float(), test_x=raw.test_x.flatten(1).float()
    )
    setup = replace(images.setup, task=replace(images.setup.task, raw=flat),
                    recipe=images.setup.recipe.model_copy(update={"model": "mlp",
                                                                  "model_params": {}}))  # fmt: skip
    with pytest.raises(SkipCell, match="no strong view"):
        Trainer(setup).fit()


class FromBatchNorm(nn.Sequential):
    """Reads its input in float32."""

    def __init__(self, shape):
        super().__init__(nn.BatchNorm2d(shape[0]), nn.Flatten(), nn.Linear(flat_size(shape), 16))


class WithShortcut(nn.Module):
    """Adds its input, times a weight that begins at zero, to what a layer makes of it."""

    def __init__(self, shape):
        super().__init__()
        self.flat, self.gate = nn.Flatten(), nn.Parameter(torch.zeros(()))
        self.layer = nn.Linear(flat_size(shape), 16)

    def forward(self, x):
        x = self.flat(x)
        return self.layer(x) + self.gate * x[:, :16]


class Asking(nn.Module):
    """Makes what it adds in the type of its input."""

    def __init__(self, shape):
        super().__init__()
        self.layer = nn.Linear(flat_size(shape), 16)

    def forward(self, x):
        return self.layer(x.flatten(1)) + torch.full((16,), 0.1, dtype=x.dtype, device=x.device)


class OnlyWhenScoring(nn.Module):
    """Reads its input in float32 in eval mode alone."""

    def __init__(self, shape):
        super().__init__()
        self.layer = nn.Linear(flat_size(shape), 16)

    def forward(self, x):
        features = self.layer(x.flatten(1))
        return features if self.training else features + x.mean()


BF16 = {"precision": "bf16", "augment": "crop_flip", "epochs": 2}


@pytest.mark.parametrize("body", [FromBatchNorm, WithShortcut, Asking])
def test_a_network_that_reads_float32_gets_float32(body, network):
    fields = {"model": network(body), "recipe_params": BF16}
    run = trained("full", **fields)
    assert run.captured_step.buffers.x.dtype == torch.float32
    assert same(run, unrecorded("full", **fields))


@pytest.mark.parametrize(("method", "dtype"), [("full", torch.bfloat16), ("divbs", torch.float32)])
def test_the_pass_that_scores_counts_where_samples_are_chosen_within_batches(
    method, dtype, network
):
    run = armed(method, model=network(OnlyWhenScoring), recipe_params=BF16)
    assert run.captured_step.buffers.x.dtype == dtype


@pytest.mark.parametrize(("method", "criterion", "model"), [
    ("infobatch", "ce", "resnet18"), ("divbs", "ce", "cnn"), ("full", "sop+", "cnn"),
])  # fmt: skip
def test_input_is_rounded_once_where_autocast_would_round_it(method, criterion, model):
    fields = {"criterion": criterion, "model": model, "recipe_params": BF16}
    if model == "resnet18":
        fields["recipe_params"] = {**BF16, "model_params": {"width": 4, "depth": 1}, "epochs": 1}
    run = trained(method, **fields)
    assert run.captured_step.buffers.x.dtype == torch.bfloat16
    assert same(run, unrecorded(method, **fields))


def test_full_precision_stays():
    assert armed("full").captured_step.buffers.x.dtype == torch.float32
