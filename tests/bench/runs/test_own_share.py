"""Runs of KAKURENBO, which decides its own share: the budget, and the factor on the rate."""

import io

import pandas as pd
import pytest

from prunebench.methods.kakurenbo import lr_factor, stage_fraction

MLP = {"model": "mlp", "epochs": 8, "schedule": "constant", "lr": 0.05}


def test_the_budget_is_met_exactly_and_the_factor_is_recorded(run):
    record, store = run("kakurenbo", ratio=0.3, noise="clean", recipe_params=MLP)
    assert record.status == "done"
    assert record.ledger["trained"] == record.ledger["target"]
    table = pd.read_csv(io.BytesIO(store.artifact(record.key, "epochs.csv")))
    done = [0, *table["trained"].cumsum()[:-1] / record.ledger["target"]]
    wanted = [lr_factor(stage_fraction(0.3, at), epoch) for epoch, at in enumerate(done)]
    assert wanted[0] == 1
    assert len({*wanted}) >= 3
    assert table["lr_factor"].tolist() == pytest.approx(wanted)
    assert table["lr"].tolist() == pytest.approx([0.05 * factor for factor in wanted])
    hidden = 1253 - table["planned"]
    assert hidden[0] == 0
    assert hidden.max() > 0
    assert record.ledger["forward_only"] == hidden.sum()


def test_a_budget_that_it_cannot_reach_is_skipped_with_the_reason(run):
    """Two classes that any network tells apart, and all that is right may be hidden."""
    record, _ = run(
        "kakurenbo", ratio=0.0, noise="clean", dataset="synthetic",
        dataset_params={"n": 100, "classes": 2, "difficulty": 0.0},
        params={"fraction": 0.99, "threshold": 0.0, "lr_factor": False},
        recipe_params={**MLP, "batch_size": 8, "augment": "none"},
    )  # fmt: skip
    assert record.status == "skipped"
    assert record.reason.startswith("budget unreachable")
    assert record.ledger["epochs"] == 24
