"""Grid files and specs: what expands to what, and errors that name file, field and values."""

import pytest

from prunebench.bench.grids.grid_file import Grid, expand, parse_seeds, read_grid
from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.runs.resolve import build_spec
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.errors import InputError
from support.cells import small_cell

GOOD = """
name = "g"
dataset = "digits"
noise = ["clean", "symmetric:0.4"]
method = ["full", "random", "infobatch"]
ratio = [0.3, 0.5]
seed = "0..2"
"""


def grid(tmp_path, text):
    path = tmp_path / "g.toml"
    path.write_text(text)
    return expand(*read_grid(path))


def test_full_training_appears_once_whatever_the_ratios(tmp_path):
    cells = grid(tmp_path, GOOD)
    assert len(cells) == 2 * 3 * (1 + 2 * 2)
    assert len({c.spec.key for c in cells}) == len(cells)


def test_params_are_an_axis(tmp_path):
    cells = grid(tmp_path, GOOD + "[params.infobatch]\nr = [0.3, 0.5, 0.7]\ndelta = 0.5\n")
    rs = {c.spec.method.params["r"] for c in cells if c.spec.method.name == "infobatch"}
    assert rs == {0.3, 0.5, 0.7}
    assert len(cells) == 2 * 3 * (1 + 2 * (1 + 3))


def test_blocks_override_the_top_level(tmp_path):
    cells = grid(
        tmp_path,
        GOOD + '[[block]]\nratio = 0.7\n[[block]]\nmethod = "random"\nnoise = "clean"\nseed = 9\n',
    )
    assert {c.spec.ratio for c in cells if c.spec.seed == 9} == {0.3, 0.5}
    assert {c.spec.ratio for c in cells if c.spec.seed != 9} == {0.0, 0.7}


def test_defaults_spelled_out_give_the_same_key():
    a = build_spec(dataset="digits", method="infobatch", ratio=0.5)
    b = build_spec(dataset="digits", method="infobatch", ratio=0.5,
                   params={"r": 0.5, "delta": 0.875}, recipe="digits")  # fmt: skip
    assert a.key == b.key
    assert a.key != build_spec(dataset="digits", method="infobatch", ratio=0.5, seed=1).key
    assert build_spec(dataset="digits", noise="symmetric:0.40").key == (
        build_spec(dataset="digits", noise="symmetric:0.4").key
    )


def test_specs_survive_json():
    spec = small_cell("infobatch+align").spec
    again = RunSpec.model_validate(spec.content)
    assert again == spec
    assert again.key == spec.key
    assert spec.noise.rule == "symmetric"
    assert small_cell("full", noise="asymmetric:0.3").spec.noise.rule == "asym_digits"


def test_versions_enter_the_key(monkeypatch):
    from prunebench.registry import METHODS

    old = METHODS.get("infobatch")
    before = build_spec(dataset="digits", method="infobatch", ratio=0.5).key
    monkeypatch.setitem(METHODS._entries, "infobatch", type(old)(
        old.name, old.target, old.version + 1, old.module))  # fmt: skip
    assert build_spec(dataset="digits", method="infobatch", ratio=0.5).key != before


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (('"infobatch"]', '"infobacth"]'), ["unknown method", "infobatch"]),
        (('"digits"', '"digit"'), ["unknown dataset", "digits"]),
        (('"clean"', '"cleen"'), ["unknown noise", "clean"]),
        (("symmetric:0.4", "symmetric:1.4"), ["1.4", "0 to below 1"]),
        (("[0.3, 0.5]", "[0.3, 1.0]"), ["g.toml", "ratio", "less than 1"]),
        (("[0.3, 0.5]", "[-0.1]"), ["g.toml", "ratio", "0 or more"]),
        (("method", "methods"), ["g.toml", "unknown field 'methods'", "method"]),
        (('"0..2"', '"2..0"'), ["g.toml", "seed", "range"]),
        (("seed", "seed = ["), ["g.toml", "malformed TOML"]),
        (('name = "g"', 'name = "../g"'), ["g.toml", "name"]),
        (('name = "g"', ""), ["g.toml", "field 'name' is missing"]),
        (('dataset = "digits"', ""), ["g.toml", "'dataset' is missing"]),
        (("seed", "budget = 'steps'\nseed"), ["g.toml", "budget", "samples", "paper", "epochs"]),
        (('"0..2"', "0\n[params.random]\nr = 0.1"), ["unknown option 'r'"]),
        (('"0..2"', "0\n[params.seta]\nr = 0.1"), ["'seta'", "not in 'method'"]),
        (('"0..2"', "0\n[params.infobatch]\nr = 1.5"), ["infobatch.r", "1.5", "from 0 to 1"]),
        (('"0..2"', "0\n[recipe_params]\nepochs = 0"), ["epochs", "1 or more"]),
        (
            ('"0..2"', "0\n[recipe_params]\nepoch = 3"),
            ["unknown field 'epoch'", "accepted: epochs (nearest"],
        ),
        (('"0..2"', '0\ncriterion = "sopp"'), ["unknown criterion", "sop"]),
        (('"0..2"', '0\nrecipe = "nope"'), ["unknown recipe"]),
    ],
)
def test_errors_are_one_line_with_field_and_accepted_values(tmp_path, change, parts):
    with pytest.raises(InputError) as caught:
        grid(tmp_path, GOOD.replace(*change))
    line = str(caught.value)
    assert "\n" not in line
    for part in parts:
        assert part in line, line


def test_missing_files_and_presets(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_grid(tmp_path / "absent.toml")
    with pytest.raises(InputError, match="demo"):
        read_grid("dema")
    assert read_grid("demo")[0].name == "demo"


def test_seeds():
    assert list(parse_seeds("0..4")) == [0, 1, 2, 3, 4]
    assert parse_seeds(3) == [3]
    for bad in ("x", [-1], [True], "1..", "0..9999999"):
        with pytest.raises(ValueError, match=r"seeds|range"):
            parse_seeds(bad)


def test_every_cell_stores_the_losses_that_a_grid_asks_for(tmp_path):
    """Those of the added scoring runs, too; jobs carry it to the workers."""
    path = tmp_path / "g.toml"
    path.write_text(
        'name = "g"\nlosses = [1, 3]\ndataset = "digits"\nmethod = "small-loss"\nratio = 0.5\n'
    )
    planned = plan_jobs(expand(*read_grid(path)))
    assert [job.payload["losses"] for job in planned.jobs] == [[1, 3], [1, 3]]
    assert len(planned.added) == 1


def test_a_list_of_recipes_is_an_axis():
    grid = Grid(name="x", dataset="digits", method=["full", "random"], ratio=0.5, seed="0..1",
                recipe=["digits", "digits-lars"])  # fmt: skip
    found = [(c.spec.recipe.name, c.spec.method.name, c.spec.seed) for c in expand(grid, "x")]
    assert len(set(found)) == len(found) == 2 * 2 * 2
    one = [(c.spec.recipe.name, c.spec.method.name, c.spec.seed)
           for c in expand(grid.model_copy(update={"recipe": ["digits-lars"]}), "x")]  # fmt: skip
    assert set(one) == {row for row in found if row[0] == "digits-lars"}
    with pytest.raises(InputError, match=r"digits-lras.*digits-lars"):
        expand(grid.model_copy(update={"recipe": ["digits", "digits-lras"]}), "x")
