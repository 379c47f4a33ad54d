"""Open-set noise from names to records: its source in key and name, diagnostics, repeats."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from prunebench.bench.estimates.costs import split_sizes, under_noise
from prunebench.bench.grids.driver import check_data, run_cells
from prunebench.bench.grids.grid_file import Grid, expand
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.export import export_csv
from prunebench.bench.runs.rerun import command_of, recorded_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.bench.runs.self_supervised import encoder_key
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train.task import load_task, outside_of
from prunebench.datasets.source import Outline
from prunebench.errors import InputError
from prunebench.record import OWN_CONTENT, Record, canonical, noise_name, setting_name
from prunebench.untrusted import unpack_npz

DATA = {"n": 300, "test": 60, "size": 8, "classes": 6}
OTHER = {"outside": "synthetic", "outside.n": 500, "outside.size": 8, "outside.seed": 9}
SMALL = {"epochs": 1, "model": "mlp", "batch_size": 64, "model_params": {"width": 8, "depth": 1}}


def cell(noise="openset:0.3", params=None, **fields):
    return resolve_cell(
        dataset="synthetic", dataset_params=DATA, noise=noise, noise_params=params,
        recipe_params=SMALL, **fields,
    )  # fmt: skip


def test_what_is_outside_is_in_key_and_name_where_it_is_not_the_default():
    default, last, other = cell(), cell(params={"outside": "last:2"}), cell(params=OTHER)
    assert "outside" not in default.spec.content["noise"]
    assert "outside" not in cell("symmetric:0.3").spec.content["noise"]
    names = [setting_name(one.spec.content) for one in (default, last, other)]
    assert names == ["openset:0.3", "openset:0.3 from last:2", "openset:0.3 from synthetic"]
    assert len({one.spec.key for one in (default, last, other)}) == 3
    assert len({one.spec.setting for one in (default, last, other)}) == 1  # paired draws
    assert other.spec.content["noise"]["outside"]["params"]["seed"] == 9
    for one in (default, last, other):
        again = Cell.from_json(one.to_json())
        assert again.spec == one.spec == RunSpec.model_validate(one.spec.content)
        assert again.data == one.data
    with_imbalance = cell(params=OTHER, imbalance="exp:5").spec.content
    assert setting_name(with_imbalance) == "openset:0.3 from synthetic + exp:5"


def test_data_of_ones_own_are_named_by_their_content():
    outside = {"name": "arrays", "identity": f"{OWN_CONTENT}{'ab' * 32}:{'0' * 16}"}
    assert noise_name({"name": "openset:0.3", "outside": outside}) == (
        "openset:0.3 from arrays abababab"
    )


def test_a_file_is_the_pool_and_its_path_stays_out_of_the_key(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (200, 3, 8, 8), dtype=np.uint8)
    y = np.arange(200) % 2
    keys = set()
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, X=x, y=y, X_test=x[:4], y_test=y[:4])
        one = cell(params={"outside": f"arrays:{tmp_path / name}"})
        keys.add(one.spec.key)
        assert str(tmp_path) not in canonical(one.spec.content)
        check_data([one])
    assert len(keys) == 1
    task = load_task(one.spec, one.data)
    shown = task.raw.train_x[task.train.sample_ids[task.outside]]
    assert {image.tobytes() for image in shown.numpy()} <= {image.tobytes() for image in x}
    record = Record(one.spec.key, one.spec.content, "done")
    assert "outside=arrays:PATH" in str(command_of(record))
    with pytest.raises(InputError, match=r"arrays.*needs an argument"):
        recorded_cell(record, {})
    again = recorded_cell(record, {"outside": f"arrays:{tmp_path / 'a.npz'}"})
    assert load_task(again.spec, again.data).label_digest == task.label_digest
    np.savez(tmp_path / "a.npz", X=x + 1, y=y, X_test=x[:4], y_test=y[:4])
    with pytest.raises(InputError, match="other data than the record's"):
        recorded_cell(record, {"outside": f"arrays:{tmp_path / 'a.npz'}"})
    with pytest.raises(InputError, match="accepted: arrays, as recorded"):
        recorded_cell(record, {"outside": "digits"})


def test_a_part_of_the_tasks_own_data_set_is_not_outside(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (200, 3, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", X=x, y=np.arange(200) % 2, X_test=x[:4], y_test=[0, 1, 0, 1])
    own = f"arrays:{tmp_path / 'a.npz'}"
    with pytest.raises(InputError, match="arrays is the task's own data set"):
        resolve_cell(dataset=own, dataset_params={"limit": 100}, noise="openset:0.3",
                     noise_params={"outside": own})  # fmt: skip


def test_the_outside_data_set_of_another_version_is_refused():
    spec = cell(params=OTHER).spec.content
    noise = {**spec["noise"], "outside": {**spec["noise"]["outside"], "version": "0"}}
    record = Record("0" * 16, {**spec, "noise": noise}, "done")
    with pytest.raises(InputError, match=r"synthetic is version \d here.*version 0, as recorded"):
        recorded_cell(record, {})


def test_options_that_the_key_leaves_out_open_the_other_set(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (200, 3, 8, 8), dtype=np.uint8)
    y = np.arange(200) % 2
    np.savez(tmp_path / "a.npz", X=x, y=y, X_test=x[:4], y_test=y[:4])
    path = str(tmp_path / "a.npz")
    split, whole = (
        cell(params=params)
        for params in (
            {"outside": "arrays", "outside.path": path}, {"outside": f"arrays:{path}"}
        )
    )  # fmt: skip
    assert split.spec == whole.spec
    assert outside_of(split.spec, split.data) == outside_of(whole.spec, whole.data)
    assert load_task(split.spec, Cell.from_json(split.to_json()).data).outside.any()
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "f" / name).mkdir(parents=True)
        Image.fromarray(x[0].transpose(1, 2, 0)).save(tmp_path / "f" / name / "0.png")
    params = {"outside": f"folder:{tmp_path / 'f'}", "outside.stream": "no", "outside.workers": 1}
    one = cell(params=params)
    record = Record(one.spec.key, one.spec.content, "done")
    for data in (one.data, recorded_cell(record, params).data):
        _, opened = outside_of(one.spec, data)
        assert (opened["stream"], opened["workers"]) == ("no", 1)


@pytest.mark.parametrize(
    ("noise", "params", "said"),
    [
        ("symmetric:0.3", {"outside": "last:2"}, "'outside' with noise symmetric"),
        ("clean", {"outside": "synthetic"}, "accepted: with openset:RATE"),
        ("openset:0.3", {"outside": "syntetic"}, "outside: unknown dataset 'syntetic'"),
        ("openset:0.3", {"outside": "synthetic", "outside.siz": 8}, "unknown option.*size"),
        ("openset:0.3", {"outside": "last:0"}, "last:K, K from 1"),
        ("openset:0.3", {"outside": 3}, "3; accepted: last:K, or a data set"),
        ("openset:0.3", {"outside.size": 3}, "options for None"),
        ("openset:0.3", {"outside": "last:2", "outside.n": 3}, "options for 'last:2'"),
        ("openset:0.3", {"outside": "arrays"}, "needs an argument; accepted: arrays:PATH"),
        ("openset:0.3", {"outside": "arrays:nowhere.npz"}, "nowhere.npz"),
        ("openset:0.3", {"outside": "digits", "outside.pca": 8}, "different axes; accepted: last"),
        ("openset:0.3", {"outsid": "last:2"}, "accepted: outside"),
        (
            "openset:0.3",
            {"outside": "synthetic", **{f"outside.{k}": v for k, v in DATA.items()}},
            "the task's own data set",
        ),
    ],
)
def test_bad_words_are_one_clear_line(noise, params, said):
    with pytest.raises(InputError, match=said) as caught:
        cell(noise, params)
    assert "\n" not in str(caught.value)


def test_a_grid_gives_outside_to_open_set_noise_alone():
    fields = {"name": "g", "dataset": ["synthetic"], "method": ["full"], "dataset_params": DATA}
    grid = Grid.model_validate(
        {**fields, "noise": ["clean", "openset:0.3"], "noise_params": {**OTHER, "seed": 1},
         "seed": [0, 1]}
    )  # fmt: skip
    cells = expand(grid, "g")
    assert [setting_name(one.spec.content) for one in cells] == (
        ["clean"] * 2 + ["openset:0.3 from synthetic"] * 2
    )
    assert {one.spec.noise.seed for one in cells} == {1}
    with pytest.raises(InputError, match="'outside' with noise clean"):
        expand(grid.model_copy(update={"noise": ["clean"]}), "g")


def test_classes_that_leave_are_left_out_of_estimates_and_encoders_are_own():
    outline = Outline(300, 60, (3, 8, 8), 6)
    for params, classes in ((None, 5), ({"outside": "last:2"}, 4), (OTHER, 6)):
        one = cell("openset:0.1", params)
        found = under_noise(outline, one.spec)
        assert found.classes == classes
        task = load_task(one.spec, one.data)
        assert split_sizes(one.spec, found)[0] == pytest.approx(len(task.train), abs=5)
    specs = [cell(seed=seed).spec for seed in (0, 1)] + [cell(params=OTHER).spec]
    assert len({encoder_key(spec) for spec in specs}) == 3
    assert encoder_key(cell("clean").spec) == encoder_key(cell("symmetric:0.3", seed=4).spec)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The oracle that drops wrong labels, under images from another data set."""
    store = Store.open(tmp_path_factory.mktemp("outside"))
    one = replace(cell(params=OTHER, method="oracle-clean", ratio=0.5), losses=frozenset({1}))
    run_cells([one], store, ExecutionOptions(mlflow=False, quiet=True, inline=True))
    record = store.get(one.spec.key)
    assert record is not None
    assert record.status in ("done", "diverged"), record.reason  # one epoch of a tiny network
    return store, one, record


