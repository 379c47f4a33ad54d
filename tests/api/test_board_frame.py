"""A board as one data frame."""

from __future__ import annotations

import pandas as pd
import pytest

from prunebench.api.results import Board
from prunebench.bench.reports.boards import make_board
from prunebench.record import Record
from support.records import grid, record

#: Names that a CSV reader takes for a comment, a missing value, a number or a formula.
NAMES = ("a #1", "NA", "007", "=1+1", "+x", "a,b")
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    named = [record("random", noise, seed, accuracy=(1 + seed + place) / 30,
                    params={"r": place}, info={"label": label})
             for place, label in enumerate(NAMES)
             for noise in ("clean", "symmetric:0.4") for seed in SEEDS]  # fmt: skip
    lacking = record("dual", "clean", 0, accuracy=0.5)
    return [*grid(("full",), noises=("clean", "symmetric:0.4"), seeds=SEEDS), *named, lacking]


@pytest.fixture(scope="module")
def frame(records: list[Record]) -> pd.DataFrame:
    return Board(make_board(records)).to_frame()


def test_a_row_per_table_row_and_setting_under_its_own_name(frame: pd.DataFrame) -> None:
    assert set(frame["method"]) == {"full", "dual", *NAMES}
    assert len(frame) == 2 * (2 + len(NAMES))
    assert not frame.duplicated(["dataset", "ratio", "method", "noise"]).any()
    assert set(frame["noise"]) == {"clean", "symmetric:0.4"}


def test_columns_have_their_types_and_full_precision(
    frame: pd.DataFrame, records: list[Record]
) -> None:
    one = frame[(frame["method"] == "a #1") & (frame["noise"] == "clean")].iloc[0]
    own = {r.spec["seed"]: r for r in records if r.info.get("label") == "a #1"
           and r.spec["noise"]["name"] == "clean"}  # fmt: skip
    assert one["accuracy"] == pytest.approx(100 * (1 + 2 + 3) / 90, abs=1e-12)
    assert one["ratio"] == 0.5
    assert (one["n"], one["seeds"]) == (3, SEEDS)
    assert one["keys"] == tuple(own[seed].key for seed in SEEDS)
    assert one["metric"] == "accuracy"
    for name in ("complete", "best", "lossless", "reference_leaks"):
        assert frame[name].dtype == "boolean"
    for name in ("rank", "n", "diverged"):
        assert frame[name].dtype == "Int64"
    lacking = frame[frame["method"] == "dual"].set_index("noise")
    assert not lacking["complete"].any()
    assert pd.isna(lacking.loc["symmetric:0.4", "accuracy"])
    assert lacking["rank"].isna().all()
    assert lacking.loc["symmetric:0.4", "seeds"] == ()
    full = frame[frame["method"] == "full"]
    assert full["difference"].isna().all()
    wide = frame.pivot(index="method", columns="noise", values="accuracy")
    assert wide.shape == (2 + len(NAMES), 2)
