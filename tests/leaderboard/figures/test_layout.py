"""Nothing in a figure covers anything else, whatever the names and values."""

from __future__ import annotations

import itertools
import math
import re
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.drawing import METHODS, kinded, one, panels, scored_elsewhere
from support.records import grid, record

pytest.importorskip("matplotlib")

from matplotlib.text import Annotation, Text

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.figures import Material, fonts, gallery
from prunebench.leaderboard.figures.accuracy_by_cost import plain_names
from prunebench.leaderboard.figures.accuracy_by_ratio import parts
from prunebench.leaderboard.figures.classes import share_column
from prunebench.leaderboard.figures.epoch_curves import without_stub
from prunebench.leaderboard.figures.static_dynamic import swarm
from prunebench.leaderboard.figures.style import WIDTH, Drawn, figure_settings
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.record import Record

LONG = "a-method-with-a-long-name (alpha=0.9, r=0.1)"


@pytest.fixture(autouse=True)
def look() -> Iterator[None]:
    with figure_settings():
        yield


def outliers() -> list[Record]:
    """Rows close together, and several far below them."""
    level = {"full": 0.90, "random": 0.88, "small-loss": 0.3, "dual": 0.25, "infobatch": 0.881,
             "infobatch+align": 0.882, "seta": 0.2, "random-dynamic": 0.879,
             "ies": 0.8805}  # fmt: skip
    records = [
        record(m, n, s, r, accuracy=base - r / 50 + s / 450)
        for m, base in level.items()
        for n in ("clean", "symmetric:0.2")
        for s in (0, 1, 2)
        for r in ((0.0,) if m == "full" else (0.3, 0.5, 0.7))
    ]
    found = []
    for r in kinded(records):
        if r.spec["method"]["name"] == "dual":
            r.info["kind"] = "static"
            r = r.sealed()
        found.append(r)
    return found


def boxes(drawn: Drawn, texts: list[Any]) -> list[Any]:
    renderer = drawn.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for text in texts:
        if isinstance(text, Annotation):
            text.update_positions(renderer)
    return [Text.get_window_extent(text, renderer) for text in texts]  # leaders left out


def apart(found: list[Any]) -> bool:
    """Whether no two boxes overlap by more than a pixel."""
    return not any(min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
                   for a, b in itertools.combinations(found, 2))  # fmt: skip


def agg(drawn: Drawn) -> Drawn:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(drawn.figure)
    return drawn


@pytest.mark.parametrize(
    ("name", "sign"), [("static-against-dynamic", "◂"), ("accuracy-by-ratio", "▾")]
)
def test_words_cover_neither_marks_nor_words(name: str, sign: str) -> None:
    drawn = agg(one(name, Material(build(outliers()))))
    below = 0
    for axes in panels(drawn):
        texts = [t for t in axes.texts if t.get_text()]
        found = boxes(drawn, texts)
        assert apart(found)
        below += sum(sign in t.get_text() for t in texts)
        place = axes.get_window_extent()
        for line in axes.lines:
            if line.get_marker() in ("None", "", None):
                continue
            for x, y in axes.transData.transform(line.get_xydata()):
                # What lies below the panel's floor is covered and named.
                if place.y0 <= y <= place.y1:
                    for box in found:
                        inside = box.x0 < x < box.x1 and box.y0 < y < box.y1
                        assert not inside or sign in [t.get_text() for t in texts][
                            found.index(box)]  # fmt: skip
    assert below >= 3


def test_marks_of_one_kind_stand_beside_one_another() -> None:
    assert swarm([0.0, 0.2, 0.4, 2.0], 3) == [0.0, -1.0, 1.0, 0.0]
    assert swarm([0.0, 0.1, 0.2], 0.5) == [0.0, 0.0, 0.0]  # no room
    drawn = one("static-against-dynamic", Material(build(outliers())))
    (axes, *_) = panels(drawn)
    marks = [m.get_xydata()[0] for m in axes.lines if m.get_marker() in ("s", "o")]
    pixels = axes.transData.transform(marks)
    for a, b in itertools.combinations(pixels, 2):
        assert np.abs(a - b).max() > 5


