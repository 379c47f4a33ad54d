"""Evidence once: one shared run per (data set, noise, seed), whatever the methods and ratios."""

import io
import itertools
from collections import Counter

import numpy as np
import pytest

from prunebench.bench.estimates.costs import cell_cost, encoders
from prunebench.bench.grids.driver import run_cells
from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.results.store import Store
from prunebench.bench.runs.scoring_runs import evidence_needs
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.run_spec import HeldOut
from prunebench.datasets.source import Outline
from prunebench.errors import InputError
from prunebench.methods.base import StaticPruner
from prunebench.methods.compose import list_methods, scores
from prunebench.registry import SAMPLERS
from support.cells import small_cell

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


def test_all_static_methods_and_ratios_cost_one_run_and_one_encoder():
    """Whatever is registered: a method that costs a run of its own fails here; name it then."""
    infos = [info for info in list_methods() if issubclass(info.target, StaticPruner)]
    bare = [info.name for info in infos if not info.target.argument]  # others read a file
    own = [info.name for info in scores() if not info.target.argument]
    names = [*bare, *(f"{score}@{sampler}" for score in own for sampler in SAMPLERS.names())]
    assert {*STATIC, "random", "oracle-clean"} <= set(bare)
    assert len(names) >= 25
    wanted = [small_cell(name, ratio=ratio) for name in names for ratio in (0.3, 0.5, 0.8)]
    for cell in wanted:
        assert evidence_needs(cell.pruner(), cell.spec).repeats == 1, cell.spec.method.name
    planned = plan_jobs(wanted)
    assert len(planned.cells) == len({cell.spec.key for cell in wanted}) + 1
    assert planned.added == planned.shared == [small_cell().spec.key]
    assert len(encoders(planned)) == 1
    assert {job.after for job in planned.jobs} == {(), tuple(planned.shared)}


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
        cells(**TINY),
        store,
        ExecutionOptions(workers=2, mlflow=False, quiet=True, checkpoint_s=1e9),
    )
    assert {outcome.status for outcome in report.outcomes} <= {"done", "diverged"}
    assert len(report.outcomes) == 168
    assert len(list((tmp_path / "evidence").iterdir())) == 6 + 1
    records = store.scan().records
    assert sum(r.spec["method"]["name"] == "full" for r in records) == 6
    trained = {r.ledger["proxy_trained"] for r in records if r.spec["method"]["name"] == "margin"}
    assert trained == {2 * records[0].ledger["num_samples"]}  # the snapshot after Tw = 2 epochs
    encoder = [r for r in records if r.spec["method"]["name"] == "ssp"]
    assert len({r.ledger["proxy_trained"] for r in encoder}) == 1
    assert encoder[0].ledger["proxy_trained"] > 0


def test_methods_are_charged_what_they_read(run):
    """Six epochs; Tw = 2; DUAL reads T = max(J + 2, round(0.15 E)) = 4 epochs (J = 2)."""
    n = run("dyn-unc")[0].ledger["num_samples"]
    for method, epochs, passes in (("dyn-unc", 6, 0), ("dual", 4, 0), ("margin", 2, 1),
                                   ("prune4rel", 2, 1), ("random", 0, 0)):  # fmt: skip
        ledger = run(method)[0].ledger
        assert (ledger["proxy_trained"], ledger["proxy_scoring"]) == (epochs * n, passes * n), (
            method
        )


def test_a_scoring_recipe_of_its_own_is_another_run(run):
    shared, store = run("margin")
    own, _ = run("margin", proxy="own")
    assert own.status == "done"
    assert len(list((store.root / "evidence").iterdir())) == 2
    assert own.metrics != shared.metrics
    with pytest.raises(InputError, match="no scoring recipe of its own"):
        plan_jobs([small_cell("infobatch", proxy="own")])


def test_the_reference_replaces_its_noisy_copies_in_overlap_mode(run):
    record, _ = run("full+reference", reference=HeldOut(size=200, mode="overlap"))
    plain, _ = run("full", reference=HeldOut(size=200, mode="overlap"))
    assert record.ledger["trained"] == plain.ledger["trained"]
    assert record.metrics["kept_noise_rate"] < plain.metrics["kept_noise_rate"] - 0.03
    skipped, _ = run("full+reference", reference=HeldOut(size=0))
    assert skipped.status == "skipped"
    assert "reference size is 0" in skipped.reason


def test_infobatch_with_the_reference_trains_on_it_within_the_same_budget(run):
    record, store = run("infobatch+reference", ratio=0.5)
    plain, _ = run("infobatch", ratio=0.5)
    assert record.status == "done"
    assert record.ledger["trained"] == plain.ledger["trained"]
    assert record.metrics["kept_noise_rate"] < plain.metrics["kept_noise_rate"]
    assert record.info["clean_labels_used"] == "reference set, trained on"
    ids = np.load(io.BytesIO(store.artifact(record.key, "samples.npz")))["id"]
    assert len(ids) == record.info["train_size"] + record.info["reference_size"]
    assert run("infobatch+reference", reference=HeldOut(size=0))[0].status == "skipped"
    cost = cell_cost(small_cell("infobatch+reference"), Outline(1347, 450, (1, 8, 8), 10))
    assert cost.trained == record.ledger["trained"]
