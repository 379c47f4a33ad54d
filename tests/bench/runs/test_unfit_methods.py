"""A method that asks for what a data set cannot give is skipped alone: those that share its
scoring run go on."""

from dataclasses import replace

import pytest

from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.bench.runs.scoring_runs import find_evidence
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train import stopping
from prunebench.bench.train.task import load_task
from prunebench.methods.base import EvidenceSpec
from prunebench.registry import METHODS

NAMES = ["full", "el2n", "moderate", "prune4rel", "ssp", "airbench-proxy"]
TEXTS = [f"{word} and {word} or {other}" for word in ("cat", "dog", "owl") for other in "abcdefgh"]


@pytest.fixture(params=["vectors", "texts"])
def cells(request, tmp_path):
    if request.param == "vectors":
        task, recipe = {"dataset": "digits", "dataset_params": {"pca": 4}}, {"epochs": 2}
    else:
        table = tmp_path / "texts.csv"
        rows = [f"{text},{text[:3]}\n" for text in TEXTS * 3]
        table.write_text("text,label\n" + "".join(rows))
        task, recipe = {"dataset": f"text:{table}"}, {"epochs": 2}
    return [
        resolve_cell(**task, noise="clean", seed=0, method=name, recipe_params=recipe,
                     ratio=0.0 if name == "full" else 0.5)
        for name in NAMES
    ]  # fmt: skip


def test_one_unfit_method_takes_no_other_along(cells, tmp_path):
    store = Store.open(tmp_path / "out")
    planned = plan_jobs(cells)
    for job in planned.jobs:
        run_cell(planned.cells[job.key], store)
    records = {cell.spec.method.name: store.get(cell.spec.key) for cell in cells}
    assert "failed" not in {record.status for record in records.values()}
    skipped = {name: record for name, record in records.items() if record.status == "skipped"}
    assert {name: record.reason for name, record in skipped.items()} == {
        "prune4rel": "no strong view for data that are no images",
        "ssp": "self-supervised features need images",
    }  # fmt: skip
    # What is recorded counts as all that was asked for, so that no run is repeated for the view.
    full = planned.cells[cells[0].spec.key]
    assert full.evidence.strong
    task = load_task(full.spec, full.data)
    folder = find_evidence(store, full.spec.key, full.evidence, task, 2)
    assert folder is not None
    assert not list(folder.glob("strong-*"))


def test_a_stopped_scoring_run_goes_on_without_the_view_it_cannot_give(cells, tmp_path):
    need = EvidenceSpec(frozenset({"p_target"}), snapshots=(1, 2), strong=(1,))
    cell, often = replace(cells[0], evidence=need), ExecutionOptions(checkpoint_s=0.0)
    store = Store.open(tmp_path / "out")
    found = store.checkpoint_path(cell.spec.key) / "snapshot-1-logits.npy"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "asked", found.is_file)
        with pytest.raises(stopping.Stopped):
            run_cell(cell, store, often)
    assert run_cell(cell, store, often)[0].status in ("done", "diverged")
    assert not any((store.root / "quarantine").iterdir())  # the checkpoint was good


def test_what_waits_for_a_skipped_run_is_skipped_with_its_reason(tmp_path, monkeypatch):
    METHODS.load()
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    monkeypatch.setattr(METHODS.get("el2n").target, "proxy_criterion", True)
    cell = resolve_cell(
        dataset="digits", dataset_params={"pca": 4}, noise="clean", seed=0, method="el2n",
        ratio=0.5, criterion="sop+", recipe_params={"epochs": 2},
    )  # fmt: skip
    record, _ = run_cell(cell, Store.open(tmp_path))
    assert (record.status, record.reason[-42:]) == (
        "skipped", "no strong view for data that are no images"
    )  # fmt: skip
