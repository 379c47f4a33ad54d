"""Holdout models: runs of their own, shared, charged, resumed, and beside no row of a board."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import prunebench
from prunebench.bench.estimates.costs import cell_cost, own_evidence
from prunebench.bench.grids.driver import run_cells
from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.results.manifest import read_manifest
from prunebench.bench.results.store import Store
from prunebench.bench.runs import checkpoint
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.holdout import NEED, HoldoutRecorder, gather_irreducible, holdout_specs
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.run_spec import HeldOut
from prunebench.bench.train.capture.pool import CapturedStepPool, use
from prunebench.bench.train.step import run_to_end
from prunebench.bench.train.task import holdout_task, load_task, streams_of
from prunebench.datasets.source import Outline
from prunebench.errors import InputError, SkipCell
from prunebench.leaderboard.board.collect import collect
from support.cells import small_cell
from support.processes import together
from support.runs import Hooks, make, trainer_of

EPOCHS = 3
TINY = {"recipe_params": {"epochs": EPOCHS, "model": "mlp", "batch_size": 64,
                          "model_params": {"width": 8, "depth": 1}}}  # fmt: skip
OPTIONS = ExecutionOptions(mlflow=False, quiet=True, inline=True)
DIGITS = Outline(1347, 450, (1, 8, 8), 10)


def cell(ratio=0.5, **fields):
    return small_cell("rho-loss", ratio=ratio, **TINY, **fields)


CROSS = {"params": {"holdout": "cross"}}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A grid of two ratios with the reference model, and one cell with two models."""
    store = Store.open(tmp_path_factory.mktemp("holdout"))
    cells = [cell(0.5), cell(0.7), cell(**CROSS)]
    run_cells(cells, store, OPTIONS)
    return store, cells


