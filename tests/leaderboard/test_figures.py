"""Figures show the board's numbers, in the same bytes, or say why they cannot."""

from __future__ import annotations

import hashlib
import io
import math
import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factory import grid, record

from support.command import prunebench

pytest.importorskip("matplotlib")

from prunebench.errors import InputError
from prunebench.leaderboard.build import build
from prunebench.leaderboard.figures import Material, Omitted, artifact_reader, gallery
from prunebench.leaderboard.figures import style as style_module
from prunebench.leaderboard.figures.classes import class_shares
from prunebench.leaderboard.figures.critical import strip_of, strips
from prunebench.leaderboard.figures.heat import grid_of
from prunebench.leaderboard.figures.looks import chunks, looks
from prunebench.leaderboard.figures.losses import trained_share
from prunebench.leaderboard.figures.names import panel_floor, spread
from prunebench.leaderboard.figures.params import sweeps
from prunebench.leaderboard.figures.pareto import cost_of, front
from prunebench.leaderboard.figures.power import need
from prunebench.leaderboard.figures.registry import FIGURES, drawings
from prunebench.leaderboard.figures.stored import Losses
from prunebench.leaderboard.figures.style import Drawn, house
from prunebench.leaderboard.figures.wins import duel
from prunebench.leaderboard.inference.series import Series
from prunebench.leaderboard.settings import Settings
from prunebench.leaderboard.stats import mean_interval
from prunebench.record import Record

KINDS = {"random": "static", "small-loss": "static", "full": "baseline", "short-full": "baseline"}


def kinded(records: list[Record]) -> list[Record]:
    """The same with the kind of method and a ledger that knows a full run's size."""
    ledger = {"num_samples": 100, "full_epochs": 10, "trained": 500, "proxy_trained": 0}
    found = []
    for r in records:
        name = r.spec["method"]["name"]
        more = {"proxy_trained": 1000, "proxy_scoring": 300} if name == "small-loss" else {}
        kind = KINDS.get(name, "dynamic")
        found.append(
            replace(
                r, info={**r.info, "kind": kind}, ledger={**r.ledger, **ledger, **more}
            ).sealed()
        )
    return found


METHODS = ("full", "short-full", "random", "small-loss", "infobatch", "infobatch+align")


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return kinded(grid(METHODS, ratios=(0.3, 0.5)))


@pytest.fixture(scope="module")
def material(records: list[Record]) -> Material:
    return Material(build(records))


@pytest.fixture
def look() -> Iterator[None]:
    with house():
        yield


def draw(name: str, material: Material) -> list[Any]:
    return [found for _, found in drawings(material, [name])]


def one(name: str, material: Material) -> Drawn:
    (found,) = draw(name, material)
    assert isinstance(found, Drawn), found
    return found


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def panels(drawn: Drawn) -> list[Any]:
    return [axes for axes in drawn.figure.axes if axes.get_visible()]


