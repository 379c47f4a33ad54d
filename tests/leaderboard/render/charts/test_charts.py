"""Pictures of the page as their SVG says them: rows in colour, places of points, answers, sizes."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from importlib.resources import files
from itertools import combinations

import pytest

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.cost_share import cost_of
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import findings
from prunebench.leaderboard.highlight import MOST
from prunebench.leaderboard.render.html.charts.all_charts import charts
from prunebench.leaderboard.render.html.charts.axis import linear, logarithmic, pixel, view
from prunebench.leaderboard.render.html.charts.looks import looks
from prunebench.leaderboard.render.html.charts.panel import (
    BOTTOM,
    GAP,
    LEFT,
    RIGHT,
    TOP,
    spread,
)
from prunebench.leaderboard.render.html.charts.weights import choices
from prunebench.leaderboard.render.html.page import render_html
from prunebench.leaderboard.render.html.tooltips import Tips
from prunebench.leaderboard.render.short_names import shared_remark, short_names, without
from support.pages import EVIL, Page, two_boards
from support.records import RECIPE, record
from tests.leaderboard.render.charts.pictured import RATIOS, ROWS, SCORED, pictured


@pytest.fixture(scope="module")
def board() -> Board:
    return pictured()


@pytest.fixture(scope="module")
def markup(board: Board) -> str:
    return str(charts(board, Tips(), findings(board)))


def panels(markup: str, key: str) -> list[str]:
    """The SVG of each panel of a picture."""
    picture = markup.split(f'id="p0-{key}" class="picture')[1].split('class="picture')[0]
    return re.findall(r'<svg class="panel.*?</svg>', picture, re.S)


def groups(panel: str) -> dict[int, tuple[list[str], str]]:
    """(classes, content) of what is drawn of each row."""
    found = re.findall(r'<g class="row([^"]*)" data-row="(\d+)">(.*?)(?=<g class="row|</g><g class='
                       r'"name|</svg>)', panel)  # fmt: skip
    assert len(found) == len({row for _, row, _ in found})
    return {int(row): (classes.split(), content) for classes, row, content in found}


def labels(markup: str) -> dict[str, int]:
    """Number of each row."""
    chips = re.findall(r'data-row="(\d+)" aria-pressed="\w+">.*?<bdi>(.*?)</bdi>', markup)
    return {label: int(row) for row, label in chips}


def test_at_most_eight_rows_are_in_colour_the_same_in_every_picture(markup: str) -> None:
    places = labels(markup)
    assert sorted(places) == sorted(ROWS)
    seen = set()
    for key in ("cost", "ratio", "noise", "apart"):
        for panel in panels(markup, key):
            rows = groups(panel)
            seen.add(frozenset(row for row, (classes, _) in rows.items() if "on" in classes))
            # Differences and times are to full training, which is none of their points.
            assert set(places.values()) - set(rows) <= {places["full"]}
    (common, *others) = sorted(seen, key=len, reverse=True)
    assert len(common) == MOST
    assert all(common - other <= {places["full"]} for other in others)
    wanted = {"full", "short-full", "random-dynamic", "method-1+align", "method-1"}
    assert {places[label] for label in wanted} <= common


def test_rows_of_one_method_have_one_hue_and_differ_in_their_marker() -> None:
    options = ({}, {"r": 0.3}, {"r": 0.7})
    found = [
        record(method, noise, seed, accuracy=0.8 + place / 100 + seed / 450, params=params)
        for place, (method, params) in enumerate(
            [("full", {}), *(("seta", p) for p in options), *(("seta+align", p) for p in options)])
        for noise in ("clean", "symmetric:0.2") for seed in range(3)
    ]  # fmt: skip
    (summary,) = build(found).summaries
    made = looks(summary)
    own = [look for label, look in made.items() if label.startswith("seta")]
    assert len(own) == 6
    assert len({look.colour for look in own}) == 1
    assert len({(look.marker, look.plain) for look in own}) == 6


def test_points_stand_where_the_numbers_are(board: Board, markup: str) -> None:
    places = labels(markup)
    (panel, *_) = panels(markup, "ratio")  # of the first setting
    low, high = map(float, re.search(r'data-y="(\S+) (\S+)"', panel).groups())  # type: ignore[union-attr]
    rows = groups(panel)
    for table, tick in zip(board.tables, RATIOS, strict=True):
        assert f">{tick:g}</text>" in panel
        for row in table.rows:
            content = rows[places[row.label]][1]
            points = re.findall(r'<use href="#m\w" x="(\S+)" y="(\S+)"', content)
            assert len(points) == len(RATIOS)
            cell = row.cells[0]
            assert cell is not None
            y = BOTTOM + (cell.accuracy.mean - low) / (high - low) * (TOP - BOTTOM)
            assert float(points[RATIOS.index(tick)][1]) == pytest.approx(y, abs=0.06)


def test_no_row_beats_one_of_the_dashed_line(board: Board, markup: str) -> None:
    panel = panels(markup, "cost")[0]
    costs = {}
    for table in board.tables:
        for row in table.rows:
            cost = cost_of(table.runs[row.label])
            if cost is not None and row.mean is not None:
                costs[row.label, table.ratio] = (cost.total, row.mean)
    known = set(costs.values())
    best = [key for key, (x, y) in costs.items()
            if not any(a <= x and b >= y for a, b in known - {(x, y)})]  # fmt: skip
    path = re.search(r'class="front" d="M([^"]*)"', panel)
    assert path is not None
    drawn = {tuple(corner.split()) for corner in path[1].split("L")}
    assert len(drawn) == 2 * len({costs[key] for key in best}) - 1
    marks = set(re.findall(r'x="(\S+)" y="(\S+)" data-tip', panel))
    assert len(drawn & marks) == len({costs[key] for key in best})


def test_answers_are_the_sentences_of_the_board(board: Board, markup: str) -> None:
    from markupsafe import escape

    topics = {"cost": "random choice", "noise": "noise", "apart": "lead", "ratio": "no loss"}
    said = {finding.topic: finding for finding in findings(board)}
    for key, topic in topics.items():
        answer = markup.split(f'id="p0-{key}" class="picture')[1].split('<p class="dim">')[0]
        assert f"<b>{escape(said[topic].short)}</b>" in answer, key  # type: ignore[index]
        assert str(escape(said[topic].more)) in answer  # type: ignore[index]
    questions = re.findall(r"<h3>(.*?)</h3>", markup)
    assert len(questions) == 6
    assert all(question.endswith("?") for question in questions)


def test_cells_of_the_heat_map_are_the_paired_differences(board: Board) -> None:
    page = Page(render_html(board))
    heat = page.table("p0-heat")
    assert sorted(heat.names()) == sorted(set(ROWS) - {"full"})
    (_, rows) = heat.bodies[0]
    row = next(cells for attributes, cells in rows if attributes["data-name"] == "method-8")
    wanted = [next(r for r in table.rows if r.label == "method-8").cells[place].difference.mean  # type: ignore[union-attr]
              for place in range(2) for table in board.tables]  # fmt: skip
    assert [float(cell.attributes["data-v"]) for cell in row[1:]] == pytest.approx(wanted)
    tones = [cell.attributes["class"] for cell in row[1:]]
    assert all(tone == "level" or tone.startswith("up" if value > 0 else "down")
               for tone, value in zip(tones, wanted, strict=True))  # fmt: skip


def test_weights_are_of_complete_rows_and_cost_is_that_of_all_passes(board: Board) -> None:
    found = choices(board)
    wanted = [*(f"digits, ratio {ratio}" for ratio in RATIOS), "digits, every ratio"]
    assert [choice.name for choice in found] == wanted
    assert len(found[3].rows) == 3 * (len(ROWS) - 1) + 1
    table = board.tables[1]
    for name, _, values, cost in found[1].rows:
        row = next(row for row in table.rows if row.label == name)
        means = [cell.accuracy.mean for cell in row.cells if cell is not None]
        assert list(values) == pytest.approx(means, abs=1e-4)
        share = cost_of(table.runs[name])
        assert share is not None
        assert cost == pytest.approx(100 * share.total, abs=1e-4)
        assert share.total - share.own == pytest.approx(SCORED.get(name, 0.0))


def test_learning_curves_are_means_over_seeds_against_samples() -> None:
    recipe = {"recipe": {**RECIPE, "eval_every": 1}}
    size = {"num_samples": 1000, "full_epochs": 10}
    found = [
        replace(made, ledger={**made.ledger, **size}).sealed()
        for row in ("full", "random-dynamic", "method-1") for seed in range(3)
        for made in [record(row, "clean", seed, accuracy=0.9, spec=recipe)]
    ]  # fmt: skip
    board = build(found)

    def read(run: Run, name: str) -> bytes:
        if run.method == "method-1" and run.seed == 2:
            return b"damaged"
        start = 0.5 + run.seed / 10
        return f"epoch,trained,test_accuracy\n1,1000,{start}\n2,1000,0.8\n3,2000,\n".encode()

    assert 'data-key="curves"' not in str(charts(board, Tips(), findings(board)))
    tips = Tips()
    (panel,) = panels(str(charts(board, tips, findings(board), read)), "curves")
    assert len(groups(panel)) == 3
    low, high = map(float, re.search(r'data-y="(\S+) (\S+)"', panel).groups())  # type: ignore[union-attr]
    lines = re.findall(r'class="line" d="M([^"]*)"', panel)
    heights = sorted(float(line.split("L")[0].split()[1]) for line in lines)
    wanted = [BOTTOM + (value - low) / (high - low) * (TOP - BOTTOM) for value in (60, 60, 55)]
    assert heights == pytest.approx(wanted, abs=0.06)  # of the seeds with a sound curve
    said = dict(tips.content)["method-1 · clean · ratio 0.5 · while training"]  # type: ignore[arg-type]
    assert said == [["at the end", "90.00 % after 40.0 % of full training's samples (n = 2)"]]


def test_hostile_names_are_text_everywhere() -> None:
    text = render_html(build(two_boards()))
    assert EVIL in Page(text).text
    assert "<img" not in text


def test_thirty_methods_six_noises_three_ratios_stay_below_three_megabytes() -> None:
    names = [f"method-{k}" for k in range(20)] + [f"method-{k}+align" for k in range(7)]
    noises = ("clean", "symmetric:0.2", "symmetric:0.4", "pairflip:0.2", "asymmetric:0.4", "human")
    board = pictured(["full", "short-full", "random-dynamic", *names], noises, seeds=2)
    size = len(render_html(board).encode())
    assert len(board.tables) == 3
    assert size < 3_000_000, size


def test_names_that_do_not_fit_differ_and_stand_whole_in_their_titles() -> None:
    cut = {"infobatch+align (r=0.5, rescale=true)", "infobatch+align (r=0.9, rescale=false)"}
    shared = {f"{name} (scored with resnet18)" for name in ("aum", "el2n", "selective-backprop")}
    short = short_names([*cut, "full"], 20)
    assert len(set(short.values())) == 3
    assert all(len(name) <= 20 for name in short.values())
    assert short["full"] == "full"
    found = short_names([*shared, "full"], 20)
    assert set(found.values()) == {"aum", "el2n", "selective-backprop", "full"}
    # Names that would be others without it keep what they share.
    assert shared_remark([*shared, "aum"]) == ""
    assert shared_remark(["a (x, y)", "b (x, z)"]) == "x"
    assert without("a (x, y)", "x") == "a (y)"
    assert shared_remark(["a (x)", "b (y)"]) == shared_remark(["a (x)", "b"]) == ""
    names = ("full", "random", *sorted(shared), *sorted(cut))
    records = [record("random" if n != "full" else n, noise, seed, accuracy=0.5 + place / 50,
                      params={"r": place} if place > 1 else {}, info={"label": n})
               for place, n in enumerate(names) for noise in ("clean", "symmetric:0.4")
               for seed in (0, 1, 2)]  # fmt: skip
    page = render_html(build(records))
    for name in sorted(shared | cut):
        assert f"<title>{name}</title>" in page


def test_names_keep_their_order_and_their_distance() -> None:
    heights = [100.0, 101.0, 99.0, 30.0, 205.0, 206.0]
    found = spread(heights, TOP, BOTTOM)
    assert sorted(range(6), key=lambda k: heights[k]) == sorted(range(6), key=lambda k: found[k])
    assert all(abs(a - b) >= GAP - 1e-9 for a, b in combinations(found, 2))
    assert min(found) >= TOP
    assert max(found) <= BOTTOM


@pytest.mark.parametrize(
    "axis",
    [linear("x", [91.2, 97.4]), linear("x", [5.0]), logarithmic("x", [48.0, 300.0]),
     logarithmic("x", [100.0])],
)  # fmt: skip
def test_ticks_lie_on_the_axis(axis: object) -> None:
    ticks = axis.marked()  # type: ignore[attr-defined]
    assert 2 <= len(ticks) <= 12
    for place, text in ticks:
        assert LEFT - 0.5 <= axis.at(place, LEFT, RIGHT) <= RIGHT + 0.5  # type: ignore[attr-defined]
        assert float(text) == pytest.approx(place)
    assert (pixel(-0.01), pixel(12.0), pixel(3.14159)) == ("0", "12", "3.1")


def test_outliers_do_not_squeeze_the_rows_in_colour() -> None:
    assert min(view([90.0, 95.0], [10.0, 89.0, 90.0, 95.0])) == 89.0
    assert min(view([90.0, 95.0], [86.0, 90.0, 95.0])) == 86.0
    assert view([], [1.0, 2.0]) == (1.0, 2.0)


# Colours.

_SIMULATED = {  # Machado, Oliveira and Fernandes 2009, severity 1
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
               (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
               (-0.01182, 0.04294, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
               (0.004733, 0.691367, 0.3039)),
}  # fmt: skip


def colours() -> list[dict[str, tuple[float, ...]]]:
    """Linear RGB by name, light and dark."""
    folder = files("prunebench.leaderboard.render.html") / "templates"
    css = "".join((folder / name).read_text("utf-8") for name in ("board.css", "charts.css"))
    found: list[dict[str, tuple[float, ...]]] = [{}, {}]
    pairs = re.findall(r"--(\w+):light-dark\((#\w+),(#\w+)\)", css)
    pairs += re.findall(r"\.heat \.(\w+)\{background:light-dark\((#\w+),(#\w+)\)", css)
    for name, *both in pairs:
        for place, code in enumerate(both):
            full = code if len(code) == 7 else "#" + "".join(2 * sign for sign in code[1:])
            parts = [int(full[k : k + 2], 16) / 255 for k in (1, 3, 5)]
            found[place][name] = tuple(
                v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts
            )
    return found


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """WCAG's ratio."""
    one, other = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (a, b))
    return (other + 0.05) / (one + 0.05)


