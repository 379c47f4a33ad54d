"""``controls = "reference"``: what the same clean samples buy otherwise, beside ``+align``."""

import pytest

from prunebench.bench.estimates import summary
from prunebench.bench.grids.controls import CONTROLS
from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.errors import InputError
from prunebench.leaderboard.board.align_rows import REFERENCE_CONTROLS
from prunebench.leaderboard.render.align_text import USES
from support.command import prunebench

TOP = """
name = "mine"
dataset = "digits"
seed = "0..1"
controls = "reference"
recipe_params = { epochs = 2 }
"""
BLOCKS = """
[[block]]
noise = ["clean", "symmetric:0.4"]
ratio = [0.3, 0.5]
method = ["full", "infobatch", "infobatch+align", "cld"]
params = { cld = {}, infobatch = { r = [0.5, 0.9] } }
label = { infobatch = "plain" }
reference = { size = 50 }
[[block]]
noise = "symmetric:0.4"
ratio = 0.5
method = ["glister"]
params = { glister = { rounds = 3 } }
[[block]]
noise = "pairflip:0.2"
ratio = 0.3
method = ["infobatch"]
"""


def rows(text, tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    found = {}
    for cell in expand(*read_grid(path)):
        spec = cell.spec
        found.setdefault((spec.noise.name, spec.method.name), []).append(spec)
    return found


def test_a_board_looks_for_the_rows_that_a_grid_adds():
    assert set(CONTROLS["reference"]) == set(REFERENCE_CONTROLS) == set(USES)


def test_the_missing_rows_are_added_to_every_task_with_align(tmp_path):
    plain = rows((TOP + BLOCKS).replace('controls = "reference"\n', ""), tmp_path)
    found = rows(TOP + BLOCKS, tmp_path)
    assert {row: found[row] for row in plain} == plain
    added = found.keys() - plain.keys()
    one = {("clean", name) for name in CONTROLS["reference"] if name != "cld"}
    other = {("symmetric:0.4", name) for _, name in one if name != "glister"}  # it is listed
    assert added == one | other
    for _, name in added:
        specs = found["clean", name]
        ratios = {0.0} if name == "full+reference" else {0.3, 0.5}
        assert {(spec.ratio, spec.seed) for spec in specs} == {(r, s) for r in ratios
                                                               for s in (0, 1)}  # fmt: skip
        assert {spec.reference.size for spec in specs} == {50}


def test_nothing_is_added_without_align_or_the_field(tmp_path):
    text = BLOCKS.replace('"infobatch+align", ', "")
    with_field, without = rows(TOP + text, tmp_path), rows(
        TOP.replace('controls = "reference"', "") + text, tmp_path)  # fmt: skip
    assert with_field == without
    with pytest.raises(InputError, match=r"controls.*reference"):
        rows(TOP.replace('"reference"', '"clean"') + BLOCKS, tmp_path)


def test_a_dry_run_counts_them(tmp_path, monkeypatch):
    path, counted = tmp_path / "grid.toml", []
    path.write_text(TOP + 'ratio = 0.5\nmethod = ["full", "infobatch+align"]\n')

    def summarise(cells, *_):
        counted.append(len(cells))
        return {}

    monkeypatch.setattr(summary, "summarise", summarise)
    said = prunebench("grid", path, "--out", tmp_path / "out", "--dry-run", "--json").json
    assert said["controls"] == dict.fromkeys(CONTROLS["reference"], 2)
    assert counted == [2 * (2 + len(CONTROLS["reference"]))]
