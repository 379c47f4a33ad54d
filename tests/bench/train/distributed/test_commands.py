"""Grids and runs of several processes, from the command line to the records."""

import io
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from prunebench.bench import ddp
from prunebench.bench.results.store import Store
from prunebench.errors import InputError
from support.command import prunebench
from support.processes import free_port, together
from support.trees import write_tree

METHODS = ("infobatch+align", "ies", "divbs", "grand")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"), train=30, test=10)


@pytest.mark.soak
def test_two_processes_give_the_curves_of_one_on_a_streamed_tree(tree, tmp_path, monkeypatch):
    (tmp_path / "g.toml").write_text(
        f"""
        name = "g"
        dataset = ["folder:{tree}"]
        noise = ["symmetric:0.2"]
        method = {list(METHODS)}
        ratio = 0.4
        seed = 0
        [dataset_params]
        stream = "yes"
        workers = 1
        size = 20
        crop = 16
        augment = "resized_crop"
        [recipe_params]
        epochs = 3
        batch_size = 23
        model = "cnn"
        model_params = {{ width = 8, depth = 2, norm = "group" }}
        """.replace("'", '"')
    )
    words = ["grid", str(tmp_path / "g.toml"), "--no-mlflow", "-q"]
    torchrun = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2",
        f"--master_port={free_port()}", "-m", "prunebench.bench.ddp",
    ]  # fmt: skip
    two = subprocess.run(
        [*torchrun, *words, "--out", str(tmp_path / "two")], capture_output=True, text=True
    )
    assert two.returncode == 0, two.stderr
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")
    one = prunebench(*words, "-w", "1", "--out", tmp_path / "one")
    assert one.code == 0, one.err
    stores = [Store(tmp_path / name) for name in ("one", "two")]
    records = [{r.key: r for r in store.scan().records} for store in stores]
    assert records[0].keys() == records[1].keys()
    assert len(records[0]) >= len(METHODS)
    for key, record in records[0].items():
        other = records[1][key]
        assert (record.status, record.ledger) == (other.status, other.ledger)
        assert other.info.pop("processes") == 2
        drop = {"subset"} if record.spec["method"]["name"] == "grand" else set()
        for name in record.info.keys() - drop:
            assert record.info[name] == other.info[name]
        curves = [
            pd.read_csv(io.BytesIO(store.artifact(key, "epochs.csv"))).drop(columns="score_auroc")
            for store in stores
        ]
        pd.testing.assert_frame_equal(*curves, check_exact=False, rtol=0, atol=1e-4, obj=str(key))
    claims = tmp_path / "two" / "claims"
    assert not list(claims.glob("*.json"))
    assert not list((tmp_path / "two" / "checkpoints").iterdir())


def test_a_process_that_stops_leaves_no_record(tree, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("prunebench.datasets.images.lazy._MEASURED", 2)  # found in training only
    bad = tmp_path / "bad"
    shutil.copytree(tree, bad)
    with (bad / "train" / "class_1" / "0003.jpg").open("r+b") as file:
        file.truncate(300)
    data = {"stream": "yes", "size": 16, "limit": 118}
    words = ["run", "--dataset", f"folder:{bad}", "--no-mlflow", "-q"]
    words += [word for k, v in data.items() for word in ("--dataset-param", f"{k}={v}")]

    def body(world):
        sys.argv = ["ddp", *words, "--out", str(tmp_path / "out")]
        ddp._leave = sys.exit
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("prunebench.bench.train.distributed.world.start", lambda: world)
            try:
                return ddp.main()
            except SystemExit as stop:
                return stop.code

    assert together(body) == [2, 2]
    said = capfd.readouterr().err
    assert "class_1/0003.jpg: damaged image" in said
    assert "another process of the run is gone" in said
    assert not Store(tmp_path / "out").scan().records


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["demo"], "'demo'; accepted: run, rerun, grid"),
        ([], "no command"),
        (["run", "--workers=2"], "--workers does not go with"),
        (["grid", "x", "-w", "2"], "-w does not go with"),
        (["run", "--time-limit", "3"], "--time-limit does not go with"),
        (["run", "--device", "cuda:1"], "cuda:1; accepted: cpu, or cuda"),
        (["run", "--device=cuda:1"], "accepted: cpu, or cuda"),
    ],
)
def test_what_does_not_go_together_is_said(words, said):
    with pytest.raises(InputError, match=said):
        ddp.check_words(words)


def test_plugins_reach_every_process_and_torchrun_is_needed(capsys, monkeypatch):
    words = ["--plugin", "a.py", "--plugin=b.py", "run", "--device", "cuda"]
    assert ddp.check_words(words) == ["a.py", "b.py"]
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PRUNEBENCH_INLINE", "")
    monkeypatch.setattr(sys, "argv", ["ddp", "run"])
    assert ddp.main() == 2
    assert "not started by torchrun; accepted: torchrun" in capsys.readouterr().err
