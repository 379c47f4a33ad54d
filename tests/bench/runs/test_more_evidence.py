"""Signals, the reference set and learning rates: recorded where they are asked for, read as they
are defined, and added to what an earlier grid has recorded."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from prunebench import progress
from prunebench.bench.checks.population import SimulatedEvidence, simulate_population
from prunebench.bench.estimates.costs import own_evidence
from prunebench.bench.grids.driver import run_cells
from prunebench.bench.results.manifest import read_manifest
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.evidence import RecordedEvidence, Recorder
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.scoring_runs import charged_epochs, evidence_needs
from prunebench.bench.runs.view_files import ViewFiles
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.run_spec import HeldOut
from prunebench.bench.train import static_choice
from prunebench.bench.train.sample_tables import SampleTables
from prunebench.bench.train.task import load_task
from prunebench.datasets.source import Outline
from prunebench.leaderboard.board.check_record import check_shape
from prunebench.methods.base import (
    EvidenceSpec,
    StaticPruner,
    Subset,
    kept_count,
    register_method,
)
from prunebench.methods.keep_k import take
from prunebench.progress import counted, stage
from prunebench.registry import METHODS
from support.card_cells import captured_equals_launched
from support.cells import small_cell
from support.runs import Hooks, make, same

NEW = frozenset({"runner_up", "logit_margin", "divergence"})
LOSSES = frozenset({"loss", "reference_loss"})
ALL = EvidenceSpec(NEW | LOSSES | {"p_target"}, (2,), reference=(1, 3))
SMALL = {"model": "mlp", "recipe_params": {"epochs": 3}}
TINY = {"recipe_params": {"epochs": 3, "model": "mlp", "model_params": {"width": 8, "depth": 1}}}


class Reader(StaticPruner):
    """Needs everything that is new, and scores by the signals' last rows."""

    def needs(self, epochs, warmup):
        return EvidenceSpec(NEW, reference=(warmup,))

    def keep(self, evidence, k, rng):
        view = evidence.reference(evidence.warmup)
        assert len(view.logits) == len(view.features) == len(view.labels) > 0
        assert len(evidence.learning_rates) == len(evidence.divergence) == evidence.epochs
        signals = evidence.divergence, evidence.runner_up, evidence.logit_margin
        scores = sum(signal[-1].double() for signal in signals)
        return Subset(take(scores, k, "high", rng)[0], scores)


