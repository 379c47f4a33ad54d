"""The shipped grids: every one reads, and its cells are those of the paper's table or figure."""

import re
import tomllib
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from prunebench.bench.estimates.costs import cell_cost, split_sizes
from prunebench.bench.grids.grid_file import PRESETS, expand, read_grid
from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.grids.telling import METHODS
from prunebench.datasets.source import Outline
from prunebench.leaderboard.published.numbers import read_published
from prunebench.record import setting_name
from prunebench.registry import DATASETS, SAMPLERS

ALL, SIX = 17, 6
#: methods x noises x ratios x seeds, and full training of each noise and seed.
CELLS = {
    "table-1": SIX * 7 * 3 * 3 + 7 * 3,
    "table-b": ALL * 7 * 3 * 3 + 7 * 3,
    "table-2": SIX * 8 * 3 * 3 + 8 * 3,
    "table-c": ALL * 8 * 3 * 3 + 8 * 3,
    "table-3": 5 * 1 * 1 * 3 + 1 * 3,
    "table-4": 6 * (2 * 2 * 1 * 1 + 2),  # models x (methods x noises + full)
    "table-5": 4 * 3 * 2 * 3,  # kinds x sizes x noises x seeds
    "table-d": 3 * 6 * 3 * 3 + 6 * 3,
    "table-e": 3 * 7 * 3 * 3 + 7 * 3,
    "table-f": 2 * 3,
    "table-g": 11 * 7 * 3,  # windows x noises x seeds
    "table-h": 2 * 4 * 3 + 4 * 3,
    "table-i": 4 * 7 * 3,
    "fig-1": 2 * (4 * 3 * 3 + 3),  # data sets x (methods x ratios x seeds + full)
    "fig-2a": 2 * 5 * 3 * 3,  # methods x r x noises x seeds
    "fig-2b": 5 * 3 * 3,
    "fig-2c": 3 * 3 * 3,
    "fig-3": 6 * 7 * 3,  # sizes x noises x seeds
    "fig-a": 5 * 3 * 3,
    "fig-b": 4 * 3 * 3,
    "fig-c": 4 * 3 * 3,
    "starter-digits": 57 * 2 * 3 + 3 * 2 * 3,
    "starter-mnist": 4 * 2 * 1 * 3,
    "linear-probe": 21 * 3 * 2 * 3 + 3 * 3,  # methods x noises x ratios x seeds + full
}
#: Scoring runs shared: (runs, of these not cells of the grid).
SCORING = {
    "table-b": (7 * 3, 0), "table-c": (8 * 3, 0), "table-5": (2 * 3, 2 * 3),
    "table-d": (6 * 3, 6 * 3), "table-e": (7 * 3, 7 * 3),
    "starter-digits": (3 * 2 * 3, 2 * 2 * 3), "starter-mnist": (2 * 3, 2 * 3),
    "linear-probe": (3 * 3, 0),
}  # fmt: skip


