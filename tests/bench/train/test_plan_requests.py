"""What a plan and a batch-level method may ask of the trainer, on every path that trains."""

import math

import pytest
import torch
import torch.nn.functional as F

from prunebench.bench.runs import checkpoint
from prunebench.bench.runs.artifacts import artifacts, epoch_csv
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.epoch_steps import rates
from prunebench.bench.train.plan_checks import PlanError, check_plan
from prunebench.bench.train.setup import Epoch
from prunebench.bench.train.step import run_to_end
from prunebench.bench.train.stopping import Stopped
from prunebench.bench.train.trainer import Trainer
from prunebench.methods.base import BatchPruner, DynamicPruner, Plan
from support.cells import small_cell
from support.runs import Hooks, same, trainer_of

torch.set_num_threads(1)


class Asking(DynamicPruner):
    """Asks for everything: two thirds of the samples with weights that count per batch, the others
    scored, and another factor on the learning rate in every epoch."""

    name = "asking"
    signals = frozenset({"batch_loss", "confidence", "correct"})

    def plan(self, progress, tables, rng):
        everything = torch.arange(self.view.num_samples)
        part = (everything + progress.epoch) % 3 != 0
        weights = 0.5 + (everything[part] % 7).float()
        return Plan(everything[part], weights, everything[~part], 1 + progress.epoch / 2, True)


class Sharing(BatchPruner):
    """Chooses by position alone; every third batch is trained whole, the next by a quarter."""

    name = "sharing"
    signals = frozenset({"batch_loss", "confidence"})
    scoring_pass = False
    draws = ()

    def share(self, progress, step):
        return {0: 1.0, 1: 0.25}.get((progress.epoch + step) % 3)

    def select(self, batch, k, rng):
        assert batch.logits.shape == batch.features.shape == (len(batch.positions), 0)
        return batch.positions.argsort()[:k]


class Mixed(Sharing):
    """Chooses by loss, with weights that count for the chosen part of a batch."""

    name = "mixed"
    scoring_pass = True

    def plan(self, progress, tables, rng):
        everything = torch.arange(self.view.num_samples)
        return Plan(everything, 0.5 + (everything % 5).float(), None, 1.5, True)

    def select(self, batch, k, rng):
        losses = F.cross_entropy(batch.logits, batch.labels, reduction="none")
        return losses.topk(k).indices


PRUNERS = {"asking": (Asking, 0.0), "sharing": (Sharing, 0.4), "mixed": (Mixed, 0.4)}


def make(pruner: str, *, recipe=(), callbacks=(), noise="symmetric:0.4", **parts) -> Trainer:
    """A run with one of the pruners of ``PRUNERS``."""
    kind, ratio = PRUNERS[pruner]
    recipe = {"epochs": 4, "batch_size": 64, "model": "mlp", "model_params": {"width": 8},
              "augment": "none", "eval_every": 0, **dict(recipe)}  # fmt: skip
    method = "full" if ratio == 0 else "divbs"
    cell = small_cell(method, ratio=ratio, recipe_params=recipe, noise=noise)
    return trainer_of(cell, lambda _: kind(), callbacks=callbacks, **parts)


