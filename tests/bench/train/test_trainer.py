"""The loop: paired by construction, exact budgets, no host synchronisation, resumable."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prunebench.bench.runs import checkpoint
from prunebench.bench.runs.checkpoint_file import FILE, DamagedCheckpoint
from prunebench.bench.train.setup import Epoch
from prunebench.bench.train.step import run_to_end
from prunebench.bench.train.trainer import Trainer
from prunebench.methods.base import DynamicPruner, Plan
from support.cells import small_cell
from support.runs import Hooks, trainer_of


def make(method: str = "full", callbacks=(), **fields) -> Trainer:
    return trainer_of(small_cell(method, **fields), callbacks=callbacks)


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


class CountSyncs(TorchDispatchMode):
    """Counts operators that read a value back to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen[func.__name__.split(".")[0]] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["full", "infobatch", "infobatch+align", "random-dynamic"])
@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_no_host_synchronisation_inside_the_step_loop(method, optimizer):
    trainer = make(method, recipe_params={"optimizer": optimizer})
    trainer.fit()
    trainer = make(method, recipe_params={"optimizer": optimizer})
    plan = Plan(torch.arange(len(trainer.sample_ids)), torch.ones(len(trainer.sample_ids)))
    with CountSyncs() as counter:
        run_to_end(trainer.train_steps(Epoch(plan, trainer.ledger.trained)))
    assert counter.seen["convolution"] > 20
    for name in ("_local_scalar_dense", "item", "nonzero", "_unique2"):
        assert counter.seen[name] == 0, f"{name} was called {counter.seen[name]} times"


def test_pairing_two_methods_share_everything_that_is_not_theirs():
    a, b = make("full"), make("infobatch", ratio=0.5)
    assert torch.equal(a.labels, b.labels)
    assert torch.equal(a.sample_ids, b.sample_ids)
    assert torch.equal(a.setup.task.reference.sample_ids, b.setup.task.reference.sample_ids)
    assert torch.equal(weights(a), weights(b))
    ids = torch.tensor([3, 77, 500])
    for epoch in (0, 3):
        a.epoch = b.epoch = epoch
        for name in ("order", "augment"):
            assert torch.equal(a.stream(name).bits(ids), b.stream(name).bits(ids))


def test_pairing_two_noises_of_one_seed_are_independent():
    a, b = make("full", noise="symmetric:0.4"), make("full", noise="symmetric:0.2")
    assert not torch.equal(weights(a), weights(b))
    assert not torch.equal(a.sample_ids, b.sample_ids)
    ids = torch.arange(1000)
    one, two = a.stream("order").uniform_at(ids), b.stream("order").uniform_at(ids)
    assert abs(float(torch.corrcoef(torch.stack([one, two]))[0, 1])) < 0.1
    flipped = a.setup.task.flipped.double().mean(), b.setup.task.flipped.double().mean()
    assert flipped[0] == pytest.approx(0.4, abs=0.03)
    assert flipped[1] == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("method", ["short-full", "random-dynamic"])
def test_ratio_zero_is_full_training_bit_for_bit(method):
    full, other = make("full"), make(method, ratio=0.0)
    full.fit()
    other.fit()
    assert torch.equal(weights(full), weights(other))


def test_infobatch_without_pruning_is_full_training_bit_for_bit():
    full, other = make("full"), make("infobatch", ratio=0.0, params={"r": 0.0})
    full.fit()
    other.fit()
    assert torch.equal(weights(full), weights(other))


@pytest.mark.parametrize("method", ["short-full", "random-dynamic", "infobatch", "infobatch+align"])
@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.77])
def test_budget_is_met_exactly(method, ratio):
    trainer = make(method, ratio=ratio)
    trainer.fit()
    assert trainer.ledger.trained == trainer.ledger.target
    assert trainer.ledger.trained == round((1 - ratio) * 6 * len(trainer.sample_ids))
    assert int(trainer.kept_visits.sum()) == trainer.ledger.trained
    assert sum(row["trained"] for row in trainer.epoch_log) == trainer.ledger.trained


