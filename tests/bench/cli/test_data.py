"""`prunebench data`: what it says of files, what it packs, and what it makes of no network."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets as torchvision_sets
from torchvision.datasets import utils as torchvision_utils

from prunebench.bench.runs.resolve import build_spec
from prunebench.datasets.images.packed_format import read_pack, write_packed
from prunebench.datasets.packing import pack
from prunebench.datasets.source import RawData
from prunebench.datasets.sources.cifar import cifar, human
from prunebench.errors import InputError
from prunebench.registry import DATASETS
from support.command import Said, prunebench
from support.published import Cifar, human_file

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")
VARIANTS = ("aggregate", "worst", "random1", "random2", "random3")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root."""
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def tree(root: Path, monkeypatch: pytest.MonkeyPatch) -> Cifar:
    """A tiny CIFAR-10N in the python layout, and the tables that fit it."""
    made = Cifar()
    monkeypatch.setattr(cifar, "CIFAR10", made.family(made.python(root)))
    arrays = {name: (made.train_y + k + 1) % 10 for k, name in enumerate(VARIANTS)}
    arrays[human.CLEAN] = made.train_y
    table = human_file(root / "cifar-n/CIFAR-10_human.pt", arrays, "cifar10n")
    monkeypatch.setitem(human.LABEL_FILES, "cifar10n", table)
    return made


def states(said: Said) -> dict[str, str]:
    return {Path(f["file"]).name: f["state"] for f in said.json["files"]}


def test_verify_names_every_file(tree: Cifar, root: Path) -> None:
    said = prunebench("data", "verify", "cifar10n", "--json")
    assert (said.code, said.json["ok"], said.json["dataset"]) == (0, True, "cifar10n")
    names = [file.path for file in tree.base.python]
    assert states(said) == dict.fromkeys([*names, "CIFAR-10_human.pt"], "ok")
    batches = root / "cifar-10-batches-py"
    (batches / "data_batch_2").write_bytes(b"x")
    (batches / "test_batch").unlink()
    (root / "cifar-n/CIFAR-10_human.pt").write_bytes(b"x")
    said = prunebench("data", "verify", "cifar10n", "--json")
    wrong = {name: state for name, state in states(said).items() if state != "ok"}
    assert (said.code, said.json["ok"]) == (1, False)
    assert wrong == {
        "data_batch_2": "differs", "test_batch": "missing", "CIFAR-10_human.pt": "differs",
    }  # fmt: skip
    said = prunebench("data", "verify", "cifar10n")
    assert said.code == 1
    (line,) = [x for x in said.out.splitlines() if "data_batch_2" in x]
    assert line.startswith("differs")
    assert "published c99c" not in line  # the table of this test, not the real one
    assert "md5 9dd4e461268c8034f5c8564e155c67a6" in line


def test_verify_without_files(root: Path) -> None:
    said = prunebench("data", "verify", "cifar10n", "--json")
    assert said.code == 1
    assert set(states(said).values()) == {"missing"}
    assert "data prepare cifar10n" in said.json["files"][0]["detail"]
    said = prunebench("data", "verify", "digits")
    assert (said.code, said.out) == (0, "digits needs no files\n")
    said = prunebench("data", "verify", "nowhere")
    assert said.code == 2
    assert len(said.err.splitlines()) == 1


def test_verify_reads_what_checksums_cannot_tell(tree: Cifar, root: Path) -> None:
    tree.packed(root)
    words = ("data", "verify", "cifar10", "--dataset-param", "images=packed", "--json")
    said = prunebench(*words)
    assert (said.code, set(states(said).values())) == (0, {"unchecked"})
    write_packed(root / "cifar10-jpeg/train.npz", torch.from_numpy(tree.train_x),
                 np.roll(tree.train_y, 1))  # fmt: skip
    said = prunebench(*words)
    assert said.code == 1
    assert "published order" in said.json["files"][-1]["detail"]


def test_root_and_path_take_the_place_of_the_variable(tree: Cifar, root: Path, monkeypatch) -> None:
    monkeypatch.setenv("PRUNEBENCH_DATA", str(root / "empty"))
    assert prunebench("data", "verify", "cifar10").code == 1
    assert prunebench("data", "verify", f"cifar10:{root}").code == 0
    assert prunebench("data", "verify", "cifar10", "--root", root).code == 0