def test_one_model_serves_all_ratios_and_is_charged_to_each(grid):
    store, cells = grid
    records = [store.get(one.spec.key) for one in cells]
    assert [record.status for record in records] == ["done"] * 3, [r.reason for r in records]
    n, m = records[0].info["train_size"], records[0].info["reference_size"]
    paid = [(r.ledger["proxy_trained"], r.ledger["proxy_scoring"]) for r in records]
    assert paid == [((m - m // 10) * EPOCHS, n)] * 2 + [(n * EPOCHS, n)]
    (first,), (other,), halves = (record.info["holdout"] for record in records)
    assert first == other
    assert first["part"] == "reference"
    assert 1 <= first["epoch"] <= EPOCHS
    model = store.get(first["key"])
    assert model.metrics["test_accuracy"] == first["accuracy"] > 0.1
    assert model.info["train_size"] == n
    assert model.ledger["trained"] == (m - m // 10) * EPOCHS
    assert [half["part"] for half in halves] == ["first", "second"]
    used = [record.info["clean_labels_used"] for record in records]
    assert used == ["reference set, trained on by the holdout model"] * 2 + [""]
    for one in cells:
        total, charged = own_evidence(one, DIGITS)
        assert charged == store.get(one.spec.key).ledger["proxy_trained"]
        made = [read_manifest(store.evidence_path(m["key"]))
                for m in store.get(one.spec.key).info["holdout"]]  # fmt: skip
        assert total.evidence_forward == sum(manifest["scoring"] for manifest in made)


def test_its_runs_are_no_rows_of_a_board(grid):
    store, cells = grid
    records = [store.get(key) for key in sorted(store.keys())]
    found = collect(records)
    assert {run.method for run in found.runs} == {"rho-loss"}
    assert ("holdout model that serves as evidence", 3) in found.excluded
    planned = plan_jobs(cells)
    assert len(planned.added) == len(planned.shared) == 3
    assert [len(job.after) for job in planned.jobs][-3:] == [1, 1, 2]


def test_keys_of_other_runs_are_unchanged_and_those_of_models_name_their_part(grid):
    _, cells = grid
    spec = cells[0].spec
    assert "part" not in spec.content
    specs = holdout_specs(cells[0].pruner(), spec)
    assert [one.content["part"] for one in specs] == ["reference"]
    assert holdout_specs(cells[1].pruner(), cells[1].spec) == specs
    assert holdout_specs(cell(0.0).pruner(), cell(0.0).spec) == []
    assert holdout_specs(cell(seed=1).pruner(), cell(seed=1).spec) != specs
    again = Cell.from_json(Cell(specs[0], evidence=NEED).to_json())
    assert (again.spec.key, again.evidence) == (specs[0].key, NEED)


def test_parts_are_apart_and_cover_what_they_should():
    one = cell()
    task, streams = load_task(one.spec, one.data), streams_of(one.spec)
    own = holdout_task(task, "reference", streams)
    trained, check = own.task.train.sample_ids, own.check.sample_ids
    together_ids = torch.cat([trained, check]).sort().values
    assert torch.equal(together_ids, task.reference.sample_ids.sort().values)
    assert not torch.isin(trained, task.train.sample_ids).any()
    assert len(check) == len(task.reference) // 10
    assert not own.task.flipped.any()
    first, second = (holdout_task(task, part, streams) for part in ("first", "second"))
    for mine, other in ((first, second), (second, first)):
        asked = task.train.sample_ids[mine.asked]
        assert torch.equal(asked, other.task.train.sample_ids)
        assert torch.isin(mine.check.sample_ids, asked).all()
        labels = mine.task.train.labels
        assert torch.equal(labels, task.train.labels[other.asked])
    assert first.task.flipped.any()
    for reference, reason in ((None, "size is 0"), (task.train, "overlaps")):
        with pytest.raises(SkipCell, match=reason):
            holdout_task(replace(task, reference=reference), "reference", streams)


def test_without_a_clean_reference_it_is_skipped_with_the_reason(tmp_path):
    store = Store.open(tmp_path)
    for held, reason in ((HeldOut(size=0), "size is 0"), (HeldOut(mode="overlap"), "overlaps")):
        record, _ = run_cell(cell(reference=held), store)
        assert record.status == "skipped"
        assert reason in record.reason
    assert run_cell(cell(reference=HeldOut(size=0), **CROSS), store)[0].status == "done"


def irreducible_of(store, one):
    task = load_task(one.spec, one.data)

    def never(spec, need):
        raise AssertionError("it is recorded")
        yield

    return run_to_end(gather_irreducible(one.spec, store, task, one.pruner(), never))[0]


def test_losses_are_those_of_the_epoch_that_was_chosen(grid):
    store, cells = grid
    one = cells[0]
    spec = holdout_specs(one.pruner(), one.spec)[0]
    task = load_task(spec, one.data)
    holdout, states = holdout_task(task, "reference", streams_of(spec)), []
    keep = Hooks(lambda run: states.append({k: v.clone() for k, v in run.model.state_dict().items()}
                                           ) and None)  # fmt: skip
    run = trainer_of(Cell(spec, one.data), task=holdout.task, callbacks=[keep])
    run.fit()
    check, curve = holdout.check, []
    for state in states:
        run.model.load_state_dict(state)
        logits = run.model.eval()(run.inputs.unaugmented(check.sample_ids))
        curve.append(torch.nn.functional.cross_entropy(logits, check.labels).item())
    fact = store.get(one.spec.key).info["holdout"][0]
    assert fact["epoch"] == int(np.argmin(curve)) + 1
    assert fact["loss"] == pytest.approx(min(curve), rel=1e-4)
    run.model.load_state_dict(states[fact["epoch"] - 1])
    logits = run.model.eval()(run.inputs.unaugmented(task.train.sample_ids))
    losses = torch.nn.functional.cross_entropy(logits, task.train.labels, reduction="none")
    found = irreducible_of(store, one)
    assert torch.allclose(found, losses, rtol=1e-4, atol=1e-4)
    wrong = task.flipped
    assert found[wrong].mean() > found[~wrong].mean()
    assert irreducible_of(store, cells[2]).isfinite().all()


def test_a_damaged_model_is_trained_again(grid, tmp_path):
    store = Store.open(tmp_path)
    first, _ = run_cell(cell(), store)
    key = first.info["holdout"][0]["key"]
    file = store.evidence_path(key) / "irreducible.npy"
    np.save(file, np.zeros(3, dtype=np.float32))
    second, made = run_cell(cell(0.7), store)
    assert made
    assert second.info["holdout"] == first.info["holdout"]
    assert torch.equal(irreducible_of(store, cell()), irreducible_of(grid[0], cell()))


def test_a_model_goes_on_from_its_checkpoint(tmp_path):
    one = cell()
    spec = holdout_specs(one.pruner(), one.spec)[0]
    task = load_task(spec, one.data)
    holdout = holdout_task(task, "reference", streams_of(spec))

    def begun():
        recorder = HoldoutRecorder(holdout, task.train.sample_ids, task.train.labels)
        return trainer_of(Cell(spec, one.data), task=holdout.task, callbacks=[recorder]), recorder

    whole, best = begun()
    whole.fit()
    half, _ = begun()
    for _ in half.epoch_steps():
        pass
    checkpoint.save(half, tmp_path, "key")
    resumed, again = begun()
    assert checkpoint.restore(resumed, tmp_path, "key")
    assert again.epoch == 1
    resumed.fit()
    assert again.facts == best.facts
    for recorder, run in ((best, whole), (again, resumed)):
        recorder.judge(run)
    assert torch.equal(best.losses, again.losses)
    assert best.scoring == again.scoring == EPOCHS * len(holdout.check) + len(task.train)


def test_a_captured_step_reads_the_losses_of_its_run():
    before = use(CapturedStepPool())
    try:
        found = []
        for graph in ("off", "rehearse"):
            for sign in (1.0, -1.0):
                held = sign * torch.linspace(-9, 9, 1253)
                run = make("rho-loss", graph=graph, ratio=0.5, irreducible_of=held)
                run.fit()
                assert graph == "off" or not run.not_captured_because
                found.append(run.kept_visits.clone())
                run.close()
    finally:
        use(before)
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])
    assert not torch.equal(found[0], found[1])


def test_two_processes_share_a_cell_and_its_model(grid, tmp_path):
    store, _ = grid

    def body(world):
        from prunebench.bench.runs.followers import follow
        from prunebench.bench.train.distributed import world as worlds

        if world.rank:
            return follow()
        record, _ = run_cell(cell(), Store.open(tmp_path))
        worlds.broadcast_job(None)
        return record.status, record.info["holdout"], dict(record.ledger)

    (status, holdout, ledger), jobs = together(body)
    assert (status, jobs) == ("done", 2), holdout
    alone = store.get(cell().spec.key)
    assert ledger["proxy_trained"] == alone.ledger["proxy_trained"]
    assert holdout[0]["key"] == alone.info["holdout"][0]["key"]
    one, other = irreducible_of(Store(tmp_path), cell()), irreducible_of(store, cell())
    assert torch.allclose(one, other, rtol=1e-2, atol=1e-2)


def test_a_loop_of_ones_own_hands_the_losses_over():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    data = torch.utils.data.TensorDataset(x, torch.arange(40) % 2)
    with pytest.raises(InputError, match=r"irreducible.*rho-loss.*irreducible_losses"):
        prunebench.Pruning(data, "rho-loss", epochs=2, ratio=0.5)
    with pytest.raises(InputError, match="shape"):
        prunebench.Pruning(data, "rho-loss", epochs=2, ratio=0.5, irreducible=torch.zeros(3))
    with pytest.raises(InputError, match="reads no losses"):
        prunebench.Pruning(data, "infobatch", epochs=2, ratio=0.5, irreducible=torch.zeros(40))
    model = torch.nn.Linear(3, 2)
    held = prunebench.irreducible_losses(model, data)
    expected = torch.nn.functional.cross_entropy(model(x), data.tensors[1], reduction="none")
    assert torch.allclose(held, expected, atol=1e-6)
    pruning = prunebench.Pruning(data, "rho-loss", epochs=2, ratio=0.5, irreducible=held)
    pruning.begin_epoch()
    sample = torch.arange(8)
    chosen = pruning.choose(torch.zeros(8, 2), x[:8], data.tensors[1][:8], sample)
    assert chosen.tolist() == held[:8].argsort(stable=True)[:4].sort().values.tolist()


def test_estimates_count_the_models_runs(grid):
    _, cells = grid
    sizes = [cell_cost(Cell(one, cells[2].data, evidence=NEED), DIGITS).trained
             for one in holdout_specs(cells[2].pruner(), cells[2].spec)]  # fmt: skip
    n = len(load_task(cells[2].spec, cells[2].data).train)
    assert sizes == [n // 2 * EPOCHS, (n - n // 2) * EPOCHS]