def test_a_name_beside_a_panel_has_its_room() -> None:
    records = kinded(
        [
            *grid(METHODS),
            *(
                record(LONG, n, s, accuracy=0.8)
                for s in (0, 1, 2)
                for n in ("clean", "symmetric:0.2", "symmetric:0.4")
            ),
        ]
    )
    drawn = agg(one("accuracy-by-cost", Material(build(records))))
    (panel,) = panels(drawn)
    names = boxes(drawn, panel.texts)
    assert apart(names)
    place = panel.get_window_extent()
    assert min(box.x0 for box in names) >= place.x0 - 1
    assert max(box.x1 for box in names) <= place.x1 + 1
    width = drawn.figure.get_window_extent().x1
    for axes in panels(drawn):
        for label in axes.get_xticklabels():
            assert label.get_window_extent().x1 <= width


#: Means of eight rows that cost the same, and of full training.
AT_ONE_COST = {"full": 49.6, "random": 42.1, "aum": 44.3, "ccs": 40.7, "dual": 42.1, "el2n": 38.5,
               "forgetting": 42.3, "herding": 41.9, "moderate": 40.0,
               "small-loss": 38.1}  # fmt: skip


def test_a_name_that_stands_nearer_to_another_mark_has_a_leader_to_its_own() -> None:
    records = [record(method, noise, seed, accuracy=mean / 100 + 0.004 * (seed - 1))
               for method, mean in AT_ONE_COST.items() for seed in (0, 1, 2)
               for noise in ("clean", "symmetric:0.2")]  # fmt: skip
    apart = AT_ONE_COST.keys() - {"full", "random"}
    drawn = agg(one("accuracy-by-cost",
                    Material(build(scored_elsewhere(kinded(records), *apart)))))  # fmt: skip
    (panel,) = panels(drawn)
    names = [text for text in panel.texts if text.get_text()]
    assert len(names) == 8
    assert {text.get_text() for text in names} <= AT_ONE_COST.keys()  # not "scored with cnn"
    assert 'go without "scored with cnn"' in drawn.caption
    assert "full" in {text.get_text() for text in names}
    led = {tuple(text.xy) for text in panel.texts if not text.get_text()}
    marks = {tuple(text.xy): panel.transData.transform(text.xy) for text in names}
    for text, box in zip(names, boxes(drawn, names), strict=True):

        def gap(mark: Any, box: Any = box) -> float:
            return math.hypot(max(box.x0 - mark[0], 0, mark[0] - box.x1),
                              max(box.y0 - mark[1], 0, mark[1] - box.y1))  # fmt: skip

        own = marks[tuple(text.xy)]
        others = [gap(mark) for mark in marks.values() if math.dist(mark, own) >= 1]
        assert gap(own) < min(others) or tuple(text.xy) in led, text.get_text()
    place = panel.get_window_extent()
    assert marks[max(marks)][0] < place.x0 + 0.93 * place.width  # room right of full training


def test_names_keep_the_network_of_the_scoring_run_where_rows_differ_in_it() -> None:
    assert plain_names(["a (scored with x)", "b", "c (scored with x)"])[0] == {
        "a (scored with x)": "a", "b": "b", "c (scored with x)": "c"}  # fmt: skip
    for labels in (["a (scored with x)", "b (scored with y)"], ["a", "a (scored with x)"],
                   ["a (scored with x)", "b (scored with x, r=0.5)"]):  # fmt: skip
        assert plain_names(labels) == ({label: label for label in labels}, "")


def test_few_panels_make_a_small_picture() -> None:
    made = grid(("full", "random", "infobatch", "infobatch+align"), noises=("clean",))
    records = [
        replace(r, metrics={**r.metrics, "worst_class_accuracy": 0.3}).sealed() for r in made
    ]
    board = build(kinded(records))
    for name in ("pairs", "differences", "static-against-dynamic", "worst-class"):
        drawn = one(name, Material(board))
        shown = panels(drawn)
        assert drawn.figure.get_figwidth() < 0.7 * WIDTH
        assert max(axes.get_position().x1 for axes in shown) > 0.6


