"""Bad input: one line, exit code 2, nothing made."""

from pathlib import Path

import pytest
import torch

from prunebench.datasets.images.packed_format import write_packed
from support.command import command, files, process, prunebench, refused
from support.small_grid import GRID, key_of


def edit(root: Path) -> Path:
    """Improves a record by hand."""
    path = root / "records" / f"{key_of(root, 'random')}.json"
    text = path.read_text()
    start = text.index('"test_accuracy":') + len('"test_accuracy":')
    path.write_text(text[:start] + "0.99" + text[text.index(",", start) :])
    return path


@pytest.fixture
def place(tmp_path):
    """Files that no verb should swallow."""
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "malformed.toml").write_text(GRID + "seed = [\n")
    (tmp_path / "misspelt.toml").write_text(GRID.replace("noise =", "nosie ="))
    (tmp_path / "ratio.toml").write_text(GRID.replace("0.5", "1.5"))
    (tmp_path / "good.toml").write_text(GRID)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    images = torch.arange(20 * 64, dtype=torch.int64).remainder(251).to(torch.uint8)
    for name in ("truncated", "foreign", "other"):
        for part in ("train", "test"):
            (tmp_path / name).mkdir(exist_ok=True)
            write_packed(tmp_path / name / f"{part}.npz", images.view(20, 1, 8, 8), [0, 1] * 10)
    train = tmp_path / "truncated" / "train.npz"
    train.write_bytes(train.read_bytes()[:-200])
    (tmp_path / "foreign" / "train.npz").write_bytes(b"\x89PNG something else")
    (tmp_path / "other" / "test.npz").write_bytes(train.read_bytes()[:20])
    return tmp_path


