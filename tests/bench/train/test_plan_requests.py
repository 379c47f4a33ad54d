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
from prunebench.methods.base import Plan
from support.asking import ASKING, Asking, Sharing, asking
from support.card_cells import findings, fresh_card
from support.cells import small_cell
from support.processes import together
from support.runs import Hooks, everything, run_all, same, trainer_of
from support.trees import write_tree

torch.set_num_threads(1)
CPU = torch.device("cpu")


def weights(run: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


def test_a_batch_has_the_mean_of_its_losses_times_the_mean_of_its_weights():
    """One step of plain SGD against the gradient written out by hand."""
    run = asking("asking", recipe={"schedule": "constant", "lr": 0.5, "momentum": 0.0,
                                 "weight_decay": 0.0})  # fmt: skip
    part, w = torch.arange(128), torch.linspace(0.5, 3.0, 128)
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
    assert epoch.weights.tolist() == pytest.approx([float(w.mean())] * 128)
    table = run.sample_tables.signal("batch_loss")
    torch.testing.assert_close(table[part], losses.mean().detach().expand(128))
    assert table[128:].isnan().all()
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
    run = asking("asking", callbacks=[hook])
    run.fit()
    clock, recipe, started, wanted = run.setup.clock, run.setup.recipe, 0, []
    for row in run.epoch_log:
        n = row["trained"]
        sizes = [min(128, n - start) for start in range(0, n, 128)]
        plain = rates(recipe, clock, row["epoch"], started, sizes)
        wanted += [rate * (1 + row["epoch"] / 2) for rate, _ in plain]
        started += n
    assert seen == wanted
    factors = [line.split(",")[-1] for line in epoch_csv(run).decode().splitlines()]
    assert factors[:4] == ["lr_factor", "1", "1.5", "2"]


@pytest.mark.parametrize("pruner", ASKING)
def test_signals_are_those_of_the_last_batch_and_the_last_visit(pruner):
    steps, passes = [], {}
    run = asking(pruner)
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
    if pruner == "sharing":
        return
    confidence = run.sample_tables.signal("confidence")
    places = torch.tensor(list(passes))
    assert confidence[places].tolist() == list(passes.values())
    assert int(confidence.isfinite().sum()) == len(places)
    assert len({len(p) for p, _ in steps}) > 2 or pruner in ("asking", "unscored")


@pytest.mark.parametrize("pruner", ["sharing", "unscored", "mixed"])
def test_shares_decide_how_much_of_a_batch_is_trained_and_scored(pruner):
    sizes, run = [], asking(pruner)
    train = run.stepper.train
    run.stepper.train = lambda batch, k, network=None: (sizes.append(k), train(batch, k, network))
    run.fit()
    n = len(run.labels)
    full, tail = divmod(n, 128)
    bounds = [128] * full + [tail] * bool(tail)
    wanted, scored, left, epoch = [], 0, run.ledger.target, 0
    while left:
        for step, size in enumerate(bounds):
            share = {0: 1.0, 1: 0.25}.get((epoch + step) % 3, 0.6) if pruner != "unscored" else 0.6
            k = min(left, max(1, math.floor(share * size + 1e-9)))
            left -= k
            if k:
                wanted.append(k)
                scored += size if k < size else 0
        epoch += 1
    assert sizes == wanted
    assert run.ledger.trained == run.ledger.target == sum(sizes)
    assert run.ledger.scoring_forward == (scored if pruner == "mixed" else 0)


@pytest.mark.parametrize("pruner", ASKING)
def test_wrong_labels_are_counted_by_the_weight_of_their_losses(pruner):
    visited, used = [], []
    run = asking(pruner)
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
    wrong, sums = run.setup.task.flipped, torch.zeros(2, dtype=torch.float64)
    for row, (positions, weight) in zip(run.epoch_log, visited, strict=True):
        part = torch.stack([weight.double().sum(), weight.double()[wrong[positions]].sum()])
        sums += part
        assert row["kept_noise_weight"] == pytest.approx(float(part[1] / part[0]))
        if pruner in ("sharing", "unscored"):
            assert row["kept_noise_weight"] == pytest.approx(row["kept_noise_rate"], abs=1e-15)
    _, metrics = artifacts(run, run.test_logits().argmax(1), None)
    assert metrics["kept_noise_weight"] == pytest.approx(float(sums[1] / sums[0]))
    if pruner in ("sharing", "unscored"):
        assert metrics["kept_noise_weight"] == metrics["kept_noise_rate"]
    else:
        assert metrics["kept_noise_weight"] != metrics["kept_noise_rate"]


@pytest.mark.parametrize("pruner", ASKING)
def test_a_run_stopped_inside_an_epoch_goes_on_bit_for_bit(pruner, tmp_path):
    asked = iter(range(1000))
    whole = asking(pruner)
    broken = asking(pruner, callbacks=[Hooks(step_end=lambda _: next(asked) == 12)])
    whole.fit()
    with pytest.raises(Stopped):
        broken.fit()
    checkpoint.save(broken, tmp_path, "k")
    resumed = asking(pruner)
    assert checkpoint.restore(resumed, tmp_path, "k")
    resumed.fit()
    assert same(whole, resumed)
    assert torch.equal(whole.loss_weight, resumed.loss_weight)


@pytest.mark.parametrize("pruner", ASKING)
def test_a_captured_step_trains_what_a_launched_one_trains(pruner):
    options = ExecutionOptions(graph="rehearse")
    captured, launched = (asking(pruner, execution=options) for _ in range(2))
    launched.acquire_captured_step = lambda: None
    captured.fit()
    launched.fit()
    replays = captured.captured_step.capture.replays
    assert (replays == 0) == (pruner == "mixed")  # their weights wait for the choice
    assert same(captured, launched)
    assert torch.equal(captured.loss_weight, launched.loss_weight)
    captured.close()


def test_interleaved_runs_train_what_they_train_alone():
    def steps(pruner, run):
        yield from run.steps()
        return pruner, run

    options, short = ExecutionOptions(graph="rehearse"), {"epochs": 2}
    runs = [(pruner, asking(pruner, short, execution=options)) for pruner in ASKING]
    for pruner, run in run_all([lambda job=job: steps(*job) for job in runs], CPU, 3):
        alone = asking(pruner, short, execution=options)
        alone.fit()
        assert same(run, alone)


@pytest.mark.parametrize("pruner", ["asking", "unscored", "mixed"])
def test_on_a_card_nothing_waits_within_a_step_and_bits_are_those_of_launched_steps(pruner):
    found = []
    for graph in ("auto", "off"):
        with fresh_card() as card:
            run = asking(pruner, device=torch.device("cuda"),
                         execution=ExecutionOptions(graph=graph, deterministic=True))  # fmt: skip
            run.fit()
            assert findings(card) == []
            found.append([value.cpu() for value in everything(run).values()])
            assert (card.replays > 0) == (graph == "auto" and pruner != "mixed")
            run.close()
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(*found, strict=True))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"), train=30, test=10)


@pytest.mark.parametrize("pruner", ["asking", "mixed"])
def test_two_processes_on_streamed_images_train_what_one_trains(pruner, tree):
    data = {"stream": "yes", "workers": 0, "size": 8}
    fields = {"dataset": f"folder:{tree}", "dataset_params": data, "noise": "symmetric:0.2"}

    def trained():
        run = asking(pruner, {"batch_size": 16}, fields)
        run.fit()
        return everything(run), run.epoch_log, run.loss_weight, run.ledger

    alone = trained()
    for state, rows, sums, ledger in together(lambda world: trained()):
        assert ledger == alone[3]
        torch.testing.assert_close(sums, alone[2])
        for row, wanted in zip(rows, alone[1], strict=True):
            for name, value in wanted.items():
                assert row[name] == (value if value is None else pytest.approx(value, rel=1e-3))
        for name, value in state.items():
            torch.testing.assert_close(value, alone[0][name], rtol=1e-3, atol=1e-4, equal_nan=True)


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
        asking("sharing").fit()
