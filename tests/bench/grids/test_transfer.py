"""Subsets that one network's scoring run chooses, trained with other networks."""

from pathlib import Path

import numpy as np
import pytest

import prunebench
from prunebench.bench.estimates.summary import summarise
from prunebench.bench.grids.driver import run_cells
from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.rerun import command_of
from prunebench.bench.runs.resolve import build_spec, resolve_cell
from prunebench.bench.runs.scoring_runs import scoring_specs
from prunebench.bench.runs.self_supervised import encoder_key
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import InputError
from prunebench.untrusted import unpack_npz

GRID = """
name = "t"
dataset = "synthetic"
dataset_params = { n = 120, test = 40, size = 8, classes = 3, superclasses = 1 }
recipe_params = { epochs = 2, model_params = { width = 4, depth = 2 } }
transfer = [{ model = "mlp", lr = 0.05 }]
method = ["full", "random", "el2n", "dual", "infobatch"]
ratio = 0.5
seed = [0, 1]
"""
LISTED = 'transfer = [{ model = "mlp", lr = 0.05 }]'
INLINE = ExecutionOptions(inline=True, workers=1, quiet=True, mlflow=False)


def cells_of(folder: Path, text: str) -> list[Cell]:
    path = folder / "g.toml"
    path.write_text(text)
    return expand(*read_grid(path))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The grid's cells, and a folder in which all of them are run."""
    folder = tmp_path_factory.mktemp("transfer")
    cells = cells_of(folder, GRID)
    store = Store.open(folder / "results")
    run_cells(cells, store, INLINE)
    return cells, store


def test_keys_without_a_scoring_recipe_stay(tmp_path):
    fields = {"dataset": "digits", "method": "el2n", "ratio": 0.5}
    usual = build_spec(**fields)
    assert "scoring_recipe" not in usual.content
    assert build_spec(**fields, scoring_recipe="digits").key == usual.key
    assert build_spec(**fields, scoring_params={"epochs": 5}).key != usual.key
    plain = cells_of(tmp_path, GRID.replace(LISTED, ""))
    own = [c for c in cells_of(tmp_path, GRID) if c.spec.recipe.model == "cnn"]
    assert [c.spec.key for c in plain] == [c.spec.key for c in own]


@pytest.mark.parametrize(
    ("method", "ratio", "params", "carried"),
    [
        ("el2n", 0.5, {}, True), ("el2n@strata", 0.5, {}, True), ("ssp", 0.5, {}, True),
        ("cld", 0.5, {}, True), ("glister", 0.5, {}, True), ("zcore", 0.5, {}, True),
        ("full", 0.0, {}, False), ("random", 0.5, {}, False), ("infobatch", 0.5, {}, False),
        ("airbench-proxy", 0.5, {}, False), ("rho-loss", 0.5, {}, False),
        ("infobatch+align", 0.5, {"align.reference": "small-loss"}, False),
    ],
)  # fmt: skip
def test_only_methods_that_read_evidence_to_choose_once_carry_it(method, ratio, params, carried):
    fields = {"dataset": "digits", "method": method, "ratio": ratio, "params": params}
    scored = resolve_cell(**fields, scoring_recipe="synthetic")
    assert (scored.spec.scoring_recipe is not None) is carried
    assert (scored.spec.key != build_spec(**fields).key) is carried


def test_fields_of_a_scoring_recipe_without_its_name_are_the_recipes():
    fields = {"dataset": "digits", "method": "el2n", "ratio": 0.5, "recipe_params": {"lr": 0.3}}
    spec = build_spec(**fields, scoring_params={"epochs": 5})
    assert spec.scoring_recipe == spec.recipe.model_copy(update={"epochs": 5})


def test_encoders_and_scoring_recipes_of_a_methods_own_are_those_of_the_scoring_network():
    fields = {"dataset": "digits", "ratio": 0.5, "recipe_params": {"model": "mlp",
              "model_params": {}}, "scoring_recipe": "digits"}  # fmt: skip
    usual = build_spec(dataset="digits", method="ssp", ratio=0.5)
    scored = resolve_cell(method="ssp", **fields).spec
    assert encoder_key(scored) == encoder_key(usual)
    assert encoder_key(scored.replace(scoring_recipe=None)) != encoder_key(usual)
    cell = resolve_cell(method="forgetting", proxy="own", **fields)
    (run,) = scoring_specs(cell.pruner(), cell.spec)
    assert run.recipe.model == "cnn"
    assert run.recipe != cell.spec.scoring_recipe
    assert run.scoring_recipe is None


def test_a_network_trains_every_row_and_scores_none(tmp_path):
    cells = cells_of(tmp_path, GRID)
    assert len(cells) == 2 * 2 * 5
    planned = plan_jobs(cells)
    full = {c.spec.key for c in cells if c.spec.method.name == "full"}
    own = {c.spec.key for c in cells if c.spec.recipe.model == "cnn"}
    assert set(planned.shared) == full & own
    assert planned.added == []
    scored = [c.spec for c in cells if c.spec.scoring_recipe is not None]
    assert {spec.method.name for spec in scored} == {"el2n", "dual"}
    assert {(spec.recipe.model, spec.scoring_recipe.model) for spec in scored} == {("mlp", "cnn")}


