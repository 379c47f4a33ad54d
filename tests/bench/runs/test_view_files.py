"""The views of a scoring run: each leaves memory when it is taken, and evidence is the same however
often the run was ended on its way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from prunebench.bench.results.claims import Busy, Claim
from prunebench.bench.results.store import Store
from prunebench.bench.runs import checkpoint, execute
from prunebench.bench.runs.checkpoint_file import FILE, DamagedCheckpoint
from prunebench.bench.runs.evidence import Recorder
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.view_files import ViewFiles
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train import stopping
from prunebench.errors import FolderError
from prunebench.files import OwnFolder
from prunebench.methods.base import EvidenceSpec
from prunebench.record import Record, file_digest
from support.cells import small_cell

NEED = EvidenceSpec(frozenset({"p_target"}), (1, 2, 4), (2,), reference=(1, 3))
RECIPE = {"epochs": 4, "model": "mlp", "model_params": {"width": 8, "depth": 1}}
CELL = replace(small_cell(recipe_params=RECIPE), evidence=NEED)
KEY = CELL.spec.key
OFTEN = ExecutionOptions(checkpoint_s=0.0)
VIEWS = {
    f"{view}-{part}"
    for view in ("snapshot-1", "snapshot-2", "snapshot-4", "strong-2", "reference-1", "reference-3")
    for part in ("confidence" if view.startswith("strong") else "logits", "features")
}


def begin(root: Path, options: ExecutionOptions = OFTEN) -> Record:
    return run_cell(CELL, Store.open(root), options)[0]


def evidence(root: Path) -> dict[str, bytes]:
    (folder,) = root.glob("evidence/*")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def notes(root: Path) -> list[str]:
    found = [json.loads(path.read_text()) for path in root.glob("quarantine/*/reason.json")]
    return [note["reason"] for note in found]


def ends_as(whole: Path, root: Path) -> None:
    """The run goes on to the evidence of an undisturbed one, and leaves nothing beside it."""
    assert begin(root).status == "done"
    assert evidence(root) == evidence(whole)
    assert not list(root.glob("checkpoints/*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of an undisturbed run."""
    root = tmp_path_factory.mktemp("whole") / "r"
    assert begin(root).status == "done"
    return root


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder whose run was asked to end at the last epoch but one."""
    root = tmp_path_factory.mktemp("half") / "r"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "asked", lambda: len(list(root.glob("checkpoints/*/*.npy"))) == 10)
        with pytest.raises(stopping.Stopped):
            begin(root, ExecutionOptions(checkpoint_s=1e9))
    assert not list(root.glob("evidence/*"))
    return root


def test_no_more_than_one_view_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays: list[weakref.ref[Tensor]] = []
    held: list[int] = []
    add, write, end = ViewFiles.add, ViewFiles.copy, Recorder.epoch_end

    def alive() -> int:
        return sum(array() is not None for array in arrays)

    def watched(files: ViewFiles, name: str, values: Tensor) -> str:
        arrays.append(weakref.ref(values))
        held.append(alive())
        return add(files, name, values)

    def ended(recorder: Recorder, run: Any) -> None:
        end(recorder, run)
        assert alive() == 0
        parts = recorder.state_dict()
        assert {name for name in parts if not name.startswith("file.")} == {
            "row.p_target", "scoring"
        }  # fmt: skip
        assert all(len(value) == 32 for name, value in parts.items() if name.startswith("file."))

    def copied(*args: Any) -> None:
        assert alive() == 0
        write(*args)

    monkeypatch.setattr(ViewFiles, "add", watched)
    monkeypatch.setattr(ViewFiles, "copy", copied)
    monkeypatch.setattr(Recorder, "epoch_end", ended)
    assert begin(tmp_path / "r").status == "done"
    assert len(held) == len(VIEWS)
    assert max(held) == 2  # logits and features of the one that is taken


def test_a_checkpoint_holds_digests_and_no_views(half: Path) -> None:
    state = load((half / "checkpoints" / KEY / FILE).read_bytes()[32:])
    mine = {name.removeprefix("observer0/"): value for name, value in state.items()
            if name.startswith("observer0/")}  # fmt: skip
    files = {name for name in VIEWS if not name.startswith("snapshot-4")}
    assert mine.keys() == {"row.p_target", "scoring"} | {f"file.{name}" for name in files}
    for name in files:
        digest = file_digest(half / "checkpoints" / KEY / f"{name}.npy")
        assert bytes(mine[f"file.{name}"].tolist()).hex() == digest


def test_evidence_is_what_numpy_saves(whole: Path) -> None:
    (folder,) = whole.glob("evidence/*")
    files = {path.stem for path in folder.glob("*.npy")}
    assert files == VIEWS | {"ids", "p_target"}
    for name in files:
        array = np.load(folder / f"{name}.npy", allow_pickle=False)
        np.save(whole / "again.npy", array, allow_pickle=False)
        assert file_digest(whole / "again.npy") == file_digest(folder / f"{name}.npy")


def after(patch: pytest.MonkeyPatch, owner: Any, name: str, calls: int) -> None:
    """Breaks a run off, with nothing cleared up, when a function has been called so many times."""
    real: Callable[..., Any] = getattr(owner, name)
    seen = 0

    def call(*args: Any, **fields: Any) -> Any:
        nonlocal seen
        found, seen = real(*args, **fields), seen + 1
        if seen == calls:
            raise KeyboardInterrupt
        return found

    patch.setattr(owner, name, call)


MOMENTS: dict[str, tuple[Any, str, int]] = {
    "within the first view": (ViewFiles, "add", 1),
    "between a view and its checkpoint": (ViewFiles, "add", 8),
    "after a checkpoint": (checkpoint, "save", 2),
    "while views are collected": (ViewFiles, "copy", 5),
    "after the evidence is there": (execute.CellRun, "_publish", 1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_killed_ends_with_the_same_evidence(
    moment: str, whole: Path, tmp_path: Path
) -> None:
    root = tmp_path / "r"
    with pytest.MonkeyPatch.context() as patch:
        after(patch, *MOMENTS[moment])
        with pytest.raises(KeyboardInterrupt):
            begin(root)
    assert list(root.glob("checkpoints/*/*.npy"))
    ends_as(whole, root)
    assert not notes(root)


def test_a_run_that_was_asked_to_end_goes_on(whole: Path, half: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(half, tmp_path / "r"))
    ends_as(whole, root)
    assert not notes(root)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [os.unlink, _flip, _become_folder])
def test_a_damaged_view_has_the_run_begin_anew(
    damage: Callable[[Path], None], whole: Path, half: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(half, tmp_path / "r"))
    damage(root / "checkpoints" / KEY / "snapshot-2-features.npy")
    ends_as(whole, root)
    (line,) = notes(root)
    assert "snapshot-2-features.npy: " in line
    assert "\n" not in line


def test_a_view_that_is_lost_under_its_run_is_taken_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, lost = tmp_path / "r", []
    copy = ViewFiles.copy

    def lose(files: ViewFiles, name: str, digest: str, folder: Path) -> None:
        if not lost:
            lost.append(name)
            (files.folder / f"{name}.npy").unlink()
        copy(files, name, digest, folder)

    monkeypatch.setattr(ViewFiles, "copy", lose)
    ends_as(whole, root)
    (line,) = notes(root)
    assert f"{lost[0]}.npy: cannot be read" in line


def test_views_that_are_lost_again_and_again_are_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def lose(*_: object) -> None:
        tried.append(1)
        raise DamagedCheckpoint("gone")

    monkeypatch.setattr(ViewFiles, "copy", lose)
    record = begin(tmp_path / "r")
    assert (record.status, len(tried)) == ("failed", 2)
    assert "gone" in record.reason
    assert not list(tmp_path.glob("r/checkpoints/*"))


def test_evidence_that_is_taken_for_a_record_that_stands_leaves_no_files(
    whole: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(whole, tmp_path / "r"))
    shutil.rmtree(root / "evidence" / KEY)
    ends_as(whole, root)


def test_a_run_that_was_taken_over_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its successor may have removed the views, which is no damage."""
    monkeypatch.setattr(Claim, "valid", lambda claim: False)
    with pytest.raises(Busy, match="was taken over"):
        begin(tmp_path / "r")
    assert not list(tmp_path.glob("r/evidence/*"))
    assert not notes(tmp_path / "r")


def earlier(root: Path) -> None:
    """Turns a checkpoint into that of an earlier version, which held the views themselves."""
    folder = root / "checkpoints" / KEY
    state = load((folder / FILE).read_bytes()[32:])
    for path in folder.glob("*.npy"):
        view, _, part = path.stem.rpartition("-")
        del state[f"observer0/file.{path.stem}"]
        state[f"observer0/view.{view}.{part}"] = torch.from_numpy(np.load(path))
        path.unlink()
    body = save(state)
    (folder / FILE).write_bytes(hashlib.sha256(body).digest() + body)


def test_a_checkpoint_of_an_earlier_version_is_gone_on_from(
    whole: Path, half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(shutil.copytree(half, tmp_path / "r"))
    earlier(root)
    before = (root / "checkpoints" / KEY / FILE).read_bytes()
    real = OwnFolder.write

    def full(own: OwnFolder, path: Path, *rest: Any) -> None:
        if path.suffix == ".npy":
            raise OSError(28, "No space left on device")
        real(own, path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(OwnFolder, "write", full)
        with pytest.raises(FolderError, match="No space left"):
            begin(root)
    assert (root / "checkpoints" / KEY / FILE).read_bytes() == before
    ends_as(whole, root)
    assert not notes(root)
