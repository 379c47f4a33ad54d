"""One cell from spec to record: repeatable, resumable, honest about failures."""

import io
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.results.claims import Busy, Claims
from prunebench.bench.results.manifest import read_manifest
from prunebench.bench.results.store import Store
from prunebench.bench.runs import execute as cell_module
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.export import export_csv
from prunebench.bench.runs.rerun import compare_records
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.metrics import end_loss, whole_epochs
from prunebench.bench.train.task import load_task
from prunebench.methods.base import DynamicPruner, Plan, register_method
from prunebench.registry import METHODS
from support.cells import small_cell

METHOD_NAMES = ["full", "short-full", "full+reference", "random", "random-dynamic", "small-loss",
                "forgetting", "infobatch", "infobatch+align"]  # fmt: skip


def digests(record):
    return {name: entry["sha256"] for name, entry in record.artifacts.items()}


@pytest.mark.parametrize("method", ["small-loss", "infobatch+align"])
def test_twice_in_two_folders_the_same_bits(run, method):
    one, _ = run(method, "a")
    two, _ = run(method, "b")
    assert one.status == "done"
    assert one.key == two.key
    assert one.metrics == two.metrics
    assert one.ledger == two.ledger
    assert digests(one) == digests(two)
    assert {"epochs.csv", "predictions.npz", "samples.npz", "classes.csv"} <= one.artifacts.keys()


def test_a_standing_record_is_not_run_again(run):
    first, _ = run("random")
    again, _ = run("random")
    assert again.digest == first.digest


def test_records_stay_under_4_kb(run):
    record, store = run("infobatch+align")
    assert len((store.records / f"{record.key}.json").read_bytes()) < 4096


def test_all_methods_train_the_same_number_of_samples(run):
    counts = {}
    for method in METHOD_NAMES:
        record, _ = run(method)
        assert record.status == "done", record.reason
        counts[method] = record.ledger["trained"]
        assert record.ledger["target"] == record.ledger["trained"]
    at_zero = {counts.pop("full"), counts.pop("full+reference")}
    assert len(at_zero) == 1
    assert len(set(counts.values())) == 1
    assert counts["random"] == round(0.5 * at_zero.pop())


def test_static_methods_share_one_scoring_run(run, tmp_path):
    a, store = run("small-loss")
    b, _ = run("forgetting")
    assert a.ledger["proxy_trained"] == b.ledger["proxy_trained"] > 0
    folders = list(store.root.joinpath("evidence").iterdir())
    assert len(folders) == 1
    parts = [(record.info["score"], record.info["sampler"]) for record in (a, b)]
    assert parts == [("small-loss", "top"), ("forgetting", "balanced")]
    full = store.get(folders[0].name)
    assert full.spec["method"]["name"] == "full"
    assert not {"score", "sampler"} & full.info.keys()
    assert full.status == "done"
    held = read_manifest(folders[0])["needs"]
    assert held == {"signals": ["correct"], "snapshots": [2], "strong": []}


def test_taking_evidence_leaves_the_run_as_it_is(run):
    plain, _ = run("full", "a")
    run("small-loss", "b")
    watched, _ = run("full", "b")
    assert plain.metrics == watched.metrics
    assert digests(plain) == digests(watched)


def test_small_loss_keeps_what_the_evidence_says(run):
    record, store = run("small-loss")
    with np.load(store.artifact_path(record.key, "samples.npz"), allow_pickle=False) as samples:
        score, ids, kept = samples["score"], samples["id"], samples["kept"]
    best = set(ids[np.argsort(score)[: len(kept)]].tolist())
    assert set(kept.tolist()) == best
    assert record.metrics["kept_noise_rate"] < 0.3
    assert export_csv(store, record.key, "kept").splitlines()[1:] == [str(i) for i in kept]


def test_damaged_evidence_is_set_aside_and_redone(run):
    _, store = run("small-loss")
    folder = next(store.root.joinpath("evidence").iterdir())
    array = next(folder.glob("snapshot-*-logits.npy"))
    data = bytearray(array.read_bytes())
    data[-1] ^= 1
    array.write_bytes(bytes(data))
    other, _ = run("small-loss", ratio=0.3)
    assert other.status == "done"
    assert list(store.root.joinpath("quarantine").iterdir())
    assert array.read_bytes() != bytes(data)


def test_damaged_evidence_of_a_run_at_chance_is_redone_too(run, monkeypatch):
    monkeypatch.setattr(cell_module, "diverged", lambda *_: True)
    _, store = run("small-loss")
    folder = next(store.root.joinpath("evidence").iterdir())
    assert store.get(folder.name).status == "diverged"
    (folder / "ids.npy").write_bytes(b"")
    other, _ = run("small-loss", ratio=0.3)
    assert other.status == "diverged", other.reason  # not failed for want of evidence