@pytest.fixture(scope="module")
def grids(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNEBENCH_DATA", str(tmp_path_factory.mktemp("nothing")))
        return {
            path.stem: expand(*read_grid(path.stem), {}) for path in sorted(PRESETS.glob("*.toml"))
        }


def test_every_shipped_grid_reads_and_is_named_after_its_file(grids):
    for name in grids:
        loaded, path = read_grid(name)
        assert loaded.name == name
        assert loaded.about, path
    paper = {name for name in grids if name.startswith(("table-", "fig-", "starter-", "linear-"))}
    assert paper == set(CELLS)


@pytest.mark.parametrize("name", CELLS)
def test_cells_are_those_of_the_table(grids, name):
    cells = grids[name]
    assert len(cells) == CELLS[name]
    assert len({cell.spec.key for cell in cells}) == CELLS[name]
    planned = plan_jobs(cells)
    assert (len(planned.shared), len(planned.added)) == SCORING.get(name, (0, 0))


def test_a_part_of_a_table_has_the_same_keys(grids):
    keys = {name: {cell.spec.key for cell in cells} for name, cells in grids.items()}
    assert keys["table-1"] < keys["table-b"]
    assert keys["table-2"] < keys["table-c"]
    assert keys["table-i"] < keys["table-1"]
    assert keys["table-3"] < keys["table-b"]
    assert keys["fig-c"] < keys["table-1"]


def test_the_grid_of_a_card_is_a_part_of_a_table_in_bf16(grids):
    def content(cell):
        recipe = {**cell.spec.content["recipe"], "name": "", "precision": ""}
        return {**cell.spec.content, "recipe": recipe}

    table = [content(cell) for cell in grids["table-2"]]
    assert all(content(cell) in table for cell in grids["card"])
    assert {cell.spec.recipe.precision for cell in grids["card"]} == {"bf16"}
    assert {cell.spec.method.name for cell in grids["card"]} == {*METHODS}
    assert {cell.spec.method.name for cell in grids["card-synthetic"]} == {*METHODS}


@pytest.mark.parametrize("table", ["1", "2", "B", "C", "D", "E", "H", "I"])
def test_every_printed_accuracy_has_its_cells(grids, table):
    printed = {
        (row.dataset, row.method, row.noise, row.ratio)
        for row in read_published()
        if row.table == table and row.metric == "accuracy"
    }
    cells = Counter(
        (c.spec.dataset.name, c.spec.method.name, c.spec.noise.name, c.spec.ratio)
        for c in grids[f"table-{table.lower()}"]
    )
    ours = {
        (dataset, method, noise, None if table == "H" and method != "full" else ratio)
        for dataset, method, noise, ratio in cells
    }
    assert printed <= ours
    assert set(cells.values()) == {3}


def test_ablations_vary_what_they_say(grids):
    def values(name, option):
        return {c.spec.method.params[option] for c in grids[name] if option in c.spec.method.params}

    assert values("table-g", "align.window") == {2, 3, 4, 5, 10, 15, 20, 25, 30, 40, 50}
    for cell in grids["table-g"]:
        params = cell.spec.method.params
        assert params["align.min_obs"] == min(4, params["align.window"])
    assert values("table-5", "align.reference") == {"train", "clean", "small-loss", "moderate"}
    assert values("table-5", "align.reference_size") == {10_000, 1_000, 100}
    assert min(values("fig-3", "align.reference_size")) == 10
    assert max(values("fig-2a", "r")) == 0.9
    assert values("fig-2c", "align.correlation") == {"pearson", "cosine", "spearman"}
    for name in ("table-5", "table-g", "fig-2b", "fig-2c", "fig-3", "fig-a", "fig-b"):
        assert {c.spec.method.name for c in grids[name]} == {"seta+align"}
    windows = [max(1, round(5 * alpha)) for alpha in sorted(values("fig-a", "alpha"))]
    assert windows == [1, 2, 3, 4, 5]
    assert {k - round(k * 0.9) for k in values("fig-b", "k")} == {1}


def test_settings_of_the_paper(grids):
    cifar = {n: cells for n, cells in grids.items() if cells[0].spec.reference.size == 10_000}
    assert len(cifar) == 19
    for cells in cifar.values():
        spec = cells[0].spec
        assert (spec.recipe.epochs, spec.recipe.batch_size) == (200, 128)
        assert split_sizes(spec, Outline(50_000, 10_000, (3, 32, 32), 10)) == (40_000, 10_000)
    for cell in grids["table-d"]:
        spec = cell.spec
        assert (spec.criterion.name == "ce") == (spec.method.name == "full")
        if spec.noise.name.startswith("asymmetric") and spec.criterion.name == "sop+":
            assert (spec.criterion.params["lr_u"], spec.criterion.params["lr_v"]) == (0.1, 100.0)
    for cell in grids["fig-1"]:
        if cell.spec.method.name.startswith("infobatch"):
            assert cell.spec.method.params["r"] == 0.75
    window = {(c.spec.dataset.name, c.spec.method.params.get("align.window"))
              for c in grids["fig-1"] if c.spec.method.name == "infobatch+align"}  # fmt: skip
    assert window == {("webvision", 25), ("clothing1m", 5)}


def test_a_base_and_its_variant_run_as_many_epochs(grids):
    outline = Outline(50_000, 10_000, (3, 32, 32), 100)
    epochs: dict[tuple[str, float], set[int]] = {}
    for cell in grids["table-1"]:
        spec = cell.spec
        if spec.noise.name == "real" and spec.seed == 0:
            place = (spec.method.name.removesuffix("+align"), spec.ratio)
            epochs.setdefault(place, set()).add(cell_cost(cell, outline).epochs)
    assert {ratio: epochs["infobatch", ratio] for ratio in (0.3, 0.5, 0.7)} == {
        0.3: {197}, 0.5: {140}, 0.7: {84},
    }  # fmt: skip
    assert all(len(found) == 1 for found in epochs.values())
    assert epochs["random", 0.5] == epochs["random-dynamic", 0.5] == {200}


def test_data_that_are_absent_are_one_line_each(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path))
    absent: dict[str, str] = {}
    expand(*read_grid("fig-1"), absent)
    assert set(absent) == {"webvision", "clothing1m", "recipe clothing1m"}
    assert all("\n" not in line for line in absent.values())


def test_data_sets_of_the_paper_declare_their_sizes():
    for name, (train, classes) in {
        "cifar100n": (50_000, 100), "cifar10n": (50_000, 10), "webvision": (65_944, 50),
        "clothing1m": (1_000_000, 14), "imagenet": (1_281_167, 1_000), "mnist": (60_000, 10),
        "news": (11_314, 7),
    }.items():  # fmt: skip
        outline = DATASETS.get(name).target().outline()
        assert (outline.train, outline.classes) == (train, classes)


def test_comments_name_the_table():
    for path in PRESETS.glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        tomllib.loads(text)
        assert text.startswith("# ")
        kind, _, number = path.stem.partition("-")
        if kind in ("table", "fig"):
            word = "Table" if kind == "table" else "Figure"
            assert f"AlignPrune, {word} {number[:1].upper()}{number[1:]}" in text.splitlines()[0]