class Weighted(DynamicPruner):
    """Trains on a fixed part with given weights."""

    name = "weighted"

    def __init__(self, indices, weights):
        super().__init__()
        self.given = Plan(indices, weights)

    def plan(self, progress, tables, rng):
        return self.given


def test_weights_multiply_the_per_sample_loss_and_the_batch_size_divides():
    """One step of plain SGD against the gradient written out by hand."""
    recipe = {"schedule": "constant", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0,
              "batch_size": 64, "model": "mlp", "model_params": {"width": 8}}  # fmt: skip
    trainer = make("full", recipe_params=recipe)
    positions = torch.arange(64)
    w = torch.linspace(0.5, 2.0, 64)
    start = weights(trainer)
    x = trainer.inputs.unaugmented(trainer.sample_ids[positions])
    losses = torch.nn.functional.cross_entropy(
        trainer.model(x), trainer.labels[positions], reduction="none"
    )
    gradient = torch.autograd.grad((losses * w).sum() / 64, list(trainer.model.parameters()))
    expected = start - torch.cat([g.flatten() for g in gradient])
    run_to_end(trainer.train_steps(Epoch(Plan(positions, w), 0)))
    torch.testing.assert_close(weights(trainer), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        trainer.sample_tables.loss[positions], losses.detach(), rtol=1e-5, atol=1e-6
    )
    assert trainer.sample_tables.loss[64:].isnan().all()


def test_tables_book_visits_and_the_ring_of_losses():
    trainer = make("infobatch+align")
    trainer.fit()
    tables = trainer.sample_tables
    assert torch.equal(tables.seen, trainer.kept_visits)
    assert int(tables.last_seen.max()) == trainer.epoch - 1
    filled = tables.loss_epochs >= 0
    window = len(tables.losses)
    assert torch.equal(filled.sum(0), tables.seen.clamp(max=window))
    assert torch.equal(filled, tables.losses.isfinite())
    newest = ((tables.seen - 1) % window)[None]
    assert torch.equal(tables.losses.gather(0, newest)[0], tables.loss)
    assert torch.equal(tables.loss_epochs.gather(0, newest)[0], tables.last_seen)
    assert tables.reference_loss[: trainer.epoch].isfinite().all()


@pytest.mark.parametrize("method", ["full", "infobatch", "infobatch+align"])
@pytest.mark.parametrize("optimizer", ["sgd", "lars", "adam"])
def test_resume_inside_a_run_is_bit_for_bit(method, optimizer, tmp_path):
    whole = make(method, recipe_params={"optimizer": optimizer})
    whole.fit()

    class Stop(Exception):
        pass

    def save_and_stop(trainer):
        if trainer.epoch == 3:
            checkpoint.save(trainer, tmp_path, "k")
            raise Stop

    hook = Hooks(epoch_end=save_and_stop)
    broken = make(method, callbacks=[hook], recipe_params={"optimizer": optimizer})
    with pytest.raises(Stop):
        broken.fit()
    resumed = make(method, recipe_params={"optimizer": optimizer})
    assert checkpoint.restore(resumed, tmp_path, "k")
    assert resumed.epoch == 3
    resumed.fit()
    assert torch.equal(weights(whole), weights(resumed))
    assert torch.equal(whole.sample_tables.loss, resumed.sample_tables.loss)
    assert whole.ledger == resumed.ledger
    assert whole.epoch_log == resumed.epoch_log


@pytest.mark.parametrize("damage", ["flip", "cut", "other key", "other model"])
def test_damaged_checkpoints_are_refused(damage, tmp_path):
    trainer = make("full")
    checkpoint.save(trainer, tmp_path, "k")
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "cut":
        del data[len(data) // 2 :]
    path.write_bytes(bytes(data))
    fields = {"recipe_params": {"model_params": {"width": 4, "depth": 2}}}
    other = make("full", **(fields if damage == "other model" else {}))
    with pytest.raises(DamagedCheckpoint):
        checkpoint.restore(other, tmp_path, "x" if damage == "other key" else "k")


def test_global_random_state_is_left_alone():
    state = torch.random.get_rng_state()
    make("infobatch").fit()
    assert torch.equal(state, torch.random.get_rng_state())
