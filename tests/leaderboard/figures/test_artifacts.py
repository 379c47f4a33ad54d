"""Figures from the artifacts of runs: classes, epochs, losses."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.drawing import (
    WRONG,
    draw,
    losses,
    one,
    panels,
    stored_board,
)

pytest.importorskip("matplotlib")

from prunebench.leaderboard.figures import Omitted, gallery
from prunebench.leaderboard.figures.classes import class_shares
from prunebench.leaderboard.figures.loss_distribution import trained_share
from prunebench.leaderboard.figures.stored_losses import Losses
from prunebench.leaderboard.figures.style import figure_settings


@pytest.fixture(autouse=True)
def look() -> Iterator[None]:
    with figure_settings():
        yield


def test_artifacts_become_figures(tmp_path: Path) -> None:
    material = stored_board(tmp_path)
    table = material.board.tables[0]
    names, shares = class_shares(material, table)
    assert names == ["cat", "dog"]
    assert set(shares) == {("infobatch", "symmetric:0.2"), ("infobatch+align", "symmetric:0.2")}
    assert shares["infobatch", "symmetric:0.2"].tolist() == pytest.approx([0.2, 0.5])
    image = panels(one("class-kept-share", material))[0].images[0]
    assert image.get_array().tolist() == [pytest.approx([0.2, 0.5])] * 2

    upper, lower = panels(one("detection", material))
    line = next(x for x in upper.lines if x.get_label() == "infobatch")
    assert line.get_xdata().tolist() == [2, 3, 4]
    assert line.get_ydata().tolist() == pytest.approx([0.6, 0.7, 0.9])
    kept = next(x for x in lower.lines if x.get_label() == "infobatch")
    assert kept.get_ydata().tolist() == pytest.approx([0.2, 0.3, 0.4, 0.5])

    drawn = one("loss-trajectories", material)
    clean = next(x for x in panels(drawn)[0].lines if x.get_label() == "clean labels")
    with np.load(io.BytesIO(losses())) as arrays:
        expected = np.median(arrays["loss"][:, ~WRONG], axis=1)
    assert clean.get_ydata() == pytest.approx(expected)
    assert clean.get_xdata().tolist() == [1, 2, 3, 4]

    drawn = one("loss-distribution", material)
    assert drawn.stem == "loss-distribution-digits-symmetric-0.2-0.5"
    titles = [axes.get_title(loc="left") for axes in panels(drawn)]
    assert {"infobatch, epoch 1", "infobatch, epoch 2", "infobatch, epoch 3"} <= set(titles)
    share = panels(drawn)[3].patches[0].get_data().values  # strip under the first row
    assert sorted(set(share[np.isfinite(share)].tolist())) == [0.0, 1.0]


def test_who_was_trained_is_read_off_changed_losses() -> None:
    loss = np.array([[0.5, 0.0, np.nan, np.nan, 2.0], [0.5, 0.0, np.nan, 1.0, 1.9]])
    found = Losses(np.array([3, 4]), loss, np.zeros(5, bool))
    trained = found.trained_next(0)
    assert trained is not None
    assert trained.tolist() == [False, True, False, True, True]
    assert found.trained_next(1) is None
    assert Losses(np.array([3, 5]), loss, found.wrong).trained_next(0) is None
    share = trained_share(np.r_[np.full(20, 0.1), np.full(5, 1.0)], np.arange(25) < 10,
                          np.array([0.01, 0.5, 2.0]))  # fmt: skip
    assert share[0] == 0.5
    assert np.isnan(share[1])


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"wrong": None}, "does not say which labels are wrong"),
        ({"wrong": np.zeros(200, bool)}, "no label is known to be wrong"),
        ({"epoch": np.array([1, 2])}, "their shapes do not fit"),
        ({"loss": np.array([[{}] * 200] * 4, dtype=object)}, "holds Python objects"),
    ],
)
def test_losses_that_cannot_be_drawn(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    (left_out,) = draw("loss-distribution", stored_board(tmp_path, **arrays))
    assert isinstance(left_out, Omitted)
    assert reason in left_out.reason


def test_a_run_that_trained_no_wrong_label_has_no_line_of_them(tmp_path: Path) -> None:
    with np.load(io.BytesIO(losses())) as arrays:
        loss = arrays["loss"].copy()
    loss[:, WRONG] = np.nan
    upper = panels(one("loss-trajectories", stored_board(tmp_path, loss=loss)))[0]
    labels = [line.get_label() for line in upper.lines]
    assert "clean labels" in labels
    assert "wrong labels" not in labels


def test_a_damaged_artifact_costs_its_figure_alone(tmp_path: Path) -> None:
    material = stored_board(tmp_path)
    for path in tmp_path.glob("artifacts/*/classes.csv"):
        path.write_bytes(b"class,name,kept_share\n0,cat,1\n")
    found = gallery(material, ("class-kept-share", "wins"), ("svg",))
    (left_out,) = found.omitted
    assert "is not the one its record names" in left_out.reason
    assert "figures/wins-digits.svg" in found.files
    assert f"`{left_out.stem}`" in found.files["figures/figures.md"].decode()
