"""Runs on a long tail: methods that need every class, held-out models, tuning, shared evidence."""

import pytest
import torch

import prunebench as api
from prunebench.bench.runs.resolve import build_spec, resolve_cell
from prunebench.bench.train.task import (
    holdout_task,
    load_task,
    streams_of,
    with_reference_in_training,
)
from prunebench.record import Record

#: Those whose choice goes class by class, by clusters or by neighbours, or that hold samples out.
METHODS = [
    "full",
    "moderate",
    "ccs",
    "el2n@balanced",
    "full+reference",
    "rho-loss",
    "infobatch+align",
]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Each of them at a tenth of 360 samples, of which the smallest class has one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNEBENCH_INLINE", "1")
        found = api.grid(
            {"dataset": "digits", "imbalance": "exp:200", "noise": "symmetric:0.4",
             "method": METHODS, "ratio": 0.9, "recipe_params": {"epochs": 2}},
            out=tmp_path_factory.mktemp("tail"), workers=1, mlflow=False, quiet=True,
        )  # fmt: skip
    return list(found.all)


def test_methods_that_go_by_class_run_where_a_class_has_one_sample(records: list[Record]) -> None:

    rows = {r.spec["method"]["name"]: r for r in records if "part" not in r.spec}
    assert set(METHODS) <= rows.keys()
    for record in records:
        assert record.status in ("done", "diverged"), (record.spec["method"], record.reason)
        assert record.spec["imbalance"] == {"name": "exp:200"}
        assert record.info["smallest_class"] <= 1
    n = rows["moderate"].info["train_size"]
    for name in ("moderate", "ccs", "el2n@balanced"):
        assert rows[name].ledger["trained"] <= 2 * n * 0.1 + 2


def test_one_scoring_run_serves_the_setting(records: list[Record]) -> None:
    full = [r for r in records if r.spec["method"]["name"] == "full" and "part" not in r.spec]
    assert len(full) == 1


def test_tuning_measures_on_the_validation_split_of_the_balanced_run() -> None:
    fields = {"dataset": "digits", "noise": "symmetric:0.4", "role": "tune",
              "validation": {"size": 200, "labels": "noisy"}}  # fmt: skip
    usual, tail = (resolve_cell(**fields, imbalance=name) for name in ("none", "exp:50"))
    a, b = load_task(usual.spec, usual.data), load_task(tail.spec, tail.data)
    assert torch.equal(a.test.labels, b.test.labels)
    assert torch.equal(torch.as_tensor(a.raw.test_x), torch.as_tensor(b.raw.test_x))
    assert len(b.train) < len(a.train) / 2


def test_the_reference_joins_and_halves_split_what_is_kept() -> None:
    cell = resolve_cell(dataset="digits", imbalance="exp:100", noise="symmetric:0.4")
    task = load_task(cell.spec, cell.data)
    assert task.reference is not None
    joined = with_reference_in_training(task)
    assert len(joined.train) == len(task.train) + len(task.reference)
    halves = [holdout_task(task, part, streams_of(cell.spec)) for part in ("first", "second")]
    rows = torch.cat([half.task.train.sample_ids for half in halves]).sort().values
    assert torch.equal(rows, task.train.sample_ids)


def test_keys_name_the_setting_and_leave_the_usual_one_alone() -> None:
    usual = build_spec(dataset="digits")
    assert usual.key == build_spec(dataset="digits", imbalance="none", corrupt="none").key
    assert "imbalance" not in usual.content
    tail = build_spec(dataset="digits", imbalance="exp:50")
    keys = {
        usual.key,
        tail.key,
        build_spec(dataset="digits", imbalance="step:50").key,
        build_spec(dataset="digits", imbalance="exp:50", corrupt="jpeg:0.2").key,
        build_spec(dataset="digits", imbalance="exp:50", noise="symmetric:0.4").key,
    }
    assert len(keys) == 5
    assert build_spec(dataset="digits", imbalance="exp:50.0").key == tail.key
    assert usual.setting == tail.setting
    assert "clean + exp:50" in tail.label