def test_interrupted_cells_go_on_from_their_checkpoint(run, tmp_path, monkeypatch):
    corrupted = {"corrupt": "mixed:0.3"}
    clean, _ = run("infobatch+align", "a", **corrupted)
    steps = []
    real = cell_module.checkpoint.save

    def save_then_die(trainer, folder, name):
        real(trainer, folder, name)
        steps.append(trainer.epoch)
        raise KeyboardInterrupt

    monkeypatch.setattr(cell_module.checkpoint, "save", save_then_die)
    options = ExecutionOptions(checkpoint_s=0.0)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run("infobatch+align", "b", options=options, **corrupted)
    monkeypatch.undo()
    record, store = run("infobatch+align", "b", options=options, **corrupted)
    assert steps == [1, 2, 3]
    assert record.metrics == clean.metrics
    assert digests(record) == digests(clean)
    assert not store.checkpoint_path(record.key).exists()


def test_held_cells_are_busy(run, tmp_path):
    store = Store.open(tmp_path / "a")
    planned = small_cell("random")
    with Claims(store.claims).acquire(planned.spec.key), pytest.raises(Busy):
        run_cell(planned, store)


def test_edited_records_are_quarantined_and_redone(run):
    record, store = run("random")
    path = store.records / f"{record.key}.json"
    path.write_text(path.read_text().replace('"test_accuracy":0.', '"test_accuracy":0.9'))
    assert len(store.scan().problems) == 1
    again, _ = run("random")
    assert again.metrics == record.metrics
    assert not store.scan().problems


def failing(error: Exception):
    class Failing(DynamicPruner):
        def plan(self, progress, tables, rng):
            if progress.epoch == 2:
                raise error
            return self.everything()

    return Failing


@pytest.fixture
def temporary_method():
    names = []

    def add(cls):
        name = f"temporary-{len(METHODS.names())}"
        register_method(name)(cls)
        names.append(name)
        return name

    yield add
    for name in names:
        del METHODS._entries[name]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("boom"), "RuntimeError: boom"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA"), "out of memory: CUDA"),
    ],
)
def test_exceptions_become_records_with_their_traceback(run, temporary_method, error, reason):
    record, store = run(temporary_method(failing(error)))
    assert record.status == "failed"
    assert record.reason.startswith(reason)
    assert b"in plan" in store.artifact(record.key, "traceback.txt")
    again, _ = run(record.spec["method"]["name"])
    assert again.digest == record.digest
    retried, _ = run(record.spec["method"]["name"], options=ExecutionOptions(retry_failed=True))
    assert retried.digest != record.digest


@pytest.mark.parametrize(
    ("plan", "breach"),
    [
        (lambda v: Plan(torch.tensor([0, 0])), "twice"),
        (lambda v: Plan(torch.tensor([v.num_samples])), "outside"),
        (lambda v: Plan(torch.tensor([1.0])), "int64"),
        (lambda v: Plan(torch.tensor([], dtype=torch.int64)), "empty"),
        (lambda v: Plan(torch.tensor([1, 2]), torch.tensor([1.0, torch.nan])), "finite"),
        (lambda v: Plan(torch.tensor([1, 2]), torch.tensor([1.0])), "as long"),
        (lambda v: [1, 2], "not a Plan"),
    ],
)
def test_nonsense_plans_fail_with_a_clear_reason(run, temporary_method, plan, breach):
    class Nonsense(DynamicPruner):
        def plan(self, progress, tables, rng):
            return plan(self.view)

    record, _ = run(temporary_method(Nonsense))
    assert record.status == "failed"
    assert breach in record.reason


def test_unreachable_budgets_are_skipped(run, temporary_method):
    class Stingy(DynamicPruner):
        def plan(self, progress, tables, rng):
            return Plan(torch.tensor([0, 1]))

    record, _ = run(temporary_method(Stingy))
    assert record.status == "skipped"
    assert record.reason.startswith("budget unreachable")


def test_divergence_keeps_the_value(run):
    exploding = {"lr": 1e6, "schedule": "constant"}
    record, _ = run("full", recipe_params=exploding)
    assert record.status == "diverged"
    assert record.metrics["test_accuracy"] <= 0.145
    hopeless = {"lr": 1e-9, "schedule": "constant"}
    record, _ = run("full", recipe_params=hopeless)
    assert record.status == "diverged"
    assert "chance" in record.reason


def test_losses_of_chosen_epochs_are_stored(run):
    record, store = run("random-dynamic", losses=frozenset({1, 3}))
    with np.load(store.artifact_path(record.key, "losses.npz"), allow_pickle=False) as stored:
        assert stored["epoch"].tolist() == [1, 3]
        assert stored["loss"].shape == (2, record.ledger["num_samples"])
        seen = np.isfinite(stored["loss"]).mean(axis=1)
        wrong = stored["wrong"]
    assert wrong.shape == (record.ledger["num_samples"],)
    assert wrong.mean() == pytest.approx(record.info["noise_rate"], abs=1e-6)
    assert 0 < wrong.mean() < 1
    assert seen[0] == pytest.approx(0.5, abs=0.01)
    assert seen[1] > seen[0]