def test_a_scoring_recipe_may_be_one_of_the_recipes_and_blocks_may_have_no_such_method(tmp_path):
    text = GRID.replace(LISTED, 'scoring_recipe = "digits"\nrecipe = ["digits", "synthetic"]')
    cells = cells_of(tmp_path, text.replace("recipe_params", "# recipe_params"))
    scored = {c.spec.recipe.name: c.spec.scoring_recipe for c in cells
              if c.spec.method.name == "el2n"}  # fmt: skip
    assert scored["digits"] is None
    assert scored["synthetic"].name == "digits"
    blocks = '[[block]]\nmethod = "random"\n[[block]]\nmethod = "dual"\n'
    methods = [c.spec.method.name for c in cells_of(tmp_path, GRID + blocks)]
    assert (methods.count("random"), methods.count("dual")) == (4, 4)


def test_the_scoring_run_is_shared_counted_once_and_charged(tmp_path, trained):
    cells, store = trained
    assert len(store.scan().records) == len(cells)
    assert len(list((store.root / "evidence").iterdir())) == 2  # one a seed
    records = {cell.spec.key: store.get(cell.spec.key) for cell in cells}
    charged = {
        (c.spec.method.name, c.spec.recipe.model): records[c.spec.key].ledger["proxy_trained"]
        for c in cells
    }
    assert charged["dual", "mlp"] == charged["dual", "cnn"] > 0
    assert charged["random", "mlp"] == charged["full", "mlp"] == 0
    summary = summarise(cells, tmp_path / "new", INLINE, measure=lambda *_: ({}, 0.0))
    assert summary["of these shared scoring runs"] == 2
    assert [run["serves"] for run in summary["scoring runs"]] == [4, 4]
    assert summary["samples"]["trained"] == sum(r.ledger["trained"] for r in records.values())


def test_other_networks_train_the_same_samples(trained):
    cells, store = trained
    kept = {}
    for cell in cells:
        spec = cell.spec
        if spec.method.name in ("el2n", "dual"):
            data = store.artifact(spec.key, "samples.npz")
            found = unpack_npz(data, "samples")
            kept[spec.method.name, spec.seed, spec.recipe.model] = found
    for method, seed in {(m, s) for m, s, _ in kept}:
        mine, theirs = kept[method, seed, "cnn"], kept[method, seed, "mlp"]
        assert mine.keys() == theirs.keys()
        for name in ("ids", "kept", "score"):
            if name in mine:
                assert np.array_equal(
                    mine[name], theirs[name], equal_nan=mine[name].dtype.kind == "f"
                )


def test_a_second_call_repeats_nothing_and_a_lost_cell_finds_the_evidence(trained):
    cells, store = trained
    lost = next(c for c in cells if c.spec.scoring_recipe is not None)
    before = store.get(lost.spec.key)
    (store.records / f"{lost.spec.key}.json").unlink()
    report = run_cells(cells, store, INLINE)
    assert [o.key for o in report.outcomes] == [lost.spec.key]
    assert store.get(lost.spec.key).metrics == before.metrics
    words = command_of(before)
    assert "--scoring-recipe synthetic" in words
    assert "--scoring-param epochs=2" in words


def test_python_reads_and_runs_it(tmp_path, trained):
    cells, store = trained
    table = prunebench.load_results(store.root).records
    assert set(table["scored_with"].dropna()) == {"cnn"}
    cell = next(c for c in cells if c.spec.scoring_recipe is not None)
    spec = cell.spec
    fields = {"dataset_params": {"n": 120, "test": 40, "size": 8, "classes": 3, "superclasses": 1}}
    scoring = {"epochs": 2, "model_params": {"width": 4, "depth": 2}}
    mine = {"epochs": 2, "model": "mlp", "model_params": {}, "lr": 0.05}
    run = prunebench.run(
        "synthetic", method=spec.method.name, ratio=0.5, seed=spec.seed, recipe=mine,
        scoring_recipe="synthetic", scoring_params=scoring, out=store.root, mlflow=False,
        quiet=True, **fields,
    )  # fmt: skip
    assert run.record.key == spec.key


def test_methods_for_which_the_scoring_recipe_is_too_short_are_recorded_as_skipped(tmp_path):
    text = GRID.replace(LISTED, "scoring_params = { epochs = 1 }")
    text = text.replace('"full", "random", "el2n", "dual", "infobatch"', '"dual"')
    cells = cells_of(tmp_path, text.replace("seed = [0, 1]", ""))
    assert [cell.spec.scoring_recipe.epochs for cell in cells] == [1]
    store = Store.open(tmp_path / "results")
    run_cells(cells, store, INLINE)
    record = store.get(cells[0].spec.key)
    assert record.status == "skipped"
    assert "at least 2 epochs" in record.reason