def test_accuracy_by_ratio_draws_the_means_and_intervals(material: Material, look: None) -> None:
    drawn = one("accuracy-by-ratio", material)
    summary = material.board.summaries[0]
    shown = panels(drawn)
    assert len(shown) == 2 * 3  # methods and controls, three noise settings
    assert [axes.get_title() for axes in shown[:3]] == list(summary.noises)
    for axes, noise in zip(shown[:3], summary.noises, strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        for label in ("full", "random", "small-loss", "infobatch", "infobatch+align"):
            values = [mean_interval(list(summary.series[label].values[noise, r].values()))
                      for r in (0.3, 0.5)]  # fmt: skip
            assert lines[label].get_xdata().tolist() == [0.3, 0.5]
            assert lines[label].get_ydata().tolist() == [v.mean for v in values]
        band = axes.collections[0].get_paths()[0].vertices[:, 1]
        full = [mean_interval(list(summary.series["full"].values[noise, r].values()))
                for r in (0.3, 0.5)]  # fmt: skip
        ends = [v.mean + sign * (v.half_width or 0) for v in full for sign in (-1, 1)]
        assert min(band) == pytest.approx(min(ends))
        assert max(band) == pytest.approx(max(ends))
    colour = {x: shown[0].lines[i].get_color() for i, x in enumerate(
        line.get_label() for line in shown[0].lines)}  # fmt: skip
    assert colour["infobatch"] == colour["infobatch+align"] != colour["random"]
    named = {text for axes in shown for text in texts(axes)}
    assert {"infobatch", "infobatch+align", "random", "small-loss", "full"} <= named
    assert "n = 3 seeds" in drawn.caption
    assert "95 %" in drawn.caption


def test_missing_seeds_are_left_out_and_counted(records: list[Record], look: None) -> None:
    gone = next(r for r in records if r.spec["method"]["name"] == "random")
    board = build([r for r in records if r.key != gone.key])
    drawn = one("accuracy-by-ratio", Material(board))
    assert "Left out for missing seeds: 1 (row, cell) points" in drawn.caption
    noise = board.summaries[0].noises.index(gone.spec["noise"]["name"])
    line = next(x for x in panels(drawn)[noise].lines if x.get_label() == "random")
    assert len(line.get_xdata()) == 1


def test_heat_map_holds_the_paired_differences(material: Material, look: None) -> None:
    summary = material.board.summaries[0]
    tables = material.board.tables
    labels, cells, values, seeds = grid_of(summary, tables, "full")
    assert labels[0] == "short-full"
    assert "full" not in labels
    assert set(seeds) == {3}
    for i, label in enumerate(labels):
        for j, (noise, ratio) in enumerate(cells):
            table = next(t for t in tables if t.ratio == ratio)
            row = next(r for r in table.rows if r.label == label)
            cell = row.cells[table.noises.index(noise)]
            assert cell is not None
            assert cell.difference is not None
            assert values[i, j] == pytest.approx(cell.difference.mean)
    axes = panels(one("differences", material))[0]
    assert np.array_equal(axes.images[0].get_array(), values)
    shown = [text for text in texts(axes) if text[0] in "+-"]
    assert shown[0].rstrip("*†") == f"{values[0, 0]:+.1f}"
    assert len(shown) == values.size
    assert [t.get_text() for t in axes.get_yticklabels()] == labels


def separated_board() -> Any:
    """Three methods far apart, and one that equals the second."""
    levels = {"full": 300, "random": 320, "infobatch": 340, "seta": 340}
    found = []
    rng = np.random.default_rng(3)
    for noise in ("clean", "symmetric:0.2", "symmetric:0.4"):
        for seed in range(8):
            for method, level in levels.items():
                correct = level + int(rng.integers(-3, 4))
                found.append(record(method, noise, seed, accuracy=correct / 450))
    return build(found)


def test_bars_join_what_is_not_separated(look: None) -> None:
    board = separated_board()
    found = strips(board.summaries[0], Settings())
    assert [s.title for s in found] == ["clean", "symmetric:0.2", "symmetric:0.4",
                                        "all noise settings"]  # fmt: skip
    assert [s.blocks for s in found] == [(8, "seeds")] * 3 + [(3, "noise settings")]
    for strip in found:
        assert list(strip.ranks.values()) == sorted(strip.ranks.values())
        assert [set(bar) for bar in strip.bars] == [{"infobatch", "seta"}]
        assert strip.ranks["full"] == 4
        assert not strip.letters
    assert found[-1].ranks == dict(board.summaries[0].ranking.mean_ranks)
    drawn = one("critical-difference", Material(board, nemenyi=True))
    assert len(panels(drawn)) == 4
    assert any(text.startswith("Nemenyi's critical difference") for text in texts(panels(drawn)[0]))
    bars = [c for c in panels(drawn)[-1].collections if c.get_linewidth()[0] > 2]
    (segment,) = bars[0].get_segments()
    low, high = sorted(found[-1].ranks[x] for x in ("infobatch", "seta"))
    assert len(bars) == 1
    assert segment[:, 0] == pytest.approx([low - 0.06, high + 0.06])
    assert any(text.startswith("infobatch  1.") for text in texts(panels(drawn)[-1]))


def test_groups_that_are_no_runs_of_ranks_become_letters() -> None:
    groups = separated_board().summaries[0].ranking.groups
    crossed = {"full": 1.0, "infobatch": 2.0, "random": 3.0, "seta": 4.0}
    strip = strip_of("all", crossed, (3, "noise settings"), groups)
    assert not strip.bars
    assert strip.letters["infobatch"] == strip.letters["seta"]
    assert len({strip.letters[x] for x in ("full", "infobatch", "random")}) == 3


def test_few_seeds_give_neither_bars_nor_letters(material: Material) -> None:
    found = strips(material.board.summaries[0], Settings())
    assert all(not s.bars and not s.letters for s in found[:-1])
    assert "nothing separable: smallest p 0.25" in found[0].note


def test_duels_count_cells_and_runs(look: None) -> None:
    a = Series("a", "method", {("clean", 0.5): {0: 90.0, 1: 80.0}, ("x", 0.5): {0: 70.0, 2: 1.0}})
    b = Series("b", "method", {("clean", 0.5): {0: 80.0, 1: 81.0}, ("x", 0.5): {0: 70.0, 1: 99.0}})
    found = duel(a, b)
    assert found is not None
    assert (found.outcomes.wins, found.outcomes.ties, found.outcomes.losses) == (1, 1, 0)
    assert found.improvement == pytest.approx((0.5 + 0.5) / 2)
    assert duel(a, Series("c", "method", {})) is None
    board = separated_board()
    drawn = one("wins", Material(board))
    axes = panels(drawn)[0]
    values = axes.images[0].get_array()
    k = len(board.summaries[0].ranking.labels)
    assert len(axes.texts) == k * (k - 1)
    off = ~np.eye(k, dtype=bool)
    assert np.asarray(values + values.T)[off] == pytest.approx(np.ones(k * (k - 1)))
    assert "3/0/0" in texts(axes)


def test_costs_count_passes_and_scoring_runs(material: Material, look: None) -> None:
    table = material.board.tables[-1]
    own = cost_of(table.runs["small-loss"])
    assert own is not None
    assert own.own == pytest.approx(1 - 0.45)
    assert own.total == pytest.approx(1 - 0.45 + (1000 + 100) / 1000)
    drawn = one("accuracy-by-cost", material)
    left = panels(drawn)[3]  # second ratio: compute, gap, time
    points = {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in left.lines
              if not line.get_label().startswith("_")}  # fmt: skip
    for row in table.rows:
        cost = cost_of(table.runs[row.label])
        assert cost is not None
        assert points[row.label] == pytest.approx((cost.own, row.mean))
    assert "1 threads" not in drawn.caption
    assert "cpu" in drawn.caption


def test_front_is_what_nothing_else_beats_in_both() -> None:
    points = {"a": (1.0, 90.0), "b": (0.5, 80.0), "c": (0.6, 80.0), "d": (0.4, 70.0),
              "e": (0.5, 80.0)}  # fmt: skip
    assert front(points) == ["d", "b", "e", "a"]


def swept(**windows: list[int]) -> Any:
    found = [record("full", seed=s, accuracy=0.9) for s in (0, 1, 2)]
    for method, values in windows.items():
        for window in values:
            params = {"window": window, "min_obs": min(4, window), "rescale": True}
            for seed in (0, 1, 2):
                found.append(record(method.replace("_", "+"), seed=seed, params=params,
                                    accuracy=0.5 + window / 100 + seed / 450))  # fmt: skip
    return build(found)


def test_sweeps_follow_the_option_that_tells_rows_apart(look: None) -> None:
    board = swept(infobatch_align=[2, 3, 5, 10], infobatch=[5])
    (sweep,) = sweeps(board.tables[0])
    assert (sweep.method, sweep.option, sweep.numeric) == ("infobatch+align", "window", True)
    assert [value for value, _ in sweep.rows] == [2, 3, 5, 10]
    axes = panels(one("accuracy-by-option", Material(board)))[0]
    line = next(x for x in axes.lines if x.get_label() == "infobatch+align")
    assert line.get_xdata().tolist() == [2, 3, 5, 10]
    expected = [100 * (0.5 + w / 100 + 1 / 450) for w in (2, 3, 5, 10)]
    assert line.get_ydata().tolist() == pytest.approx(expected)
    assert {"full", "infobatch"} <= {x.get_label() for x in axes.lines}


def test_crossed_options_are_swept_once_per_combination() -> None:
    found = [
        record("seta", seed=s, params={"k": k, "alpha": a, "rule": "x"}, accuracy=0.5)
        for s in (0, 1)
        for k in (5, 10)
        for a in (0.2, 0.4)
    ]
    names = sorted((s.option, s.name) for s in sweeps(build(found).tables[0]))
    assert names == [("alpha", "seta (k=10)"), ("alpha", "seta (k=5)"),
                     ("k", "seta (alpha=0.2)"), ("k", "seta (alpha=0.4)")]  # fmt: skip


def test_static_and_dynamic_methods_stand_apart(material: Material, look: None) -> None:
    axes = panels(one("static-against-dynamic", material))[0]
    marks = [line for line in axes.lines if line.get_marker() in ("s", "o")]
    squares = [m for m in marks if m.get_marker() == "s"]
    assert (len(squares), len(marks) - len(squares)) == (2 * 2, 2 * 2)
    only = build(kinded(grid(("full", "infobatch"))))
    (left_out,) = draw("static-against-dynamic", Material(only))
    assert isinstance(left_out, Omitted)
    assert left_out.reason == "no static method"


def test_seeds_needed_pools_the_spread_within_cells(material: Material, look: None) -> None:
    d = {("clean", 0.5): {0: 1.0, 1: 3.0}, ("x", 0.5): {0: 10.0, 1: 12.0, 2: 14.0}}
    zero = Series("full", "full", {c: dict.fromkeys(v, 0.0) for c, v in d.items()})
    found = need(Series("a", "method", d), zero, Settings())
    assert found is not None
    assert found.df == 3
    assert found.sd == pytest.approx(math.sqrt((2 + 8) / 3))
    assert found.seeds.n == 107  # 0.5 points at sd 1.826, two-sided 0.05, power 0.8
    drawn = one("seeds-needed", material)
    rows = [t.get_text() for t in panels(drawn)[0].get_yticklabels()]
    assert sorted(rows) == sorted(set(METHODS) - {"full"})


# Artifacts.


def with_files(r: Record, files: dict[str, bytes], root: Path) -> Record:
    folder = root / "artifacts" / r.key
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        entries[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return replace(r, artifacts=entries).sealed()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


CLASSES = b"class,name,kept_share,test_accuracy\n0,cat,%s,0.9\n1,dog,0.5,0.8\n"
EPOCHS = (b"epoch,score_auroc,kept_noise_rate\n0,,0.2\n1,%s,0.3\n2,0.7,0.4\n"
          b"3,0.9,0.5\n")  # fmt: skip
WRONG = np.arange(200) % 4 == 0


def losses(**more: Any) -> bytes:
    start = np.where(WRONG, 2.0, 0.5) + np.arange(200) / 1000
    rows = np.stack([start, start.copy(), start / 2, start / 4]).astype(np.float32)
    rows[1, WRONG] = 1.5 + np.arange(50) / 1000  # the second epoch trains wrong labels only
    arrays = {"id": np.arange(200), "epoch": np.array([1, 2, 3, 4]), "loss": rows, "wrong": WRONG}
    return npz(**{name: value for name, value in {**arrays, **more}.items() if value is not None})


def stored_board(root: Path, **arrays: Any) -> Material:
    found = []
    for r in kinded(grid(("full", "infobatch", "infobatch+align"), ("symmetric:0.2",))):
        seed = r.spec["seed"]
        files = {"classes.csv": CLASSES % (b"0.%d" % (1 + seed)),
                 "epochs.csv": EPOCHS % (b"0.%d" % (5 + seed)),
                 "losses.npz": losses(**arrays)}  # fmt: skip
        found.append(with_files(r, files, root))
    return Material(build(found), artifact_reader([root]))


def test_artifacts_become_figures(tmp_path: Path, look: None) -> None:
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
        ({"loss": np.array([[{}] * 200] * 4, dtype=object)}, "unreadable"),
    ],
)
def test_losses_that_cannot_be_drawn(
    tmp_path: Path, arrays: dict[str, Any], reason: str, look: None
) -> None:
    (left_out,) = draw("loss-distribution", stored_board(tmp_path, **arrays))
    assert isinstance(left_out, Omitted)
    assert reason in left_out.reason


