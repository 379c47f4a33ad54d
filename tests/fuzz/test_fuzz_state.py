"""Checkpoints and evidence: whatever lies there is used whole, or set aside and redone."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunebench.bench.results.manifest import (
    MANIFEST,
    Damaged,
    covers,
    from_json,
    read_manifest,
    verify,
    write_manifest,
)
from prunebench.bench.runs import checkpoint
from prunebench.bench.runs.checkpoint_file import FILE, DamagedCheckpoint
from prunebench.bench.train.setup import Callback, RunView
from prunebench.bench.train.trainer import Trainer
from prunebench.methods.base import EvidenceSpec
from prunebench.record import file_digest
from support.cells import small_cell
from support.fuzzing import bounded, changed, damaged, fuzz
from support.runs import trainer_of

KEY = "0123456789abcdef"


def _trainer(*callbacks: Callback) -> Trainer:
    return trainer_of(
        small_cell("infobatch+align", recipe_params={"epochs": 4}), callbacks=callbacks
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, bytes, Path]:
    """A trainer to restore into, a checkpoint of its first epoch, and a folder."""

    class Enough(Exception):
        pass

    class Stop(Callback):
        def epoch_end(self, run: RunView) -> None:
            raise Enough

    trainer = _trainer(Stop())
    with pytest.raises(Enough):
        trainer.fit()
    return _trainer(), checkpoint.dump(trainer, KEY), tmp_path_factory.mktemp("state")


def _restore(trainer: Trainer, folder: Path, data: bytes) -> bool:
    (folder / FILE).write_bytes(data)
    with bounded():
        try:
            return checkpoint.restore(trainer, folder, KEY)
        except DamagedCheckpoint:
            return False


def test_the_right_one_is_restored(saved: tuple[Trainer, bytes, Path]) -> None:
    trainer, data, folder = saved
    assert _restore(trainer, folder, data)
    assert trainer.epoch == 1


@fuzz(100)
@given(data=st.data())
def test_damaged_checkpoints(saved: tuple[Trainer, bytes, Path], data: st.DataObject) -> None:
    trainer, good, folder = saved
    spoiled = data.draw(damaged(good, range(120)))
    assert _restore(trainer, folder, spoiled) == (spoiled == good)


@fuzz(100)
@given(data=st.data())
def test_damaged_and_sealed_anew(saved: tuple[Trainer, bytes, Path], data: st.DataObject) -> None:
    trainer, good, folder = saved
    body = data.draw(damaged(good[32:], range(120)))
    if _restore(trainer, folder, hashlib.sha256(body).digest() + body):
        assert 0 <= trainer.epoch <= trainer.setup.clock.max_epochs


def _split(body: bytes) -> tuple[dict[str, Any], bytes, dict[str, Any]]:
    """Header, tensors and our own facts of a safetensors file."""
    size = struct.unpack("<Q", body[:8])[0]
    header = json.loads(body[8 : 8 + size])
    rest = body[8 + size :]
    begin, end = header["__meta__"]["data_offsets"]
    return header, rest, json.loads(rest[begin:end])


@fuzz(120)
@given(data=st.data())
def test_forged_facts(saved: tuple[Trainer, bytes, Path], data: st.DataObject) -> None:
    from safetensors.torch import load, save

    trainer, good, folder = saved
    tensors = load(good[32:])
    facts = json.loads(bytes(tensors.pop("__meta__").numpy()))
    text = json.dumps(data.draw(changed(facts, deep=False))).encode()
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(tensors)))
        change = data.draw(st.sampled_from(("gone", "shape", "type", "name")))
        value = tensors.pop(name)
        if change == "shape":
            tensors[name] = value.flatten()[:1].clone()
        elif change == "type":
            tensors[name] = value.to(torch.int64 if value.is_floating_point() else torch.float32)
        elif change == "name":
            tensors[f"{name}/../x"] = value
    tensors["__meta__"] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    body = save(tensors)
    if _restore(trainer, folder, hashlib.sha256(body).digest() + body):
        assert 0 <= trainer.epoch <= trainer.setup.clock.max_epochs
        assert all(type(n) is int and n >= 0 for n in vars(trainer.ledger).values())


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evidence folder."""
    folder = tmp_path_factory.mktemp("evidence") / KEY
    folder.mkdir()
    np.save(folder / "ids.npy", np.arange(9), allow_pickle=False)
    write_manifest(folder, _manifest(folder))
    return folder


def _manifest(folder: Path) -> dict[str, Any]:
    return {
        "key": KEY, "needs": {"signals": ["correct"], "snapshots": [3], "strong": []},
        "epochs": 4, "trained_per_epoch": 9, "scoring": 9,
        "files": {"ids.npy": file_digest(folder / "ids.npy")},
    }  # fmt: skip


def _read(folder: Path) -> dict[str, Any] | None:
    with bounded():
        try:
            manifest = read_manifest(folder)
            assert manifest is not None
            covers(from_json(manifest["needs"]), EvidenceSpec())
            verify(folder, manifest)
        except Damaged:
            return None
    return manifest


def test_the_right_folder_is_read(evidence: Path) -> None:
    assert _read(evidence) == _manifest(evidence)


@fuzz(120)
@given(data=st.data())
def test_damaged_manifests(evidence: Path, data: st.DataObject) -> None:
    good = (evidence / MANIFEST).read_bytes()
    try:
        (evidence / MANIFEST).write_bytes(data.draw(damaged(good)))
        found = _read(evidence)
        assert found is None or found == _manifest(evidence)
    finally:
        (evidence / MANIFEST).write_bytes(good)


@fuzz(120)
@given(data=st.data())
def test_forged_manifests(evidence: Path, data: st.DataObject) -> None:
    good = (evidence / MANIFEST).read_bytes()
    forged = data.draw(changed(_manifest(evidence)))
    try:
        write_manifest(evidence, forged)
    except (ValueError, TypeError, RecursionError):
        (evidence / MANIFEST).write_bytes(good)
        return
    try:
        found = _read(evidence)
        if found is not None:
            assert found["key"] == KEY
            for name, digest in found["files"].items():
                assert Path(name).name == name
                assert file_digest(evidence / name) == digest
    finally:
        (evidence / MANIFEST).write_bytes(good)
