"""Checkpoints of somebody else, sealed anew: a run starts afresh, whatever they hold."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from prunebench.bench.results.store import Store
from prunebench.bench.runs.checkpoint_file import FILE
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.train import stopping
from prunebench.methods.base import EvidenceSpec
from prunebench.record import Record
from support.cells import small_cell

Parts = dict[str, Any]
PLAIN = EvidenceSpec()
WATCHED = EvidenceSpec(frozenset({"p_target"}), (2,))


def _run(
    root: Path, method: str = "infobatch+align", evidence: EvidenceSpec = PLAIN, stop: int = 0
) -> Record | None:
    """Runs a cell in a results folder; ``stop`` is the step at which it is asked to end."""
    cell, steps = small_cell(method, recipe_params={"epochs": 4}), 0

    def asked() -> bool:
        nonlocal steps
        steps += 1
        return steps == stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "asked", asked)
        try:
            return run_cell(replace(cell, evidence=evidence), Store.open(root))[0]
        except stopping.Stopped:
            return None


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was stopped in its second epoch."""
    root = tmp_path_factory.mktemp("half") / "r"
    assert _run(root, stop=25) is None
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The record of the same run undisturbed."""
    record = _run(tmp_path_factory.mktemp("whole") / "r")
    assert record is not None
    return record


def _change(root: Path, change: Callable[[dict[str, Tensor], Parts], object]) -> None:
    """Has the checkpoint of a folder changed and sealed."""
    (path,) = root.glob(f"checkpoints/*/{FILE}")
    tensors = load(path.read_bytes()[32:])
    meta = json.loads(bytes(tensors.pop("__meta__").numpy()))
    change(tensors, meta)
    tensors["__meta__"] = torch.tensor(list(json.dumps(meta).encode()), dtype=torch.uint8)
    body = save(tensors)
    path.write_bytes(hashlib.sha256(body).digest() + body)


CHANGES: dict[str, Callable[[dict[str, Tensor], Parts], object]] = {
    # A fused step took it for as long as its parameter, and wrote beyond it.
    "one momentum": lambda t, _: t.update({"optimizer4/momentum_buffer": torch.zeros(1)}),
    "no momentum": lambda t, _: t.pop("optimizer2/momentum_buffer"),
    "a name": lambda _, m: m["scalars"].update({"optimizer2/momentum_buffer": "x"}),
    "visits": lambda t, _: t.update({"run/kept_visits": torch.zeros(1, dtype=torch.int64)}),
    "positions": lambda t, _: t["now/indices"].fill_(1 << 40),
    "a plan of one": lambda t, _: t["now/indices"].fill_(0),
    "weights": lambda t, _: t["now/weights"].fill_(torch.nan),
    "chosen": lambda t, _: t.update({"now/visited": torch.tensor([-1, 1 << 40])}),
    "generator": lambda t, _: t.update({"now/generator.cpu": torch.zeros(1)}),
    "scores": lambda t, _: t.update({"last/scores": torch.zeros(2)}),
    "a table": lambda _, m: m["scalars"].update({"last/table": "nowhere"}),
    "started": lambda _, m: m["scalars"].update({"now/started": 1 << 62}),
    "step": lambda _, m: m["scalars"].update({"now/step": 1 << 62}),
    "rate": lambda _, m: m["scalars"].update({"now/lr": "fast"}),
    "time": lambda _, m: m["seconds"].__setitem__(0, float("inf")),
    "rows": lambda _, m: m["table"].extend(m["table"] * 9),
    "no row": lambda _, m: m["table"].clear(),
    "a text": lambda _, m: m["table"][0].update({"train_loss": "=1+1"}),
    "a number": lambda _, m: m["table"][0].update({"trained": 10**400}),
    "size": lambda _, m: m["ledger"].pop("num_samples"),
    "count": lambda _, m: m["ledger"].update({"trained": 10**30}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_checkpoint_ends_in_a_fresh_start(
    name: str, half: Path, whole: Record, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(half, tmp_path / "r"))
    _change(root, CHANGES[name])
    record = _run(root)
    assert record is not None
    assert (record.status, record.metrics) == ("done", whole.metrics)
    assert record.artifacts == whole.artifacts
    (note,) = root.glob("quarantine/checkpoints-*/reason.json")
    reason = json.loads(note.read_text())["reason"]
    assert "checkpoint" in reason or FILE in reason


def test_one_that_was_not_changed_is_gone_on_from(
    half: Path, whole: Record, tmp_path: Path
) -> None:
    """Also one of an earlier version, whose rows do not say what was planned."""
    for number, change in enumerate(
        (lambda *_: None, lambda _, m: [row.pop("planned") for row in m["table"]])
    ):
        root = Path(shutil.copytree(half, tmp_path / str(number)))
        _change(root, change)
        record = _run(root)
        assert record is not None
        assert record.metrics == whole.metrics
        assert not list(root.glob("quarantine/*"))


def test_what_fails_for_another_reason_is_recorded_once(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prunebench.bench.runs import execute

    tried = []

    def fail(*_: object) -> None:
        tried.append(1)
        raise RuntimeError("no luck")

    root = Path(shutil.copytree(half, tmp_path / "r"))
    monkeypatch.setattr(execute, "artifacts", fail)
    record = _run(root)
    assert record is not None
    assert (record.status, "no luck" in record.reason, len(tried)) == ("failed", True, 2)
    assert not list(root.glob("checkpoints/*"))


def test_evidence_in_a_checkpoint_names_no_files(tmp_path: Path) -> None:
    """The name of a row became that of a file, wherever it led to."""
    root = tmp_path / "r"
    assert _run(root, "full", WATCHED, stop=40) is None
    far = str(tmp_path / "far")
    name = f"observer0/row.{far}"
    _change(root, lambda t, _: t.update({name: t["observer0/row.p_target"].clone()}))
    record = _run(root, "full", WATCHED)
    assert record is not None
    assert record.status == "done"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]


def test_evidence_begun_for_another_need_is_taken_anew(tmp_path: Path) -> None:
    """A run that was stopped after the epoch of a snapshot that it did not take lacks it."""
    root = tmp_path / "r"
    other = EvidenceSpec(frozenset({"p_target"}))
    assert _run(root, "full", other, stop=70) is None
    record = _run(root, "full", WATCHED)
    assert record is not None
    (folder,) = root.glob("evidence/*")
    assert np.load(folder / "p_target.npy").shape[0] == 4
    assert {path.stem for path in folder.glob("*.npy")} == {
        "ids", "p_target", "snapshot-2-logits", "snapshot-2-features"
    }  # fmt: skip