def test_a_damaged_artifact_costs_its_figure_alone(tmp_path: Path) -> None:
    material = stored_board(tmp_path)
    for path in tmp_path.glob("artifacts/*/classes.csv"):
        path.write_bytes(b"class,name,kept_share\n0,cat,1\n")
    found = gallery(material, ("class-kept-share", "wins"), ("svg",))
    (left_out,) = found.omitted
    assert "is not the one its record names" in left_out.reason
    assert "figures/wins-digits.svg" in found.files
    assert f"`{left_out.stem}`" in found.files["figures/figures.md"].decode()


def test_what_the_data_cannot_give_is_named_with_its_reason() -> None:
    board = build(grid(("full", "infobatch")))
    found = gallery(Material(board), forms=("svg",))
    reasons = {omitted.stem: omitted.reason for omitted in found.omitted}
    assert reasons["accuracy-by-ratio-digits"] == "one ratio only (0.5)"
    assert "--record-losses" in reasons["loss-distribution"]
    assert "no base method" in reasons["pairs-digits"]
    assert "classes.csv" in reasons["class-kept-share-digits-0.5"]
    assert "no record holds" in reasons["worst-class-digits-0.5"]
    index = found.files["figures/figures.md"].decode()
    assert all(f"- `{stem}`: {reason}" in index for stem, reason in reasons.items())
    drawn = {name.split("/")[1] for name in found.files if name.endswith(".svg")}
    assert drawn
    assert all(f"]({name})" in index for name in drawn)
    assert set(reasons).isdisjoint(name.removesuffix(".svg") for name in drawn)


