"""Files, bytes, omissions, looks, and the command."""

from __future__ import annotations

import random
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from support.command import prunebench
from support.drawing import METHODS, kinded
from support.records import grid, record

pytest.importorskip("matplotlib")

from prunebench.errors import InputError
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.figures import Material, gallery, with_published
from prunebench.leaderboard.figures import style as style_module
from prunebench.leaderboard.figures.all_figures import FIGURES, SHAPES
from prunebench.leaderboard.figures.line_names import panel_floor, spread
from prunebench.leaderboard.figures.row_styles import OTHER, row_styles
from prunebench.leaderboard.highlight import Highlight, Role
from prunebench.record import Record


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return kinded(grid(METHODS, ratios=(0.3, 0.5)))


@pytest.fixture(scope="module")
def material(records: list[Record]) -> Material:
    return Material(build(records))


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


def test_names_of_any_length_and_kind_have_a_figure_each() -> None:
    names = ("a/b", "a:b", "x" * 300, "x" * 299 + "y")
    records = [
        record(one, seed=seed, accuracy=accuracy + seed / 450, spec={"dataset": dataset})
        for dataset in ({"name": n, "version": "1", "params": {}, "identity": ""} for n in names)
        for one, accuracy in (("full", 0.8), ("infobatch", 0.75), ("random", 0.7))
        for seed in range(2)
    ]
    found = gallery(Material(build(records)), ["differences"], forms=("svg",))
    drawn = {name.split("/")[1]: data for name, data in found.files.items() if name.endswith("svg")}
    assert len(set(drawn.values())) == len(drawn) == len(names)
    assert {"differences-a-b.svg", "differences-a-b-2.svg"} <= drawn.keys()
    assert max(map(len, drawn)) < 150
    index = found.files["figures/figures.md"].decode()
    assert all(f"]({name})" in index for name in drawn)


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
    assert b"<dc:title>digits: what does accuracy cost in computation?</dc:title>" in svg
    png = first["figures/accuracy-by-cost-digits.png"]
    assert struct.unpack(">I", png[16:20])[0] == 936
    assert b"Software" not in png


def test_unknown_figures_and_no_matplotlib_are_refused(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="no figure 'wins-matrix'"):
        gallery(material, ["wins-matrix"])
    monkeypatch.setattr(style_module, "available", lambda: False)
    with pytest.raises(InputError, match="matplotlib is not installed"):
        gallery(material)


def test_highlighted_rows_are_told_apart_and_the_others_are_pale() -> None:
    names = ["full", "short-full", "random-dynamic", "ies", "ies+align", "ies+bls", "seta", "el2n"]
    others = [f"m{i:02}" for i in range(12)]
    roles: dict[str, Role] = {"full": "full", "short-full": "control", "random-dynamic": "control"}
    chosen = Highlight({x: roles.get(x, "row") for x in names},
                       {"ies": 1, "ies+align": 1, "ies+bls": 1, "seta": 2, "el2n": 0})  # fmt: skip
    styles = row_styles(chosen, [*names, *others])
    shown = [styles[x] for x in names]
    assert len({(s.colour, s.marker, s.filled) for s in shown}) == len(shown)
    assert {styles[x] for x in others} == {OTHER}
    assert {styles[x].colour for x in ("ies", "ies+align", "ies+bls")} == {styles["ies"].colour}
    assert (styles["ies"].filled, styles["ies+align"].filled) == (False, True)
    assert styles == row_styles(chosen, reversed([*names, *others]))


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
    assert "![Heat map of rows by settings and ratios: digits: " in page
    assert "(figures/figures.md)" in page
    index = (tmp_path / "out" / "figures" / "figures.md").read_text(encoding="utf-8")
    shown = re.findall(r"^!\[(.+)\]\((.+)\)$", index, re.M)
    assert shown
    for alt, picture in shown:
        assert f"![{alt}](figures/{picture})" in page
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
    assert len(FIGURES) == 19
    assert all(name == name.lower() for name in FIGURES)
    assert FIGURES.keys() == SHAPES.keys()


def test_the_index_has_the_question_the_answer_and_words_for_the_picture(
    material: Material,
) -> None:
    index = gallery(material, ["wins"], ["svg"]).files["figures/figures.md"].decode()
    head, picture, answer, caption = index.removeprefix("# Figures\n\n").strip().split("\n\n")
    assert head == "## digits: which row beats which?"
    assert picture == (f"![{SHAPES['wins']}: digits: which row beats which?](wins-digits.svg)")
    assert answer.startswith("These counts are not tested.")
    assert caption.startswith("Rows complete in every table")


def test_drawing_anew_from_records_keeps_the_figures_of_artifacts() -> None:
    board = build(kinded(grid(("full", "random", "infobatch"))))
    drawn = gallery(Material(board), ["wins", "detection", "class-kept-share"], ["svg"]).files
    assert b"`detection-digits-0.5`" in drawn["figures/figures.md"]
    old = (b"# Figures\n\n## digits: wins\n\n![wins](wins-digits.svg)\n\nOld words.\n\n"
           b"## digits: finding wrong labels\n\n![detection](detection-digits-0.5.svg)\n\n"
           b"Kept words.\n\n## Left out\n\n- `pairs-digits`: no pair\n")  # fmt: skip
    published = {
        "figures/figures.md": old,
        "figures/detection-digits-0.5.svg": b"<svg>kept</svg>",
        "figures/wins-digits.svg": b"<svg>old</svg>",
        "figures/other.svg": b"x",
    }
    files = with_published(drawn, published)
    assert files["figures/detection-digits-0.5.svg"] == b"<svg>kept</svg>"
    assert files["figures/wins-digits.svg"] == drawn["figures/wins-digits.svg"]
    assert "figures/other.svg" not in files
    index = files["figures/figures.md"].decode()
    assert "Kept words." in index
    assert "Old words." not in index
    assert "`detection-digits-0.5`" not in index
    assert "`class-kept-share-digits-0.5`: classes.csv of no run is at hand" in index
    assert with_published(drawn, {}) == drawn


def test_a_figure_that_is_kept_is_not_listed_as_left_out_by_the_name_of_its_kind() -> None:
    index = (b"# Figures\n\n## Left out\n\n- `accuracy-by-samples`: no curve\n"
             b"- `detection-digits-0.5`: no file\n")  # fmt: skip
    stem = "accuracy-by-samples-digits-clean-0.5"
    files = with_published({"figures/figures.md": index}, {f"figures/{stem}.svg": b"<svg/>"})
    left = files["figures/figures.md"].decode()
    assert "`accuracy-by-samples`" not in left
    assert "`detection-digits-0.5`" in left