def test_no_network_is_one_line(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(torchvision_sets.CIFAR10, "url", "http://127.0.0.1:9/none.tar.gz")
    said = prunebench("data", "prepare", "cifar10n")
    assert said.code == 1
    (line,) = [x for x in said.err.splitlines() if x.startswith("prunebench:")]
    assert "dataset cifar10n: cannot be fetched" in line
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_download_of_something_else_is_one_line(root: Path, monkeypatch) -> None:
    def fetch(url: str, target: Any, *rest: Any) -> None:
        Path(target).write_bytes(b"something else")

    monkeypatch.setattr(torchvision_utils, "_urlretrieve", fetch)
    monkeypatch.setattr(torchvision_utils, "_get_redirect_url", lambda url, **_: url)
    said = prunebench("data", "prepare", "cifar10")
    assert said.code == 1
    assert "cannot be fetched (File not found or corrupted.)" in said.err


def test_prepare_leaves_what_is_there(tree: Cifar, root: Path) -> None:
    said = prunebench("data", "prepare", "cifar10n", "--json")
    assert (said.code, said.json["folder"]) == (0, str(root / "cifar-10-batches-py"))
    assert prunebench("data", "prepare", "digits").code == 0


def raw_of(name: str, **options: Any) -> RawData:
    loaded: RawData = DATASETS.get(name).target(**options).load()
    return loaded


def test_packing_keeps_everything(tree: Cifar, tmp_path: Path) -> None:
    out = tmp_path / "new" / "packed"
    said = prunebench("data", "pack", "cifar10n", "--out", out, "--json")
    assert said.code == 0, said.err
    assert (said.json["train"], said.json["test"]) == (50, 10)
    assert said.json["notes"] == ["asymmetric noise as here: --dataset-param asymmetric=asym_pairs"]
    before, after = raw_of("cifar10n"), raw_of("packed", path=str(out))
    for name in ("train_x", "train_y", "test_x", "test_y"):
        assert torch.equal(getattr(before, name), getattr(after, name))
    for name in ("class_names", "groups", "mean", "std", "augment", "num_classes"):
        assert getattr(before, name) == getattr(after, name)
    assert before.human.keys() == after.human.keys() == set(VARIANTS)
    for name, labels in before.human.items():
        assert torch.equal(after.human[name], labels)
    assert "CC BY-NC 4.0" in (out / "origin.txt").read_text()
    # The family reads it in turn, as its packed layout.
    assert torch.equal(raw_of("cifar10", path=str(out), images="packed").train_x, before.train_x)
    again = prunebench("data", "pack", "cifar10n", "--out", out)
    assert again.code == 2
    assert "exists already; accepted: a new folder" in again.err


def test_packing_says_that_groups_are_left_out(root: Path, tmp_path: Path) -> None:
    x, y = np.zeros((8, 8, 8), np.uint8), np.arange(8) % 2
    np.savez(tmp_path / "a.npz", X=x, y=y, X_test=x[:4], y_test=y[:4],
             test_group=np.array(["a", "b", "a", "b"]))  # fmt: skip
    said = prunebench("data", "pack", f"arrays:{tmp_path / 'a.npz'}", "--out", tmp_path / "out",
                      "--json")  # fmt: skip
    assert said.code == 0, said.err
    assert [note for note in said.json["notes"] if "groups of test samples" in note]


def test_packed_human_labels_train(tree: Cifar, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    assert prunebench("data", "pack", "cifar10n", "--out", out).code == 0
    words = ["run", "--dataset", f"packed:{out}", "--recipe", "digits", "--no-mlflow", "--json",
             "--recipe-param", "epochs=2", "--out", tmp_path / "results"]  # fmt: skip
    said = prunebench(*words, "--noise", "real:worst")
    assert said.code == 0, said.err
    assert said.json["spec"]["noise"]["rule"] == "real:worst"
    assert said.json["info"]["noise_rate"] == 1.0
    said = prunebench(*words, "--noise", "real")
    assert said.code == 2
    assert "real:aggregate" in said.err


def test_the_only_human_labels_have_one_name(tree: Cifar, tmp_path: Path) -> None:
    x, y = torch.from_numpy(tree.train_x), tree.train_y
    names = list("abcdefghij")
    write_packed(tmp_path / "test.npz", x[:10], y[:10])
    write_packed(tmp_path / "train.npz", x, y, human={"csv": y[::-1]}, class_names=names)
    specs = [build_spec(dataset=f"packed:{tmp_path}", recipe="digits", noise=noise)
             for noise in ("real", "real:csv")]  # fmt: skip
    assert specs[0] == specs[1]
    assert specs[0].key == specs[1].key
    assert specs[0].setting == specs[1].setting
    assert specs[0].noise.name == "real:csv"


def test_damaged_human_labels_of_a_packed_file(tree: Cifar, tmp_path: Path) -> None:
    x, y = torch.from_numpy(tree.train_x), tree.train_y
    write_packed(tmp_path / "test.npz", x[:10], y[:10])
    wrong = y.copy()
    wrong[3] = 10
    write_packed(tmp_path / "train.npz", x, y, human={"a": wrong}, class_names=list("abcdefghij"))
    with pytest.raises(InputError, match=r"human: 10 at image 3 of 'a'; accepted: 0 to 9"):
        raw_of("packed", path=str(tmp_path))
    for bad in ({"a": y[:-1]}, {"a": y, "b": y[:-1]}):
        with pytest.raises(InputError, match="human"):
            write_packed(tmp_path / "train.npz", x, y, human=bad)
    with np.load(tmp_path / "train.npz", allow_pickle=False) as content:
        arrays = dict(content)
    for change in ({"human_names": np.array(["a", "a"])}, {"human": arrays["human"].astype("f8")}):
        np.savez(tmp_path / "train.npz", **{**arrays, **change})
        with pytest.raises(InputError, match="a row for each of the human_names"):
            read_pack(tmp_path / "train.npz")


def jpeg_tree(folder: Path, side: int = 20) -> dict[str, bytes]:
    """Class folders with JPEG, PNG and BMP images; returns the bytes by path."""
    found, rng = {}, np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for label in ("a", "b"):
            for number in range(count):
                kind = ("jpeg", "png", "bmp")[number % 3]
                image = Image.fromarray(rng.integers(0, 256, (side, 20, 3), dtype=np.uint8))
                out = io.BytesIO()
                image.save(out, kind)
                path = folder / split / label / f"{number}.{kind}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(out.getvalue())
                found[f"{split}/{label}/{number}.{kind}"] = out.getvalue()
    return found


def test_files_keep_their_bytes(root: Path, tmp_path: Path) -> None:
    files = jpeg_tree(tmp_path / "tree")
    (tmp_path / "tree/train/a/more.gif").write_bytes(b"GIF89a")
    words = ("data", "pack", f"folder:{tmp_path / 'tree'}", "--json")
    said = prunebench(*words, "--dataset-param", "stream=yes", "--dataset-param", "size=20",
                      "--out", tmp_path / "out")  # fmt: skip
    assert said.code == 0, said.err
    assert "train: 1 file is left out (1 .gif)" in said.err
    packed = read_pack(tmp_path / "out/train.npz")
    stored = [
        packed.jpeg[a:b].tobytes()
        for a, b in zip(packed.offset[:-1], packed.offset[1:], strict=True)
    ]
    names = [f"train/{label}/{n}" for label in "ab" for n in ("0.jpeg", "1.png", "2.bmp", "3.jpeg")]
    for name, data in zip(names, stored, strict=True):
        assert (data == files[name]) == (not name.endswith("bmp"))
        pixels = [np.asarray(Image.open(io.BytesIO(d))) for d in (data, files[name])]
        assert np.array_equal(*pixels)
    assert packed.class_names == ("a", "b")
    assert packed.label.tolist() == [0] * 4 + [1] * 4
    raw = raw_of("packed", path=str(tmp_path / "out"))
    assert raw.train_x.shape == (8, 3, 20, 20)
    (tmp_path / "tree/test/a/0.jpeg").write_bytes(b"\xff\xd8\xff no image")
    said = prunebench(*words, "--dataset-param", "stream=yes", "--out", tmp_path / "half")
    assert said.code == 2
    assert "test/a/0.jpeg: unknown or damaged image" in said.err
    assert list((tmp_path / "half").iterdir()) == []


def test_sizes_that_differ_are_refused_at_once(root: Path, tmp_path: Path) -> None:
    jpeg_tree(tmp_path / "tree")
    jpeg_tree(tmp_path / "other", side=30)
    (tmp_path / "other/train/a/0.jpeg").rename(tmp_path / "tree/train/a/0.jpeg")
    said = prunebench("data", "pack", f"folder:{tmp_path / 'tree'}", "--dataset-param",
                      "stream=yes", "--out", tmp_path / "out")  # fmt: skip
    assert said.code == 2
    assert "20x20 pixels; accepted: 30x20, as the first" in said.err
    assert "stream=no with size=N" in said.err
    assert not list((tmp_path / "out").iterdir())


def plain(**fields: Any) -> RawData:
    labels = torch.arange(12) % 2
    x = torch.arange(12 * 64).reshape(12, 1, 8, 8).to(torch.uint8)
    made = RawData(x, labels, x[:4], labels[:4], 2, ("a", "b"), "f", mean=(0.5,), std=(0.2,))
    return RawData(**{**vars(made), **fields})


def test_grey_images_and_own_references(tmp_path: Path) -> None:
    done = pack(plain(reference_rows=torch.tensor([0, 5])), "toy", tmp_path)
    assert (done.train, done.test) == (10, 4)
    assert "2 reference samples of its own are left out" in done.notes
    assert "grey images load as three equal channels" in done.notes
    raw = raw_of("packed", path=str(tmp_path))
    assert (raw.mean, raw.std) == ((0.5,) * 3, (0.2,) * 3)
    rows = [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert torch.equal(raw.train_x, plain().train_x[rows].expand(-1, 3, -1, -1))
    assert raw.train_y.tolist() == plain().train_y[rows].tolist()


def test_vectors_are_refused(tmp_path: Path) -> None:
    vectors = torch.zeros(12, 5)
    with pytest.raises(InputError, match="holds vectors; accepted: a set of images"):
        pack(plain(train_x=vectors, test_x=vectors[:4]), "toy", tmp_path)


def test_help_has_an_example_and_needs_no_torch(monkeypatch) -> None:
    for verb in ("prepare", "verify", "pack"):
        said = prunebench("data", verb, "--help")
        assert said.code == 0
        assert f"Example: prunebench data {verb}" in said.out
    assert json.loads(prunebench("datasets", "--json").out)