def test_same_records_same_bytes(records: list[Record]) -> None:
    import matplotlib

    names = ("accuracy-by-cost",)
    first = gallery(Material(build(records)), names).files
    shuffled = list(records)
    random.Random(1).shuffle(shuffled)
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "none", "lines.linewidth": 9}):
        assert gallery(Material(build(shuffled)), names).files == first
        assert matplotlib.rcParams["font.size"] == 30
    svg = first["figures/accuracy-by-cost-digits.svg"]
    assert b"<dc:date>" not in svg
    assert b"Matplotlib" not in svg
    assert b"<dc:title>digits: accuracy against cost</dc:title>" in svg
    png = first["figures/accuracy-by-cost-digits.png"]
    assert struct.unpack(">I", png[16:20])[0] == 1200
    assert b"Software" not in png


def test_unknown_figures_and_no_matplotlib_are_refused(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="no figure 'wins-matrix'"):
        gallery(material, ["wins-matrix"])
    monkeypatch.setattr(style_module, "available", lambda: False)
    with pytest.raises(InputError, match="matplotlib is not installed"):
        gallery(material)


def test_looks_are_told_apart_and_do_not_depend_on_results() -> None:
    static = [f"m{i:02}" for i in range(12)]
    kinds = dict.fromkeys(static, "static") | {
        "ies": "dynamic", "ies+align": "dynamic", "seta": "dynamic", "full": "full",
        "short-full": "control", "oracle-clean": "oracle",
    }  # fmt: skip
    found = chunks(kinds)
    assert [c.title for c in found] == ["static, m00 to m05", "static, m06 to m11", "dynamic",
                                        "controls"]  # fmt: skip
    styles = looks(kinds)
    assert set(styles) == set(kinds)
    plain = [x for x in kinds if "+align" not in x and x != "full"]
    assert len({(styles[x].colour, styles[x].marker) for x in plain}) == len(plain)
    assert styles["ies"].colour == styles["ies+align"].colour
    assert (styles["ies"].filled, styles["ies+align"].filled) == (False, True)
    assert styles == looks(dict(reversed(kinds.items())))