def oklab(rgb: tuple[float, ...]) -> tuple[float, float, float]:
    """Ottosson's perceptual space."""
    r, g, b = rgb
    cones = (math.copysign(abs(v) ** (1 / 3), v) for v in (
        0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b,
        0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b,
        0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b))  # fmt: skip
    l_, m, s = cones
    return (0.2104542553 * l_ + 0.793617785 * m - 0.0040720468 * s,
            1.9779984951 * l_ - 2.428592205 * m + 0.4505937099 * s,
            0.0259040371 * l_ + 0.7827717662 * m - 0.808675766 * s)  # fmt: skip


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_stand_out_and_apart_for_every_eye(scheme: int) -> None:
    found = colours()[scheme]
    hues = [f"h{number}" for number in range(8)]
    for name in (*hues, "k0", "k1", "ink", "dim"):
        assert contrast(found[name], found["paper"]) >= 4.5, name
    shades = [name for name in found if re.fullmatch(r"(up|down)\d", name)]
    assert len(shades) == 12
    for name in shades:
        assert contrast(found["ink"], found[name]) >= 4.5, name
    for eye, matrix in _SIMULATED.items():
        seen = {name: oklab(tuple(math.fsum(a * b for a, b in zip(row, found[name], strict=True))
                                  for row in matrix)) for name in hues}  # fmt: skip
        for a, b in combinations(hues, 2):
            assert math.dist(seen[a], seen[b]) > 0.1, (eye, a, b)