def weights(run: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


def test_a_batch_has_the_mean_of_its_losses_times_the_mean_of_its_weights():
    """One step of plain SGD against the gradient written out by hand."""
    run = make("asking", recipe={"schedule": "constant", "lr": 0.5, "momentum": 0.0,
                                 "weight_decay": 0.0})  # fmt: skip
    part, w = torch.arange(64), torch.linspace(0.5, 3.0, 64)
    x, before = run.inputs.unaugmented(run.sample_ids[part]), weights(run)
    logits = run.model(x)
    losses = F.cross_entropy(logits, run.labels[part], reduction="none")
    loss = losses.mean() * w.mean()
    gradient = torch.autograd.grad(loss, list(run.model.parameters()))
    epoch = Epoch(Plan(part, w, lr_factor=3.0, batch_weights=True), 0)
    run_to_end(run.train_steps(epoch))
    wanted = before - 1.5 * torch.cat([g.flatten() for g in gradient])
    torch.testing.assert_close(weights(run), wanted, rtol=1e-5, atol=1e-6)
    assert epoch.lr == 1.5
    assert epoch.weights.tolist() == pytest.approx([float(w.mean())] * 64)
    table = run.sample_tables.signal("batch_loss")
    torch.testing.assert_close(table[part], losses.mean().detach().expand(64))
    assert table[64:].isnan().all()
    confidence = logits.detach().softmax(1).amax(1)
    torch.testing.assert_close(run.sample_tables.signal("confidence")[part], confidence)


@pytest.mark.parametrize("optimizer", ["sgd", "lars", "adam", "adamw"])
@pytest.mark.parametrize("on_device", [False, True])
def test_the_factor_is_on_the_learning_rate_alone(optimizer, on_device):
    """A constant rate with the factor 2 is twice the rate, momentum and decay as they are."""

    class Faster(Asking):
        def plan(self, progress, tables, rng):
            return Plan(self.everything().indices, lr_factor=self.factor)

    def trained(lr, factor):
        pruner = Faster()
        pruner.factor = factor
        recipe = {"epochs": 1, "batch_size": 128, "model": "mlp", "model_params": {"width": 8},
                  "schedule": "constant", "lr": lr, "momentum": 0.5, "weight_decay": 0.25,
                  "optimizer": optimizer}  # fmt: skip
        options = ExecutionOptions(graph="rehearse" if on_device else "off")
        cell = small_cell("full", recipe_params=recipe)
        run = trainer_of(cell, lambda _: pruner, execution=options)
        run.fit()
        return run

    twice, plain = trained(0.0625, 2.0), trained(0.125, 1.0)
    assert torch.equal(weights(twice), weights(plain))
    assert not torch.equal(weights(twice), weights(trained(0.0625, 1.0)))
    assert twice.epoch_log[0]["lr"] == plain.epoch_log[0]["lr"] == 0.125
    assert twice.epoch_log[0]["lr_factor"] == 2.0
    assert "lr_factor" not in plain.epoch_log[0]
    assert b"lr_factor" in epoch_csv(twice)
    assert b"lr_factor" not in epoch_csv(plain)


def test_every_step_of_an_epoch_has_the_scheduled_rate_times_the_factor():
    seen = []
    hook = Hooks(step_end=lambda run: seen.append(run.optimizer.param_groups[0]["lr"]))
    run = make("asking", callbacks=[hook])
    run.fit()
    clock, recipe, started, wanted = run.setup.clock, run.setup.recipe, 0, []
    for row in run.epoch_log:
        n = row["trained"]
        sizes = [min(64, n - start) for start in range(0, n, 64)]
        plain = rates(recipe, clock, row["epoch"], started, sizes)
        wanted += [rate * (1 + row["epoch"] / 2) for rate, _ in plain]
        started += n
    assert seen == wanted
    factors = [line.split(",")[-1] for line in epoch_csv(run).decode().splitlines()]
    assert factors[:4] == ["lr_factor", "1", "1.5", "2"]


@pytest.mark.parametrize("pruner", PRUNERS)
def test_signals_are_those_of_the_last_batch_and_the_last_visit(pruner):
    steps, passes = [], {}
    run = make(pruner)
    write = run.sample_tables.write

    def watched(positions, losses, logits, labels):
        write(positions, losses, logits, labels)
        passes.update(zip(positions.tolist(), logits.softmax(1).amax(1).tolist(), strict=True))
        if torch.is_grad_enabled() and positions is not run.rescored:
            steps.append((positions, float(losses.double().mean())))

    run.sample_tables.write, run.rescored = watched, None
    rescore = run._rescore

    def noted(positions):
        run.rescored = positions
        rescore(positions)

    run._rescore = noted
    run.fit()
    wanted = torch.full((len(run.labels),), torch.nan)
    for positions, loss in steps:
        wanted[positions] = loss
    assert wanted.isnan().any() == (pruner != "asking")
    torch.testing.assert_close(run.sample_tables.signal("batch_loss"), wanted, equal_nan=True)
    confidence = run.sample_tables.signal("confidence")
    places = torch.tensor(list(passes))
    assert confidence[places].tolist() == list(passes.values())
    assert int(confidence.isfinite().sum()) == len(places)
    assert len({len(p) for p, _ in steps}) > 2 or pruner == "asking"


@pytest.mark.parametrize("pruner", ["sharing", "mixed"])
def test_shares_decide_how_much_of_a_batch_is_trained_and_scored(pruner):
    sizes, run = [], make(pruner)
    train = run.stepper.train
    run.stepper.train = lambda batch, k, network=None: (sizes.append(k), train(batch, k, network))
    run.fit()
    n = len(run.labels)
    full, tail = divmod(n, 64)
    bounds = [64] * full + [tail] * bool(tail)
    wanted, scored, left, epoch = [], 0, run.ledger.target, 0
    while left:
        for step, size in enumerate(bounds):
            share = {0: 1.0, 1: 0.25}.get((epoch + step) % 3, 0.6)
            k = min(left, max(1, math.floor(share * size + 1e-9)))
            left -= k
            if k:
                wanted.append(k)
                scored += size if k < size else 0
        epoch += 1
    assert sizes == wanted
    assert run.ledger.trained == run.ledger.target == sum(sizes)
    assert run.ledger.scoring_forward == (scored if pruner == "mixed" else 0)


@pytest.mark.parametrize("pruner", PRUNERS)
def test_wrong_labels_are_counted_by_the_weight_of_their_losses(pruner):
    visited, used = [], []
    run = make(pruner)
    train, close = run.stepper.train, run.sample_tables.close_epoch

    def watched(batch, k, network=None):
        given = torch.ones(k) if batch.weights is None else batch.weights
        used.append((batch.positions, given))
        train(batch, k, network)

    def closed(positions, epoch):
        if used:
            visited.append([torch.cat(part) for part in zip(*used, strict=True)])
            used.clear()
        close(positions, epoch)

    run.stepper.train, run.sample_tables.close_epoch = watched, closed
    run.fit()
    wrong, sums = run.flipped, torch.zeros(2, dtype=torch.float64)
    for row, (positions, weight) in zip(run.epoch_log, visited, strict=True):
        part = torch.stack([weight.double().sum(), weight.double()[wrong[positions]].sum()])
        sums += part
        assert row["kept_noise_weight"] == pytest.approx(float(part[1] / part[0]))
        if pruner == "sharing":
            assert row["kept_noise_weight"] == pytest.approx(row["kept_noise_rate"], abs=1e-15)
    _, metrics = artifacts(run, run.test_logits().argmax(1), None)
    assert metrics["kept_noise_weight"] == pytest.approx(float(sums[1] / sums[0]))
    if pruner == "sharing":
        assert metrics["kept_noise_weight"] == metrics["kept_noise_rate"]
    else:
        assert metrics["kept_noise_weight"] != metrics["kept_noise_rate"]


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("where", [3, 11])
def test_a_run_stopped_inside_an_epoch_goes_on_bit_for_bit(pruner, where, tmp_path):
    asked = iter(range(1000))
    whole = make(pruner)
    broken = make(pruner, callbacks=[Hooks(step_end=lambda _: next(asked) == where)])
    whole.fit()
    with pytest.raises(Stopped):
        broken.fit()
    checkpoint.save(broken, tmp_path, "k")
    resumed = make(pruner)
    assert checkpoint.restore(resumed, tmp_path, "k")
    resumed.fit()
    assert same(whole, resumed)
    assert torch.equal(whole.loss_weight, resumed.loss_weight)


@pytest.mark.parametrize("fields", [
    {"lr_factor": 0.0}, {"lr_factor": -1.0}, {"lr_factor": math.nan}, {"lr_factor": math.inf},
    {"lr_factor": torch.tensor(1.0)}, {"lr_factor": True}, {"batch_weights": 1},
])  # fmt: skip
def test_a_plan_that_asks_for_what_cannot_be_is_refused(fields):
    (name,) = fields
    with pytest.raises(PlanError, match=f"^me: {name} must be "):
        check_plan(Plan(torch.arange(3), **fields), 3, "me")


@pytest.mark.parametrize("share", [0.0, 1.5, math.nan, "0.5", True])
def test_a_share_that_cannot_be_is_refused(share, monkeypatch):
    monkeypatch.setattr(Sharing, "share", lambda self, progress, step: share)
    with pytest.raises(PlanError, match=r"^sharing: share\(\) must return a number above 0 and at"):
        make("sharing").fit()