def test_a_board_of_one_method_has_room_in_every_figure() -> None:
    records = kinded(
        grid(("full", "infobatch+align"), noises=("clean", "symmetric:0.4"), ratios=(0.5,))
    )
    with warnings.catch_warnings(record=True) as raw:
        warnings.simplefilter("always")
        assert gallery(Material(build(records)), forms=["svg"]).notes == ()
        drawn = [agg(one("differences", Material(build(records, ProtocolFile(reference=name)))))
                 for name in ("full", "infobatch+align")]  # fmt: skip
    assert [str(warning.message) for warning in raw] == []
    for picture, row in zip(drawn, ("infobatch+align", "full"), strict=True):
        figure = picture.figure
        axes, bar = figure.axes
        low, high = bar.get_ylim()
        undrawn = [text for y, text in zip(bar.get_yticks(), bar.get_yticklabels(), strict=True)
                   if not low <= y <= high]  # fmt: skip
        words = [text for text in figure.findobj(Text)
                 if text.get_text() and text.get_visible() and text not in undrawn]  # fmt: skip
        assert {"clean", "symmetric:0.4", row, "ratio"} <= {text.get_text() for text in words}
        found = boxes(picture, words)
        assert apart(found)
        assert min(b.x0 for b in found) >= 0 <= min(b.y0 for b in found)
        assert max(b.x1 for b in found) <= figure.bbox.x1
        assert max(b.y1 for b in found) <= figure.bbox.y1
        assert axes.get_window_extent().height > 0.3 * figure.dpi


def test_two_rows_far_apart_are_both_inside_the_panel() -> None:
    records = [record(method, seed=seed, accuracy=level) for seed in (0, 1, 2)
               for method, level in (("full", 0.924), ("infobatch", 0.85))]  # fmt: skip
    left = panels(one("accuracy-by-cost", Material(build(kinded(records)))))[0]
    assert left.get_ylim()[0] < 85.0
    assert {t.get_text() for t in left.texts if t.get_text()} == {"full", "infobatch"}


def test_many_noise_settings_are_spread_over_figures() -> None:
    assert parts([f"n{i}" for i in range(7)]) == [("n0", "n1", "n2", "n3"), ("n4", "n5", "n6")]
    noises = [f"symmetric_number_{i}:0.2" for i in range(7)]
    board = build(kinded(grid(("full", "random"), noises=noises, ratios=(0.3, 0.5))))
    names = gallery(Material(board), ["accuracy-by-ratio"], ["svg"]).files
    assert {
        "figures/accuracy-by-ratio-digits.svg",
        "figures/accuracy-by-ratio-digits-2.svg",
    } <= set(names)
    drawn = agg(one("differences", Material(board)))
    axes = panels(drawn)[0]
    heads = [t for t in axes.texts if t.get_text() in noises]
    assert all(t.get_rotation() == 45 for t in heads)


def test_names_of_settings_stand_apart_above_narrow_panels() -> None:
    beside: list[dict[str, Any]] = [
        {}, {"imbalance": {"name": "exp:50"}}, {"corrupt": {"name": "gaussian-noise:0.3"}},
        {"imbalance": {"name": "exp:50"}, "corrupt": {"name": "gaussian-noise:0.3"}},
    ]  # fmt: skip
    records = [
        record(method, noise, seed, ratio, 0.8 + seed / 90, spec=own)
        for method in ("full", "random") for noise in ("clean", "symmetric:0.4")
        for seed in (0, 1, 2) for own in beside[: 4 if noise == "clean" else 2]
        for ratio in ((0.0,) if method == "full" else (0.3, 0.5))
    ]  # fmt: skip
    drawn = agg(one("accuracy-by-ratio", Material(build(kinded(records)))))
    titles = [axes.title for axes in panels(drawn) if axes.get_title()]
    assert len(titles) == 6
    assert "clean\n+ exp:50\n+ gaussian-noise:0.3" in [t.get_text() for t in titles]
    assert apart(boxes(drawn, titles))


def test_equal_worst_classes_are_not_shown_in_hundredths() -> None:
    records = [record("full", seed=s, metrics={"worst_class_accuracy": 0.0}) for s in range(3)]
    axes = panels(one("worst-class", Material(build(records))))[0]
    low, high = axes.get_xlim()
    assert high - low >= 10
    assert low < 0 < high