def test_networks_are_checked_where_noise_takes_images_from_another_data_set(tmp_path):
    noise = """noise = "openset:0.2"
noise_params = { outside = "synthetic", "outside.n" = 60, "outside.size" = 8 }
"""
    assert len(cells_of(tmp_path, GRID + noise)) == 2 * 2 * 5


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (('"mlp"', '"mpl"'), ["transfer", "unknown model", "mlp"]),
        (('{ model = "mlp", lr = 0.05 }', '"mlp", "mlp"'), ["transfer", "listed twice"]),
        (('"mlp", lr = 0.05', '"cnn", model_params = { width = 4, depth = 2 }'),
         ["g.toml: transfer", "recipe's own"]),
        (('"el2n", "dual", ', ""), ["transfer", "no method", "static"]),
        (('[{ model = "mlp", lr = 0.05 }]', "3"), ["transfer", "list of networks"]),
        (('[{ model = "mlp", lr = 0.05 }]', "[]"), ["transfer", "list of networks"]),
        (("lr = 0.05", "lr = -1"), ["g.toml: transfer.lr", "-1"]),
        (("lr = 0.05", "lr = nan"), ["g.toml: transfer.lr", "number"]),
        (("lr = 0.05", "lrr = 0.05"), ["g.toml: transfer", "lrr", "lr"]),
        (("epochs = 2", "epochs = nan"), ["g.toml: recipe_params.epochs", "number"]),
        (("lr = 0.05", "model_params = { wdith = 3 }"), ["g.toml: transfer", "wdith", "width"]),
        (("transfer", 'scoring_recipe = "nobody"\ntransfer'), ["unknown recipe", "nobody"]),
        (("epochs = 2", 'epochs = 2, train = "head"'),
         ["g.toml: transfer", "'mlp' has no weights", "head alone", 'train = "all"']),
        ((LISTED, 'scoring_recipe = "digits"\nmethod = "random"'),
         ["g.toml: scoring_recipe", "no method"]),
    ],
)  # fmt: skip
def test_what_cannot_be_transferred_is_one_line(tmp_path, change, parts):
    text = GRID.replace(*change)
    if text.count("\nmethod") > 1:
        text = text.replace('method = ["full", "random", "el2n", "dual", "infobatch"]\n', "")
    assert text != GRID
    with pytest.raises(InputError) as caught:
        cells_of(tmp_path, text)
    line = str(caught.value)
    assert "\n" not in line
    assert all(part in line for part in parts), line


@pytest.mark.parametrize("field", ['transfer = "mlp"', 'scoring_recipe = "digits"',
                                   "scoring_params = { epochs = 1 }"])  # fmt: skip
def test_a_block_that_sets_what_changes_none_of_its_cells_is_refused(tmp_path, field):
    used = f'\n[[block]]\nmethod = "el2n"\n{field}\n'
    text = GRID.replace(LISTED, "").replace('method = ["full", "random", "el2n", "dual", '
                                            '"infobatch"]\n', "") + used  # fmt: skip
    assert cells_of(tmp_path, text)
    with pytest.raises(InputError, match=r"g\.toml: (transfer|scoring_recipe).*no method"):
        cells_of(tmp_path, text + used.replace("el2n", "infobatch"))


def test_networks_that_cannot_read_the_data(tmp_path):
    rows = np.random.default_rng(0).random((60, 5), np.float32)
    np.savez(tmp_path / "vectors.npz", X=rows, y=np.arange(60) % 3, X_test=rows[:9],
             y_test=np.arange(9) % 3)  # fmt: skip
    text = f"""
name = "v"
dataset = "arrays:{tmp_path / "vectors.npz"}"
transfer = "cnn"
method = ["el2n"]
ratio = 0.5
"""
    with pytest.raises(InputError, match=r"g\.toml: transfer.*image") as caught:
        cells_of(tmp_path, text)
    assert "cnn" in str(caught.value)


def test_a_scoring_recipe_whose_network_cannot_read_the_data(tmp_path):
    text = GRID.replace(LISTED, 'scoring_recipe = "text"').replace("recipe_params", "# params")
    with pytest.raises(InputError, match=r"g\.toml: scoring_recipe.*synthetic") as caught:
        cells_of(tmp_path, text)
    assert "embedding-bag" in str(caught.value)


def test_a_network_may_be_trained_whole_where_the_recipe_trains_its_head_alone(tmp_path):
    text = GRID.replace("epochs = 2", 'epochs = 2, train = "head"')
    cells = cells_of(tmp_path, text.replace("lr = 0.05", 'train = "all"'))
    assert {(c.spec.recipe.model, c.spec.recipe.train) for c in cells} == {
        ("cnn", "head"), ("mlp", "all"),
    }  # fmt: skip