def test_every_method_of_the_starter_is_in_it(grids):
    from prunebench.methods.compose import list_methods

    names = {info.name for info in list_methods() if info.target.__module__.startswith(
        "prunebench.methods")}  # fmt: skip
    used = {cell.spec.method.name for cell in grids["starter-digits"]}
    assert names - used == {"ids", "scores"}  # need a file
    assert set(product(used, (0, 1, 2))) == {
        (c.spec.method.name, c.spec.seed) for c in grids["starter-digits"]
    }


@pytest.mark.parametrize("name", ["all-static", "all-static-mnist"])
def test_every_static_method_is_in_the_grids_of_static_methods(grids, name):
    from prunebench.methods.compose import list_methods

    static = {info.name for info in list_methods() if info.kind == "static"
              and info.target.__module__.startswith("prunebench.methods")}  # fmt: skip
    others = {"full", "full+reference", "short-full", "oracle-clean"}
    used = {cell.spec.method.name for cell in grids[name]}
    assert used == static - {"ids", "scores"} | others  # those two need a file


@pytest.mark.parametrize("name", ["all-dynamic", "all-dynamic-mnist"])
def test_every_dynamic_method_is_in_the_grids_of_dynamic_methods(grids, name):
    from prunebench.methods.compose import list_methods

    dynamic = {info.name for info in list_methods() if info.kind in ("dynamic", "batch")
               and info.target.__module__.startswith("prunebench.methods")}  # fmt: skip
    used = {cell.spec.method.name for cell in grids[name]}
    controls = {"full", "short-full", "oracle-clean", "full+reference", "glister", "cld"}
    assert used == dynamic | controls


def test_scores_and_samplers_are_crossed_under_the_names_of_their_rows(grids):
    from prunebench.methods.score_pruner import score_and_sampler

    built = {c.spec.method.name: c.pruner() for c in grids["score-sampler"]}
    pairs = {name: score_and_sampler(pruner) for name, pruner in built.items()
             if name not in ("full", "oracle-clean")}  # fmt: skip
    assert pairs.pop("random") is None
    scores, samplers = (set(names) for names in zip(*pairs.values(), strict=True))
    assert samplers == set(SAMPLERS.names())
    assert sorted(pairs.values()) == sorted(product(scores, samplers))
    assert (len(scores), pairs["ccs"], pairs["dual-beta"]) == (
        8, ("aum", "strata"), ("dual", "beta"))  # fmt: skip
    assert all(pairs[score] == (score, "top") for score in scores)


def test_the_guide_lists_every_grid_of_the_paper_with_its_cells(grids):
    guide = Path(__file__).parents[3] / "docs" / "grids.md"
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|.*\| ([\d,]+) \|$", guide.read_text(), re.MULTILINE)
    told = {name: int(count.replace(",", "")) for name, count in rows}
    assert set(CELLS) <= set(told)
    assert told == {name: len(grids[name]) for name in told}


def test_the_guide_s_example_expands_to_what_it_says(tmp_path):
    guide = (Path(__file__).parents[3] / "docs" / "grids.md").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(guide.partition("```toml\n")[2].partition("```")[0])
    assert f"= {len(expand(*read_grid(path), {}))} cells" in guide


def test_align_variants_hold_every_variant_under_both_optimizers(grids):
    """Each with what it is compared with in the same noise settings, seed by seed."""
    # Optimizers x seeds x (main rows in five noise settings, further ones in three and in two).
    assert len(grids["align-variants"]) == 2 * 10 * (10 * 5 + 2 * 3 + 16 * 2)
    rows = Counter(
        (cell.spec.recipe.name, cell.spec.method.name, cell.spec.noise.name)
        for cell in grids["align-variants"]
    )
    for recipe, base in product(("digits", "digits-lars"), ("infobatch", "seta")):
        for noise in ("clean", "symmetric:0.2", "symmetric:0.5", "symmetric:0.7", "asymmetric:0.4"):
            assert rows[recipe, "full", noise] == 10
            assert rows[recipe, base, noise] >= 10
            assert rows[recipe, f"{base}+align", noise] >= 20  # literal and fixed
            assert rows[recipe, "random-dynamic", noise] >= 20  # at the share of either base
    for cell in grids["align-variants"]:
        if cell.spec.method.params.get("legacy_anneal_weights"):
            assert (cell.spec.method.params["delta"] * cell.spec.recipe.epochs) % 1 > 0.5
        assert cell.spec.budget == ("samples" if cell.spec.method.name == "full" else "epochs")


def test_scenarios_differ_in_the_setting_alone(grids):
    rows = {}
    for cell in grids["scenarios"]:
        row = (cell.spec.method.name, cell.spec.ratio, cell.spec.seed)
        rows.setdefault(setting_name(cell.spec.content), set()).add(row)
    assert set(rows) == {
        "clean", "clean + exp:50", "clean + gaussian-noise:0.3", "instance:0.4",
        "symmetric:0.4 + exp:20",
    }  # fmt: skip
    assert len({frozenset(found) for found in rows.values()}) == 1
    assert len(rows["clean"]) == 3 * (1 + 15 * 2)  # seeds x (full, others at two ratios)
