"""Evidence once: one shared run per (data set, noise, seed), whatever the methods and ratios."""

import itertools
from collections import Counter

import pytest
from support.cells import small_cell

from prunebench.bench.driver import Running, run_cells
from prunebench.bench.planning import plan_jobs
from prunebench.bench.store import Store

STATIC = ["small-loss", "margin", "forgetting", "grand", "moderate", "ssp", "prune4rel",
          "dyn-unc", "dual"]  # fmt: skip
AXES = list(itertools.product(STATIC, (0.3, 0.5, 0.7), ("clean", "symmetric:0.4"), (0, 1, 2)))
TINY = {
    "dataset": "synthetic",
    "dataset_params": {"n": 150, "test": 40, "classes": 4, "superclasses": 2, "size": 8},
    "recipe_params": {"epochs": 6, "model": "mlp", "model_params": {"width": 8, "depth": 1}},
}


def cells(**fields):
    return [
        small_cell(method, ratio=ratio, noise=noise, seed=seed, **fields)
        for method, ratio, noise, seed in AXES
    ]


def test_nine_methods_share_six_scoring_runs():
    planned = plan_jobs(cells())
    assert len(AXES) == 162
    assert len(planned.shared) == 6
    assert len(planned.jobs) == 162 + 6
    waiting = Counter(job.after for job in planned.jobs if job.after)
    # 9 methods x 3 ratios wait for each of the six, but for the one that reads images alone.
    assert set(waiting.values()) == {8 * 3}
    assert len(waiting) == 6


def test_declared_extras_are_planned_and_no_more():
    extra = [small_cell("grand", params={"repeats": 3}), small_cell("margin")]
    planned = plan_jobs(extra)
    replicas = sorted(planned.cells[key].spec.replica for key in planned.shared)
    assert replicas == [0, 1, 2]
    sop = [small_cell(m, criterion="sop") for m in ("small-loss", "prune4rel")]
    criteria = [plan_jobs(sop).cells[key].spec.criterion.name for key in plan_jobs(sop).shared]
    assert sorted(criteria) == ["ce", "sop"]


@pytest.mark.soak
def test_the_store_holds_six_evidence_runs_and_one_encoder(tmp_path):
    store = Store.open(tmp_path)
    report = run_cells(
        cells(**TINY), store, Running(workers=2, mlflow=False, quiet=True, checkpoint_s=1e9)
    )
    assert {outcome.status for outcome in report.outcomes} <= {"done", "diverged"}
    assert len(report.outcomes) == 168
    assert len(list((tmp_path / "evidence").iterdir())) == 6 + 1
    records = store.scan().records
    assert sum(r.spec["method"]["name"] == "full" for r in records) == 6
    trained = {r.ledger["proxy_trained"] for r in records if r.spec["method"]["name"] == "margin"}
    assert trained == {6 * records[0].ledger["num_samples"]}
    encoder = [r for r in records if r.spec["method"]["name"] == "ssp"]
    assert len({r.ledger["proxy_trained"] for r in encoder}) == 1
    assert encoder[0].ledger["proxy_trained"] > 0