def test_artifacts_say_which_samples_are_from_outside(ran):
    store, one, record = ran
    task = load_task(one.spec, one.data)
    outside = task.outside.numpy()
    samples = unpack_npz(store.artifact(record.key, "samples.npz"), "samples")
    assert (samples["outside"] == outside).all()
    losses = unpack_npz(store.artifact(record.key, "losses.npz"), "losses")
    assert (losses["wrong"] == outside).all()
    assert record.info["noise_rate"] == pytest.approx(outside.mean(), abs=1e-6)
    # The oracle takes them for wrong labels, and so does the share among the kept.
    assert not set(samples["kept"]) & set(samples["id"][outside])
    assert record.metrics["kept_noise_rate"] == 0
    rows = list(csv.DictReader(io.StringIO(export_csv(store, record.key, "training", one.data))))
    wrong = {int(row["id"]) for row in rows if row["flipped"] == "1"}
    assert wrong == {int(row["id"]) for row in rows if row["outside"] == "1"}
    assert wrong == set(samples["id"][outside].tolist())
    visits = csv.DictReader(io.StringIO(export_csv(store, record.key, "visits")))
    assert {int(row["id"]) for row in visits if row["outside"] == "1"} == wrong


def test_corruption_and_imbalance_combine():
    one = cell(params=OTHER, imbalance="exp:4", corrupt="gaussian-noise:0.5")
    task, plain = (load_task(c.spec, c.data) for c in (one, cell(params=OTHER, imbalance="exp:4")))
    assert task.corrupted is not None
    assert torch.equal(task.outside, plain.outside)
    changed = (task.raw.train_x != plain.raw.train_x).flatten(1).any(1)[task.train.sample_ids]
    assert torch.equal(changed, task.corrupted)
    assert (task.corrupted & task.outside).any()
