"""Files made to run code when they are opened: each is refused in one line, and nothing runs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunebench.bench.networks.weights import read_weights
from prunebench.bench.results.manifest import Damaged, read_manifest
from prunebench.bench.results.store import Store
from prunebench.bench.runs import checkpoint
from prunebench.bench.runs.checkpoint_file import FILE, DamagedCheckpoint
from prunebench.bench.runs.export import export_csv
from prunebench.datasets import restricted_pickle
from prunebench.datasets.cache import read_arrays as read_cached
from prunebench.datasets.images.packed_format import read_pack
from prunebench.datasets.restricted_pickle import read_published
from prunebench.datasets.sources.cifar import files, human
from prunebench.datasets.sources.cifar.tables import CIFAR10
from prunebench.errors import InputError
from prunebench.leaderboard.bundle import unpack
from prunebench.methods.precomputed import read_scores
from prunebench.record import Record, file_digest
from support.command import prunebench as cli

_OTHER = "md5:" + 32 * "0"
_BUNDLE = Path(__file__).parents[2] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What must not appear."""
    return tmp_path / "mark"


def _object_npy(mark: Path) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([Evil(mark)], dtype=object), allow_pickle=True)
    return out.getvalue()


def _object_npz(mark: Path, *names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(f"{name}.npy", _object_npy(mark))
    return out.getvalue()


def _torch(mark: Path, legacy: bool = False) -> bytes:
    out = io.BytesIO()
    torch.save({"fc.weight": Evil(mark)}, out, _use_new_zipfile_serialization=not legacy)
    return out.getvalue()


def _refused(call: Callable[[], Any], mark: Path) -> str:
    with pytest.raises(InputError) as caught:
        call()
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert not mark.exists()
    return line


def test_the_files_are_malicious(mark: Path) -> None:
    pickle.loads(pickle.dumps(Evil(mark)))
    assert mark.is_dir()
    mark.rmdir()
    np.load(io.BytesIO(_object_npy(mark)), allow_pickle=True)
    assert mark.is_dir()
    mark.rmdir()
    torch.load(io.BytesIO(_torch(mark)), weights_only=False)
    assert mark.is_dir()


@pytest.mark.parametrize("protocol", range(6))
def test_pickles(protocol: int, tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "data_batch_1"
    for content in (Evil(mark), {"data": Evil(mark), "labels": [1]}, [(Evil(mark),)]):
        path.write_bytes(pickle.dumps(content, protocol))
        own = f"sha256:{file_digest(path)}"
        assert "published file" in _refused(lambda: read_published(path, _OTHER), mark)
        assert "names " in _refused(lambda own=own: read_published(path, own), mark)


def test_nothing_of_another_file_is_unpickled(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": np.zeros(3, np.uint8)}))
    own = f"sha256:{file_digest(path)}"
    assert read_published(path, own)["data"].tolist() == [0, 0, 0]
    monkeypatch.setattr(restricted_pickle, "restricted", lambda *_: pytest.fail("unpickled"))
    path.write_bytes(path.read_bytes() + b".")
    for digest in (own, _OTHER):
        with pytest.raises(InputError, match="the published file"):
            read_published(path, digest)


def test_a_cifar_batch(tmp_path: Path, mark: Path, monkeypatch: Any) -> None:
    family = CIFAR10
    for file in family.python:
        (tmp_path / file.path).write_bytes(pickle.dumps({"data": Evil(mark)}))
    where = files.Images("python", tmp_path)
    line = _refused(lambda: files.read_split(family, where, True, None, "cifar10"), mark)
    assert "published file" in line  # the checksum stands first
    monkeypatch.setattr(files, "require", lambda path, *_: path)
    line = _refused(lambda: files.read_split(family, where, True, None, "cifar10"), mark)
    assert "published file" in line  # it is compared again with the bytes that are read
    own = [replace(f, digest=f"sha256:{file_digest(tmp_path / f.path)}") for f in family.python]
    family = replace(family, python=tuple(own))
    line = _refused(lambda: files.read_split(family, where, True, None, "cifar10"), mark)
    assert "names " in line


def test_human_labels(tmp_path: Path, mark: Path, monkeypatch: Any) -> None:
    path = tmp_path / "CIFAR-10_human.pt"
    for legacy in (False, True):
        path.write_bytes(_torch(mark, legacy))
        assert "published file" in _refused(lambda: human.read_labels("cifar10n", path), mark)
        monkeypatch.setattr(human, "require", lambda path, *_: path)
        _refused(lambda: human.read_labels("cifar10n", path), mark)
        monkeypatch.undo()


@pytest.mark.parametrize("legacy", [False, True])
def test_weights(legacy: bool, tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "w.pt"
    for content in (_torch(mark, legacy), pickle.dumps(Evil(mark)), _object_npz(mark, "a")):
        path.write_bytes(content)
        _refused(lambda: read_weights(str(path), file_digest(path)), mark)
    said = cli("run", "--recipe-param", f"weights={path}", "--recipe-param", "epochs=1",
               "--out", tmp_path / "r", "--no-mlflow", "--quiet")  # fmt: skip
    assert said.code != 0
    assert "Traceback" not in said.err
    assert not mark.exists()


def test_packed_images(tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "train.npz"
    for names in (("jpeg", "offset", "label"), ("jpeg",), ("class_names",)):
        path.write_bytes(_object_npz(mark, *names))
        assert "holds Python objects" in _refused(lambda: read_pack(path), mark)


def test_scores(tmp_path: Path, mark: Path) -> None:
    (tmp_path / "s.npy").write_bytes(_object_npy(mark))
    (tmp_path / "s.npz").write_bytes(_object_npz(mark, "ids", "scores"))
    (tmp_path / "p.npy").write_bytes(pickle.dumps(Evil(mark)))
    for name in ("s.npy", "s.npz", "p.npy"):
        _refused(lambda name=name: read_scores(tmp_path / name, 3), mark)


def test_caches(tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "c.npz"
    for content in (_object_npz(mark, "a"), pickle.dumps(Evil(mark))):
        path.write_bytes(content)
        assert read_cached(path, {"a": "float32"}) == {}
        assert not mark.exists()


def test_artifacts_of_a_foreign_run(tmp_path: Path, mark: Path) -> None:
    store = Store.open(tmp_path / "r")
    record = store.save(replace(unpack(_BUNDLE)[0], artifacts={}),
                        {"samples.npz": _object_npz(mark, "id", "score"),
                         "predictions.npz": _object_npz(mark, "predicted")})  # fmt: skip
    for what in ("scores", "kept", "visits", "predictions"):
        said = cli("export", record.key, store.root, "--what", what)
        assert said.code == 2, said
        assert len(said.err.splitlines()) == 1
        assert not mark.exists()
    with pytest.raises(InputError):
        export_csv(store, record.key, "scores")


def test_checkpoints(tmp_path: Path, mark: Path) -> None:
    for body in (pickle.dumps(Evil(mark)), _torch(mark), _object_npz(mark, "a")):
        for content in (body, hashlib.sha256(body).digest() + body):
            (tmp_path / FILE).write_bytes(content)
            trainer: Any = None  # nothing of it is touched before the file has been read
            with pytest.raises(DamagedCheckpoint):
                checkpoint.restore(trainer, tmp_path, "k")
            assert not mark.exists()


def test_evidence(tmp_path: Path, mark: Path) -> None:
    from prunebench.bench.runs.evidence import RecordedEvidence

    folder = tmp_path / "0123456789abcdef"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(Damaged):
        read_manifest(folder)
    (folder / "p_target.npy").write_bytes(_object_npy(mark))
    evidence = RecordedEvidence.__new__(RecordedEvidence)
    with pytest.raises(ValueError, match="allow_pickle"):
        evidence._array(folder, "p_target")
    assert not mark.exists()


def test_records_and_bundles(tmp_path: Path, mark: Path) -> None:
    store = Store.open(tmp_path / "r")
    (store.records / "0123456789abcdef.json").write_bytes(pickle.dumps(Evil(mark)))
    (bundle := tmp_path / "b.jsonl").write_bytes(pickle.dumps(Evil(mark)))
    assert len(store.scan().problems) == 1
    _refused(lambda: unpack(bundle), mark)
    for arguments in (("status", store.root), ("leaderboard", bundle), ("audit", store.root)):
        said = cli(*arguments)
        assert said.code != 0
        assert "Traceback" not in said.err
        assert not mark.exists()


def test_a_record_names_no_code(tmp_path: Path) -> None:
    """A spec can name what is registered, nothing else."""
    from prunebench.bench.runs.rerun import recorded_cell

    body = json.loads(unpack(_BUNDLE)[0].dumps())
    for place, name in (("method", "os.system"), ("dataset", "builtins.eval"),
                        ("recipe", None)):  # fmt: skip
        spec = json.loads(json.dumps(body["spec"]))
        if name is None:
            spec["recipe"]["model"] = "__import__('os')"
        else:
            spec[place]["name"] = name
        forged = Record(**{**body, "spec": spec, "digest": ""})
        if place == "recipe":
            from prunebench.bench.networks.build import check_model
            from prunebench.bench.spec.run_spec import RunSpec

            with pytest.raises(InputError):
                check_model(RunSpec.model_validate(spec).recipe)
        else:
            with pytest.raises(InputError):
                recorded_cell(forged, {})