CELL = ["run", "--out", "made", "--no-mlflow", "--json"]
MADE = ["--out", "made", "--no-mlflow"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([*CELL, "--method", "infobacth"], ["unknown method 'infobacth'", "infobatch"]),
        ([*CELL, "--method", "random+align"], ["random+align", "score-based"]),
        ([*CELL, "--method", "scores:absent.npy", "--ratio", "0.5"], ["absent.npy"]),
        ([*CELL, "--dataset", "digit"], ["unknown dataset 'digit'", "digits"]),
        ([*CELL, "--dataset", "packed:absent"], ["absent", "train.npz"]),
        ([*CELL, "--dataset", "packed:truncated"], ["truncated/train.npz"]),
        ([*CELL, "--dataset", "packed:foreign"], ["foreign/train.npz"]),
        ([*CELL, "--dataset", "packed:other"], ["other/test.npz"]),
        ([*CELL, "--noise", "symetric:0.4"], ["unknown noise", "symmetric"]),
        ([*CELL, "--noise", "symmetric:1.4"], ["1.4", "0 to below 1"]),
        ([*CELL, "--noise", "symmetric:x"], ["x"]),
        ([*CELL, "--noise", "openset:0.5"], ["last:2 has", "a lower rate"]),
        (
            [*CELL, "--noise", "openset:0.1", "--noise-param", "outside=last:9"],
            ["last:9 of 10 classes leaves 1", "K up to 8"],
        ),
        (
            [*CELL, "--noise", "openset:0.1", "--noise-param", "outside=synthetic"],
            ["synthetic holds uint8 3x16x16", "uint8 1x8x8"],
        ),
        ([*CELL, "--noise-param", "outside=last:2"], ["'outside' with noise clean"]),
        ([*CELL, "--noise", "symmetric:nan"], ["nan"]),
        ([*CELL, "--method", "random", "--ratio", "1.0"], ["ratio", "1.0", "less than 1"]),
        ([*CELL, "--method", "random", "--ratio", "-0.1"], ["ratio", "-0.1"]),
        ([*CELL, "--method", "random", "--ratio", "nan"], ["ratio", "nan"]),
        ([*CELL, "--method", "random", "--ratio", "half"], ["--ratio", "half"]),
        ([*CELL, "--method", "full", "--ratio", "0.5"], ["ratio of full", "0.5"]),
        ([*CELL, "--seed", "-1"], ["seed", "-1"]),
        ([*CELL, "--budget", "steps"], ["--budget", "samples", "paper", "epochs"]),
        ([*CELL, "--recipe", "digit"], ["unknown recipe", "digits"]),
        ([*CELL, "--criterion", "sopp"], ["unknown criterion", "sop"]),
        ([*CELL, "--reference-size", "-1"], ["--reference-size"]),
        ([*CELL, "--method", "random", "--param", "r=0.5"], ["unknown option 'r'"]),
        ([*CELL, "--method", "infobatch", "--param", "r=1.5"], ["infobatch.r", "1.5"]),
        ([*CELL, "--method", "infobatch", "--param", "r=NaN"], ["infobatch.r", "nan"]),
        ([*CELL, "--method", "infobatch", "--param", "r"], ["--param", "'r'", "name=value"]),
        ([*CELL, "--recipe-param", "epoch=2"], ["unknown field 'epoch'"]),
        ([*CELL, "--recipe-param", "epochs=none"], ["epochs"]),
        ([*CELL, "--recipe-param", "model=resnet1"], ["unknown model 'resnet1'"]),
        ([*CELL, "--recipe-param", 'model_params={"wide": 3}'], ["wide"]),
        ([*CELL, "--dataset-param", "size=3"], ["unknown option 'size'"]),
        ([*CELL, "--record-losses", "0"], ["--record-losses"]),
        ([*CELL, "--device", "gpu0"], ["unknown device 'gpu0'", "cpu"]),
        ([*CELL, "--device", "cuda:99"], ["cuda:99"]),
        ([*CELL, "--device", ""], ["--device"]),
        ([*CELL, "--workers", "0"], ["--workers"]),
        (["run", "--out", "file/below", "--no-mlflow"], ["file/below", "writ"]),
        (["run", "--out", "file", "--no-mlflow"], ["file", "writ"]),
        (["run", "--nosie", "clean"], ["--nosie"]),
        (["grid", "malformed.toml", *MADE], ["malformed.toml", "malformed TOML"]),
        (["grid", "misspelt.toml", *MADE], ["misspelt.toml", "'nosie'", "noise"]),
        (["grid", "ratio.toml", *MADE], ["ratio.toml", "ratio", "1.5"]),
        (["grid", "absent.toml", *MADE], ["absent.toml"]),
        (["grid", "dem", *MADE], ["'dem'", "demo"]),
        (["grid", "good.toml", "--out", "file/below", "--no-mlflow"], ["file/below", "writ"]),
        (["grid", "good.toml", *MADE, "--shard", "3/2"], ["--shard", "3/2", "I/N"]),
        (["grid", "good.toml", *MADE, "--shard", "half"], ["--shard", "half"]),
        (["grid", "good.toml", *MADE, "--shard", "²/2"], ["--shard"]),
        (["grid"], ["GRID"]),
        (["demo", "--out", "file/below", "--no-mlflow"], ["file/below", "writ"]),
        (["status", "absent"], ["absent", "records"]),
        (["leaderboard", "absent"], ["absent", "records"]),
        (["leaderboard"], ["RESULTS"]),
        (["sync", "absent"], ["absent"]),
        (["export"], ["KEY"]),
        (["rerun"], ["KEY"]),
        (["export", "0123456789abcdef", "absent"], ["absent"]),
        (["methods", "infobacth"], ["unknown method", "infobatch"]),
        (["train"], ["unknown command 'train'"]),
        (["--plugin", "absent.py", "methods"], ["absent.py"]),
        (["--plugin", "broken.py", "methods"], ["broken.py", "nothing_of_that_name"]),
        (["--verbose"], ["--verbose"]),
    ],
    ids=lambda value: " ".join(value).replace(" ".join(CELL), "run")[:60],
)
def test_bad_input_is_refused(place, words, parts):
    before = files(place)
    refused(prunebench(*words), *parts)
    assert files(place) == before
    assert not (place / "made").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["export", "nonsense", "copy"], ["nonsense"]),
        (["export", "0123456789abcdef", "copy"], ["0123456789abcdef"]),
        (["export", "{random}", "copy", "--what", "logits"], ["--what", "scores"]),
        (["export", "{full}", "copy", "--what", "kept"], ["full leaves no kept"]),
        (
            ["export", "{full}", "copy", "--what", "epochs", "--to", "copy/file/y"],
            ["copy/file/y", "written"],
        ),
        (["rerun", "../records/x", "copy"], ["records/x"]),
        (["rerun", "0123456789abcdef", "copy"], ["0123456789abcdef"]),
        (["leaderboard", "copy", "--out", "copy/file/y"], ["copy/file/y", "written"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_questions_about_results_are_refused(copied, words, parts):
    (copied / "file").touch()
    words = [word.format(random=key_of(copied, "random"), full=key_of(copied, "full"))
             for word in words]  # fmt: skip
    before = files(copied)
    refused(prunebench(*words), *parts)
    assert files(copied) == before


def test_an_edited_record_is_reported_and_never_ranked(copied, tmp_path):
    path = edit(copied)
    before = files(copied)
    shown = prunebench("status", copied, "--json")
    assert shown.code == 1
    assert [problem["path"] for problem in shown.json["problems"]] == [str(path)]
    assert "edited" in shown.json["problems"][0]["reason"]
    table = prunebench("status", copied)
    assert table.code == 1
    assert f"{path.name}: digest mismatch" in table.out
    board = prunebench("leaderboard", copied, "--out", tmp_path / "board")
    assert board.code == 1
    assert f"left out: {path}: digest mismatch" in board.err
    assert "random (1/2 cells)" in board.out
    refused(prunebench("rerun", path.stem, copied), path.name, "digest mismatch")
    refused(prunebench("export", path.stem, copied), path.name, "digest mismatch")
    assert files(copied) == before


def test_what_only_the_data_can_refute_leaves_nothing():
    words = ["run", "--out", "made", "--no-mlflow"]
    refused(prunebench(*words, "--reference-size", "100000"), "100000", "below 1347")
    assert not Path("made").exists()


def test_a_failed_run_says_why_once(plugin):
    words = ("run", "--method", "broken-promise", "--ratio", "0.5", "--recipe-param", "epochs=1")
    said = prunebench("--plugin", plugin, *words, "--out", "made", "--no-mlflow")
    assert said.code == 1
    assert said.err.count("no plan today") == 1


def test_a_method_without_options_is_refused_by_what_was_given():
    refused(prunebench("tune", "--method", "full", "--out", "made"), "no option", "infobatch")
    refused(prunebench("tune", "--method", "full", "--ratio", "0.4", "--out", "made"),
            "ratio of full: 0.4")  # fmt: skip


def test_bad_input_of_a_real_process():
    said = process(command("run", "--method", "infobacth", "--out", "made"))
    refused(said, "infobatch")
    assert not Path("made").exists()