def test_names_are_moved_apart_as_little_as_can_be() -> None:
    assert spread([0.1, 0.5, 0.9], 0.1, 0.0, 1.0) == pytest.approx([0.1, 0.5, 0.9])
    assert spread([0.5, 0.5], 0.1, 0.0, 1.0) == pytest.approx([0.45, 0.55])
    assert spread([0.99, 1.0, 0.2], 0.1, 0.0, 1.0) == pytest.approx([0.9, 1.0, 0.2])
    crowded = spread([1.0] * 11, 0.5, 0.0, 1.0)
    assert crowded == pytest.approx(np.linspace(0, 1, 11).tolist())


def test_a_collapsed_row_does_not_flatten_a_panel() -> None:
    assert panel_floor([95.0, 94.0, 93.5, 12.0]) == 93.5
    assert panel_floor([95.0, 80.0, 60.0]) == 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for r in grid(("full", "random"), ("clean",), (0,)):
        r.save(tmp_path / "run" / "records")
    return tmp_path / "run"


def test_the_command_draws_where_it_is_asked(folder: Path, tmp_path: Path) -> None:
    said = prunebench("leaderboard", folder, "--out", tmp_path / "plain")
    assert said.code == 0, said.err
    assert not (tmp_path / "plain" / "figures").exists()
    said = prunebench("leaderboard", folder, "--figures")
    assert said.code == 0, said.err
    drawn = sorted(p.name for p in (folder / "leaderboard" / "figures").iterdir())
    assert {"differences-digits.svg", "differences-digits.png", "figures.md"} <= set(drawn)
    assert "no figure accuracy-by-ratio-digits: one ratio only (0.5)\n" in said.err
    said = prunebench("leaderboard", folder, "--publish", tmp_path / "out")
    assert said.code == 0, said.err
    page = (tmp_path / "out" / "README.md").read_text()
    assert "![differences digits](figures/differences-digits.svg)" in page
    assert "(figures/figures.md)" in page
    said = prunebench("leaderboard", folder, "--publish", tmp_path / "bare", "--no-figures")
    assert said.code == 0, said.err
    assert not (tmp_path / "bare" / "figures").exists()


def test_without_matplotlib_only_a_request_fails(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prunebench.leaderboard import figures

    for module in (figures, style_module):
        monkeypatch.setattr(module, "available", lambda: False)
    said = prunebench("leaderboard", folder, "--publish", tmp_path / "out")
    assert said.code == 0, said.err
    assert "no figures: matplotlib is not installed" in said.err
    assert not (tmp_path / "out" / "figures").exists()
    said = prunebench("leaderboard", folder, "--figures")
    assert said.code == 2
    assert "pip install 'prunebench[plots]'" in said.err


def test_every_figure_has_one_entry() -> None:
    assert len(FIGURES) == 14
    assert all(name == name.lower() for name in FIGURES)