@pytest.fixture
def reader(monkeypatch):
    METHODS.load()
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    register_method("reader")(Reader)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A full run with all its evidence: (cell, store, evidence)."""
    cell = replace(small_cell(**TINY), evidence=ALL)
    store = Store.open(tmp_path_factory.mktemp("recorded"))
    assert run_cell(cell, store)[0].status == "done"
    task, folder = load_task(cell.spec, cell.data), store.evidence_path(cell.spec.key)
    recipe = cell.spec.recipe
    return cell, store, RecordedEvidence(task, 3, recipe.scoring_epoch, [folder], recipe=recipe)


def test_signals_are_what_the_visits_gave():
    gen = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (12,), generator=gen)
    names = ["p_target", "correct", "margin", *NEW]
    tables = SampleTables(12, 3, signals=names, num_classes=5)
    last = None
    for _ in range(3):
        logits = 4 * torch.randn(12, 5, generator=gen)
        order = torch.randperm(12, generator=gen)
        for part in order.split(5):
            tables.write(part, torch.zeros(len(part)), logits[part], labels[part])
        p = logits.softmax(1).numpy().astype(np.float64)
        z = logits.numpy().astype(np.float64)
        for i, y in enumerate(labels.tolist()):
            others = [c for c in range(5) if c != y]
            at = {name: float(tables.signal(name)[i]) for name in NEW}
            assert at["runner_up"] == pytest.approx(p[i, others].max(), rel=1e-5)
            assert at["logit_margin"] == pytest.approx(z[i, y] - z[i, others].max(), rel=1e-4)
            if last is None:
                assert np.isnan(at["divergence"])
            else:
                moved = np.abs(p[i] * (np.log(p[i] + 1e-8) - np.log(last[i] + 1e-8))).sum()
                assert at["divergence"] == pytest.approx(moved, rel=1e-4)
        last = p


def test_recorded_rows_have_their_shapes_and_meaning(recorded):
    _, _, evidence = recorded
    n = len(evidence.labels)
    assert evidence.divergence[0].isnan().all()
    assert (evidence.divergence[1:] >= 0).all()
    assert evidence.runner_up.shape == evidence.logit_margin.shape == (3, n)
    assert (evidence.runner_up + evidence.p_target <= 1 + 1e-5).all()
    ahead = evidence.p_target > evidence.runner_up
    assert torch.equal(ahead, evidence.logit_margin > 0)


def test_the_reference_set_is_that_of_the_task(recorded):
    cell, store, evidence = recorded
    reference = load_task(cell.spec, cell.data).reference
    for epoch in (1, 3):
        view = evidence.reference(epoch)
        assert torch.equal(view.labels, reference.labels)
        assert view.logits.shape == (len(reference), evidence.num_classes)
        assert len(view.features) == len(reference)
    right = (view.logits.argmax(1) == view.labels).double().mean()
    assert right > 0.3
    with pytest.raises(KeyError, match="not declared"):
        evidence.reference(2)
    manifest = read_manifest(store.evidence_path(cell.spec.key))
    assert manifest["scoring"] == (1 + 3) * len(evidence.labels) + (2 + 3) * len(reference)


def test_losses_are_those_of_the_views_of_their_epoch(recorded):
    _, _, evidence = recorded
    snapshot, entropy = evidence.snapshot(2), torch.nn.functional.cross_entropy
    expected = entropy(snapshot.logits, evidence.labels, reduction="none")
    assert torch.allclose(evidence.loss[1], expected, atol=1e-5)
    for epoch in (1, 3):
        view = evidence.reference(epoch)
        expected = entropy(view.logits, evidence.reference_labels, reduction="none")
        assert torch.allclose(evidence.reference_loss[epoch - 1], expected, atol=1e-5)
    assert torch.equal(evidence.reference_labels, view.labels)
    assert (len(evidence.loss), len(evidence.reference_loss)) == (3, 3)


@pytest.mark.parametrize("fields", [
    {}, {"schedule": "cosine", "drop_last": True}, {"schedule": "multi_step"},
], ids=str)  # fmt: skip
def test_learning_rates_are_those_of_the_run(run, fields):
    recipe = {**TINY["recipe_params"], **fields, "batch_size": 100}
    record, store = run(recipe_params=recipe)
    cell = small_cell(recipe_params=recipe)
    evidence = RecordedEvidence(load_task(cell.spec, cell.data), 3, 2, [], recipe=cell.spec.recipe)
    text = store.artifact(record.key, "epochs.csv").decode()
    found = [float(row["lr"]) for row in csv.DictReader(io.StringIO(text))]
    assert evidence.learning_rates.tolist() == found[:3]


def test_recording_more_leaves_the_run_as_it_is(recorded):
    cell, store, _ = recorded
    plain = Store.open(store.root / "plain")
    one, two = run_cell(replace(cell, evidence=EvidenceSpec()), plain)[0], store.get(cell.spec.key)
    assert one.metrics == two.metrics
    assert {n: a["sha256"] for n, a in one.artifacts.items()} == {
        n: a["sha256"] for n, a in two.artifacts.items()
    }


def test_a_later_grid_adds_to_what_was_recorded(tmp_path, reader):
    store, options = Store(tmp_path), ExecutionOptions(mlflow=False, quiet=True, inline=True)
    first = [small_cell(name, **TINY) for name in ("small-loss", "forgetting", "full")]
    assert not run_cells(first, store, options).warnings
    key = small_cell(**TINY).spec.key
    before, held = store.get(key), read_manifest(store.evidence_path(key))["needs"]
    assert held == {"signals": ["correct"], "snapshots": [2], "strong": []}
    later = [small_cell("reader", ratio=ratio, **TINY) for ratio in (0.3, 0.5)]
    report = run_cells([*later, *first], store, options)
    assert {outcome.status for outcome in report.outcomes} <= {"done", "diverged"}
    assert [line for line in report.warnings if "1 recorded scoring runs were run again" in line]
    assert read_manifest(store.evidence_path(key))["needs"] == {
        "signals": sorted(NEW | {"correct"}), "snapshots": [2], "strong": [], "reference": [2],
    }  # fmt: skip
    assert store.get(key).digest == before.digest
    assert not run_cells([small_cell("small-loss", ratio=0.3, **TINY)], store, options).warnings
    record = store.get(later[0].spec.key)
    assert record.info["clean_labels_used"] == "reference set"
    n, m = record.info["train_size"], record.info["reference_size"]
    assert (record.ledger["proxy_trained"], record.ledger["proxy_scoring"]) == (3 * n, m)


def test_cld_joins_a_recorded_run_and_is_charged_its_passes(tmp_path):
    """Its losses are added to what the shared run holds; a reference of size 0 skips it alone."""
    store, options = Store(tmp_path), ExecutionOptions(mlflow=False, quiet=True, inline=True)
    run_cells([small_cell("small-loss", **TINY)], store, options)
    cells = [small_cell(name, **TINY) for name in ("cld", "cld@top")]
    run_cells(cells, store, options)
    for cell in cells:
        record = store.get(cell.spec.key)
        assert record.status == "done", record.reason
        assert record.info["clean_labels_used"] == "the reference set"
        assert record.info["score"] == "cld"
        n, m = record.info["train_size"], record.info["reference_size"]
        paid = record.ledger["proxy_trained"], record.ledger["proxy_scoring"]
        assert paid == (3 * n, 3 * (n + m))
    held = read_manifest(store.evidence_path(small_cell(**TINY).spec.key))
    assert held["needs"]["signals"] == sorted(LOSSES)
    assert held["scoring"] == 3 * (n + m) + n
    own, _ = own_evidence(cells[0], Outline(1347, 450, (1, 8, 8), 10))
    assert own.evidence_forward == 3 * (n + m)
    none = [small_cell(name, reference=HeldOut(size=0), **TINY) for name in ("cld", "small-loss")]
    run_cells(none, store, options)
    assert [store.get(cell.spec.key).status for cell in none] == ["skipped", "done"]


def test_without_a_reference_set_its_readers_are_skipped_alone(tmp_path, reader):
    store, options = Store(tmp_path), ExecutionOptions(mlflow=False, quiet=True, inline=True)
    none = {"reference": HeldOut(size=0), **TINY}
    cells = [small_cell(name, **none) for name in ("reader", "small-loss")]
    run_cells(cells, store, options)
    skipped, other = (store.get(cell.spec.key) for cell in cells)
    assert (skipped.status, other.status) == ("skipped", "done")
    assert "no clean reference set" in skipped.reason
    run_cells([small_cell("reader", ratio=0.3, **none)], store, options)


def test_a_method_is_charged_up_to_its_last_epoch():
    assert charged_epochs(EvidenceSpec(NEW, until=4), 9) == 4
    assert charged_epochs(EvidenceSpec(NEW, (7,), until=4), 9) == 7
    assert charged_epochs(EvidenceSpec(NEW, (7,)), 9) == 9
    assert charged_epochs(EvidenceSpec(reference=(5,)), 9) == 5
    assert charged_epochs(EvidenceSpec(ssl=True), 9) == 0


def test_needs_survive_a_payload(reader):
    cell = replace(small_cell(**TINY), evidence=ALL)
    assert Cell.from_json(cell.to_json()).evidence == ALL
    need = evidence_needs(small_cell("reader", **TINY).pruner(), cell.spec)
    assert (need.reference, need.empty) == ((2,), False)


def watched(folder):
    recorder = Recorder(ALL, ViewFiles(folder))
    return make(graph="off", callbacks=(recorder,), **SMALL), recorder


def test_the_table_of_the_last_softmax_survives_a_restart(tmp_path):
    from prunebench.bench.runs.checkpoint import restore, save

    saved, folder = [], tmp_path / "checkpoints" / "key"
    whole, rows = watched(tmp_path / "other" / "key")
    whole.fit()
    recorder = Recorder(ALL, ViewFiles(folder))
    keep = Hooks(lambda run: saved.append(run.epoch) or save(run, folder, "key"))
    half = make(graph="off", callbacks=(recorder, keep), **SMALL)
    for _ in half.epoch_steps():
        pass
    assert saved == [1]
    resumed, again = watched(folder)
    assert restore(resumed, folder, "key")
    resumed.fit()
    assert same(whole, resumed)
    for name in NEW | LOSSES:
        one, two = torch.stack(rows.rows[name]), torch.stack(again.rows[name])
        assert torch.equal(one.nan_to_num(-7), two.nan_to_num(-7))
    assert rows.views == again.views
    assert len(rows.views) == 6


def test_a_card_captures_the_writing_of_the_signals(tmp_path, reader):
    """Scores are artifacts, so that the signals of the captured run are those of the launched."""
    record = captured_equals_launched(tmp_path, method="reader")
    assert record.info["clean_labels_used"] == "reference set"


class Slow(Reader):
    """Says how far it is, and in which stage."""

    def needs(self, epochs, warmup):
        return EvidenceSpec(snapshots=(warmup,))

    def keep(self, evidence, k, rng):
        evidence.snapshot(evidence.warmup)
        with stage("picks"):
            kept = list(counted(range(k)))
        return Subset(torch.tensor(kept))


def test_a_choice_is_timed_by_stage_and_shown_where_it_takes_long(tmp_path, reader, monkeypatch):
    register_method("slow-choice")(Slow)
    monkeypatch.setattr(static_choice, "LONG_S", 0.0)
    monkeypatch.setattr(progress, "_EVERY_S", 0.0)
    heard, store = [], Store.open(tmp_path)
    record, _ = run_cell(small_cell("slow-choice", **TINY), store,
                         context=WorkerContext(report=heard.append))  # fmt: skip
    assert record.status == "done", record.reason
    timing = record.timing
    assert timing["choice_s"] >= timing["choice.picks_s"] + timing["choice.reading_s"] > 0
    k = kept_count(record.info["train_size"], 0.5)
    choice, training = heard[:k], heard[k:]
    assert choice == sorted(choice)
    assert choice[0] == 0
    assert 0.49 < choice[-1] < 0.5
    assert training[:3] == pytest.approx([4 / 6, 5 / 6, 1], abs=0.01)
    check_shape(record)
    plain, _ = run_cell(small_cell("random-dynamic", **TINY), store)
    assert "choice_s" not in plain.timing


def test_a_short_choice_is_not_shown(tmp_path, reader):
    register_method("short-choice")(Slow)
    heard = []
    run_cell(small_cell("short-choice", **TINY), Store.open(tmp_path),
             context=WorkerContext(report=heard.append))  # fmt: skip
    assert heard[:3] == pytest.approx([1 / 3, 2 / 3, 1], abs=0.01)


def test_a_method_is_served_the_epochs_that_it_is_charged_for(recorded):
    cell, store, whole = recorded
    task, folder = load_task(cell.spec, cell.data), store.evidence_path(cell.spec.key)
    part = RecordedEvidence(task, 3, 2, [folder], until=2)
    for name in ("p_target", *NEW, *LOSSES):
        assert torch.equal(getattr(part, name).nan_to_num(-7),
                           getattr(whole, name)[:2].nan_to_num(-7))  # fmt: skip
    population = simulate_population()
    simulated = SimulatedEvidence(population, 2, EvidenceSpec(NEW | {"correct"}, until=3))
    assert len(simulated.divergence) == len(simulated.correct) == 3