def test_plans_put_the_shared_runs_first_and_once():
    cells = [
        small_cell(method, ratio=ratio, seed=seed, noise=noise)
        for method in ("small-loss", "forgetting", "random")
        for ratio in (0.3, 0.5)
        for seed in (0, 1)
        for noise in ("clean", "symmetric:0.2")
    ]
    planned = plan_jobs([*cells, *cells])
    assert len(planned.jobs) == 24 + 4
    assert planned.shared == planned.added
    assert [job.key for job in planned.jobs[:4]] == planned.shared
    for job in planned.jobs[:4]:
        assert job.payload["evidence"] == {
            "signals": ["correct"], "snapshots": [2], "strong": []
        }  # fmt: skip
    dependants = [job for job in planned.jobs if job.after]
    assert len(dependants) == 16
    assert len({job.key for job in planned.jobs}) == len(planned.jobs)


def test_proxies_have_keys_of_their_own():
    spec = small_cell("small-loss").spec
    proxy = spec.scoring_spec()
    assert proxy.key != spec.key
    assert proxy.key == small_cell("full").spec.key
    assert spec.scoring_spec(replica=1).key not in (spec.key, proxy.key)


def test_options_of_execution_are_no_part_of_the_key(run):
    a, _ = run("random", "a", options=ExecutionOptions(checkpoint_s=0.0))
    b, _ = run("random", "b", options=ExecutionOptions(retry_failed=True))
    assert a.key == b.key
    assert a.metrics == b.metrics


#: A ratio at which the last epoch of a static method trains one sample of its plan.
STUB = {"ratio": 0.35, "recipe_params": {"epochs": 3}}


def test_an_epoch_cut_to_one_sample_is_no_whole_epoch(run):
    record, store = run("random", **STUB)
    kept, n = 814, record.ledger["num_samples"]
    assert record.ledger["trained"] == 3 * kept + 1
    assert record.ledger["epochs"] == 4  # begun
    metrics = record.metrics
    assert metrics["whole_epochs"] == pytest.approx(3 + 1 / kept)
    assert metrics["kept_per_epoch"] == pytest.approx(kept / n)
    assert record.info["metrics"] == 4
    table = pd.read_csv(io.BytesIO(store.artifact(record.key, "epochs.csv")))
    assert table["trained"].tolist() == [kept] * 3 + [1]
    assert table["planned"].tolist() == [kept] * 4
    losses = table["train_loss"].to_numpy()
    assert metrics["end_train_loss"] == pytest.approx((kept * losses[2] + losses[3]) / (kept + 1))
    classes = pd.read_csv(io.BytesIO(store.artifact(record.key, "classes.csv")))
    labels = load_task(small_cell("random", **STUB).spec, {}).train.labels
    size = np.bincount(labels.numpy())
    assert (classes["kept_per_epoch"] * size).sum() / n == pytest.approx(kept / n)
    # As earlier versions recorded it, beside the mended figures.
    assert metrics["kept_fraction"] == pytest.approx((3 * kept + 1) / (4 * n))


@pytest.mark.parametrize(("method", "kept"), [("short-full", 1.0), ("divbs", 803 / 1253)])
def test_the_share_of_the_plan_is_not_that_of_a_cut_epoch(run, method, kept):
    record, store = run(method, **STUB)
    table = pd.read_csv(io.BytesIO(store.artifact(record.key, "epochs.csv")))
    spent = record.ledger["trained"] + record.ledger["scoring_forward"] / 3
    assert table["spent"].iloc[-1] == pytest.approx(spent)
    assert table["spent"].iloc[-1] > 1.3 * table["trained"].sum() or method == "short-full"
    assert table["spent"].is_monotonic_increasing
    assert record.ledger["trained"] < record.ledger["epochs"] * round(kept * 1253)
    assert record.metrics["kept_per_epoch"] == pytest.approx(kept)


def test_whole_epochs_count_the_last_by_its_share():
    rows = [{"trained": 40, "planned": 40, "train_loss": 2.0},
            {"trained": 0, "planned": 0, "train_loss": None},
            {"trained": 10, "planned": 40, "train_loss": 1.0}]  # fmt: skip
    assert whole_epochs(rows) == Fraction(9, 4)
    assert end_loss(rows) == 1.0
    assert end_loss([rows[0], rows[2]]) == pytest.approx(1.8)
    assert end_loss(rows[:2]) is None


def test_repeating_a_record_of_the_first_set_of_metrics_compares_what_both_have(run):
    new, _ = run("random", **STUB)
    old = replace(
        new,
        metrics={n: v for n, v in new.metrics.items() if "epoch" not in n and n[:4] != "end_"},
        info={n: v for n, v in new.info.items() if n != "metrics"},
        artifacts={**new.artifacts, "epochs.csv": {"sha256": "0" * 64, "bytes": 1}},
    )
    assert compare_records(old, new)["identical"]
    lines = compare_records(replace(old, metrics={**old.metrics, "kept_fraction": 0.1}), new)
    assert any(line.startswith("kept_fraction: 0.1") for line in lines["differences"])