def test_a_last_epoch_of_a_few_samples_is_left_out() -> None:
    frame = pd.DataFrame(
        {"epoch": range(3), "trained": [80, 80, 1], "score_auroc": [0.6, 0.7, 0.1]}
    )
    assert len(without_stub(frame, "samples")) == 2
    assert len(without_stub(frame, "epochs")) == 3
    assert len(without_stub(frame.assign(trained=[80, 80, 40]), "samples")) == 3
    # Where the plan is known it decides: a short plan that was trained whole is no stub.
    assert len(without_stub(frame.assign(planned=[80, 80, 1]), "samples")) == 3
    assert (
        len(without_stub(frame.assign(trained=[10, 10, 30], planned=[10, 10, 80]), "samples")) == 2
    )


def test_kept_shares_of_two_sets_of_metrics_never_stand_in_one_figure() -> None:
    new = pd.DataFrame({"kept_share": [0.6], "kept_per_epoch": [0.7]})
    assert share_column([new, new]) == "kept_per_epoch"
    assert share_column([new, new[["kept_share"]]]) == "kept_share"


def scripts() -> Material:
    return Material(build(kinded(grid(("full", "random", "方法"), noises=("clean", "real:日本語"),
                                      ratios=(0.3, 0.5)))))  # fmt: skip


def test_the_default_font_is_matplotlibs_own_file(tmp_path: Path) -> None:
    """A system's font of that name has other glyph numbers, which are in the bytes of an SVG."""
    import matplotlib
    from matplotlib import font_manager

    own = Path(matplotlib.get_data_path(), "fonts", "ttf")
    system = Path(shutil.copy(own / "DejaVuSerif.ttf", tmp_path))
    manager = font_manager.fontManager
    before = list(manager.ttflist)
    entry = next(font for font in before if Path(font.fname).name == "DejaVuSans.ttf")
    manager.ttflist.insert(0, replace(entry, fname=str(system)))
    try:
        with figure_settings():
            for weight, name in (("normal", "DejaVuSans.ttf"), ("bold", "DejaVuSans-Bold.ttf")):
                wanted = font_manager.FontProperties(family=fonts.DEFAULT_FONT, weight=weight)
                assert Path(font_manager.findfont(wanted)) == own / name
        assert manager.ttflist == [replace(entry, fname=str(system)), *before]
    finally:
        manager.ttflist[:] = before


def test_other_scripts_use_a_font_that_has_them_or_a_line_says_so() -> None:
    with warnings.catch_warnings(record=True) as raw:
        warnings.simplefilter("always")
        found = gallery(scripts(), ["accuracy-by-ratio", "wins"], ["svg"])
    assert raw == []
    if fonts._others(frozenset("方法日本語"))[1]:
        assert found.notes[0].startswith("no font of this machine has ")
        pytest.skip("no font of this machine has Chinese and Japanese signs")
    assert found.notes == ()


def test_signs_that_no_font_has_are_told_in_one_line() -> None:
    board = build(grid(("full", "random"), noises=("clean", "real:\U00012000")))
    with warnings.catch_warnings(record=True) as raw:
        warnings.simplefilter("always")
        found = gallery(Material(board), ["wins", "differences"], ["png"])
    assert raw == []
    if fonts._others(frozenset("\U00012000"))[1]:
        assert len(found.notes) == 1
        assert "boxes are drawn instead" in found.notes[0]


def test_the_house_font_alone_is_asked_where_it_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import font_manager

    def never() -> list[str]:
        raise AssertionError

    monkeypatch.setattr(font_manager, "findSystemFonts", never)
    board = build(grid(("full", "random")), ProtocolFile())
    assert gallery(Material(board), ["wins"], ["svg"]).notes == ()


def test_outlines_of_long_names_stay_inside_the_picture() -> None:
    label = "infobatch+align (r=0.5, rescale=true)"
    made = [*grid(("full", "random"), noises=("clean",)),
            *(record("infobatch+align", "clean", seed, 0.5, 0.9, info={"label": label})
              for seed in range(3))]  # fmt: skip
    board = build(kinded(made), ProtocolFile(planned=((label, "full"), ("random", label))))
    content = (
        gallery(Material(board), ["pairs"], ["svg"]).files["figures/pairs-digits.svg"].decode()
    )
    inside = re.compile(r'<g style="[^"]*" transform="translate\((-?[0-9.]+) ')
    starts = [float(found) for found in inside.findall(content)]
    assert len(starts) > 5
    assert min(starts) >= 0
