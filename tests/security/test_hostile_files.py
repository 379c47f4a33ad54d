"""Artifacts, evidence, journals and places of others: the digests fit and the content does not."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prunebench.bench.executors.ray.transfer import run_folder
from prunebench.bench.results.manifest import MANIFEST, write_manifest
from prunebench.bench.results.store import Store
from prunebench.bench.runs import self_supervised
from prunebench.bench.runs.execute import run_cell
from prunebench.errors import InputError
from prunebench.files import is_private, private_folder, read_at_most
from prunebench.leaderboard.bundle import unpack
from prunebench.record import Record, _seal, file_digest
from support.cells import small_cell
from support.command import Said, figures, prunebench, refused
from support.faults import tiny_grid
from support.fuzzing import bounded
from support.tuning import Fake, go, tiny

_BUNDLE = Path(__file__).parents[2] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"
RECORD = replace(unpack(_BUNDLE)[0], artifacts={})


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def header(shape: str) -> bytes:
    """An npz whose one array claims a shape that it does not have."""
    out = io.BytesIO()
    text = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}}}".encode()
    with zipfile.ZipFile(out, "w") as archive:
        size = len(text).to_bytes(2, "little")
        for name in ("id", "visits", "predicted"):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + size + text)
    return out.getvalue()


IDS = np.arange(4)
ARTIFACTS = {
    "empty": b"", "text": b"what?", "no arrays": npz(), "cut": npz(id=IDS, visits=IDS)[:-30],
    "huge": header("(1000000000000,)"), "deep": header("(" * 200), "lack": npz(id=IDS),
    "scalar": npz(id=np.array(3), visits=np.array(3), predicted=np.array(3)),
    "matrix": npz(id=np.eye(3), visits=np.eye(3), predicted=np.eye(3, dtype=int)),
    "text arrays": npz(id=np.array(["=1"] * 4), visits=IDS, predicted=np.array(["=1"] * 4)),
    "lengths": npz(id=IDS, visits=IDS[:2], predicted=IDS, score=IDS[:1] * 1.0),
    "complex": npz(id=IDS * 1j, visits=IDS, predicted=IDS * 1j, kept=IDS * 1j),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_exports_of_artifacts_with_other_content_are_one_line(kind: str, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    content = ARTIFACTS[kind]
    names = ("samples.npz", "predictions.npz", "epochs.csv", "classes.csv")
    record = store.save(RECORD, dict.fromkeys(names, content))
    with bounded(60):
        for what in ("scores", "kept", "visits", "predictions", "epochs", "classes"):
            said = prunebench("export", record.key, store.root, "--what", what)
            assert "Traceback" not in said.err
            if kind == "lengths" and what in ("predictions", "kept"):
                continue
            if said.code:
                refused(said, record.key)
            else:
                assert what in ("epochs", "classes")


def test_a_record_may_claim_any_size_of_an_artifact(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    record = store.save(RECORD, {"epochs.csv": b"epoch\n1\n"})
    entry = {**record.artifacts["epochs.csv"], "bytes": 2**62}
    body = {**record.body(), "artifacts": {"epochs.csv": entry}}
    text = Record(**body, digest=_seal(body)).dumps()
    (store.records / f"{record.key}.json").write_text(text + "\n")
    with bounded(20, 1 << 30):
        said = prunebench("export", record.key, store.root, "--what", "epochs")
        assert said.out == "epoch\n1\n"
        assert read_at_most(store.artifact_path(record.key, "epochs.csv"), 3) == b"epoc"


def run(root: Path) -> Said:
    """A static cell of a tenth of a second, in this process."""
    toml = tiny_grid(root.parent / "tiny.toml", ["small-loss"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNEBENCH_INLINE", "1")
        return prunebench("grid", toml, "--out", root, "-w", "1", "--no-mlflow", "-q")


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a static cell and its evidence."""
    root = tmp_path_factory.mktemp("static") / "r"
    assert run(root).code == 0
    return root


def _npy(name: str, array: Any) -> tuple[str, Callable[[Path], None]]:
    return name, lambda path: np.save(path, array, allow_pickle=True)


def _raw(name: str, data: bytes) -> tuple[str, Callable[[Path], None]]:
    return name, lambda path: path.write_bytes(data) and None


LOGITS = "logits of the one snapshot"
EVIDENCE = [
    _npy("ids", np.arange(3)), _npy("ids", np.arange(180)[::-1]), _npy("ids", np.array([{}] * 3)),
    _npy(LOGITS, np.zeros((180, 3), np.float32)), _npy(LOGITS, np.zeros((180, 4), np.int8)),
    _npy(LOGITS, np.float32(0)), _raw(LOGITS, b""), _raw(LOGITS, b"\x93NUMPY of others"),
    _raw(LOGITS, b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, "
         b"'shape': (1000000000, 4)}\n"),
    *(_npy(LOGITS, np.full((180, 4), value, np.float32)) for value in (np.nan, -np.inf)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(EVIDENCE)))
def test_evidence_with_other_content_is_named_set_aside_and_made_anew(
    number: int, static: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(static, tmp_path / "r"))
    wanted = figures(root)
    name, spoil = EVIDENCE[number]
    (folder,) = (root / "evidence").iterdir()
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["digest"]
    if name == LOGITS:
        name = f"snapshot-{manifest['needs']['snapshots'][0]}-logits"
    path = folder / f"{name}.npy"
    assert path.is_file()
    spoil(path)
    write_manifest(
        folder, {**manifest, "files": {**manifest["files"], path.name: file_digest(path)}}
    )
    (static_cell,) = [r.key for r in Store(root).scan().records
                      if r.spec["method"]["name"] == "small-loss"]  # fmt: skip
    (root / "records" / f"{static_cell}.json").unlink()
    with bounded(120):
        said = run(root)
    assert said.code == 0, said.err
    (note,) = (root / "quarantine").glob("*/reason.json")
    assert path.name in json.loads(note.read_text())["reason"]
    assert figures(root) == wanted


def _one_row(array: Any) -> Any:
    return array[:1]


def _not_finite(array: Any) -> Any:
    return np.full_like(array, np.nan)


def _negative(array: Any) -> Any:
    return -array - 1


@pytest.mark.parametrize(
    ("method", "name", "change"),
    [
        ("dual", "p_target", _one_row), ("dual", "p_target", _not_finite),
        ("dual", "p_target", _negative), ("forgetting", "correct", _one_row),
        ("prune4rel", "strong-*-confidence", _negative),
        ("prune4rel", "strong-*-features", _not_finite),
    ],
)  # fmt: skip
def test_evidence_with_numbers_that_no_run_leaves_is_made_anew(
    method: str, name: str, change: Callable[[Any], Any], tmp_path: Path
) -> None:
    root = tmp_path / "r"
    cell = small_cell(method, recipe_params={"epochs": 3})

    def go() -> Record:
        return run_cell(cell, Store.open(root))[0]

    wanted = go()
    (path,) = root.glob(f"evidence/*/{name}.npy")
    manifest = json.loads((path.parent / MANIFEST).read_text())
    del manifest["digest"]
    np.save(path, change(np.load(path)))
    files = {**manifest["files"], path.name: file_digest(path)}
    write_manifest(path.parent, {**manifest, "files": files})
    (root / "records" / f"{wanted.key}.json").unlink()
    record = go()
    assert (record.status, record.metrics) == ("done", wanted.metrics), record.reason
    (note,) = (root / "quarantine").glob("*/reason.json")
    assert path.name in json.loads(note.read_text())["reason"]


def test_features_of_an_encoder_are_finite(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    folder = store.evidence_path("0" * 16)
    folder.mkdir(parents=True)
    for value in (np.nan, 1.0):
        folder.mkdir(exist_ok=True)
        np.save(folder / "features.npy", np.full((3, 2), value, np.float32))
        files = {"features.npy": file_digest(folder / "features.npy")}
        needs: dict[str, list[str]] = {"signals": [], "snapshots": [], "strong": []}
        write_manifest(folder, {"key": folder.name, "needs": needs, "trained": 9, "files": files})
        found = self_supervised._read(store, folder, 3)
        assert (found is None) == bool(np.isnan(value))
    (note,) = (store.root / "quarantine").glob("*/reason.json")
    assert "features.npy: values that are not finite" in json.loads(note.read_text())["reason"]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("journal")
    go(tiny(), root, Fake(store=Store.open(root)))
    return (root / "tuning/s.journal").read_text().splitlines()


SPOILT: list[tuple[int, tuple[str, ...], Any]] = [
    (op, (name,), value)
    for op, names in {
        0: ("op_code", "worker_id", "study_name", "directions"),
        2: ("study_id", "user_attr"),
        4: ("study_id", "user_attrs", "state", "params", "distributions"),
        5: ("trial_id", "param_name", "param_value_internal", "distribution"),
        6: ("trial_id", "state", "values", "datetime_start"),
        8: ("trial_id", "user_attr"),
    }.items()
    for name in names
    for value in (10**400, -1, "x", None, [], {}, [{}], math.nan, 1e308)
] + [(4, ("user_attrs", "slot"), v) for v in (None, "x", [], -1)]


def test_hostile_journals_are_one_line_or_do_no_harm(journal: list[str], tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    path = store.root / "tuning" / "s.journal"
    (store.root / "tuning").mkdir()
    lines = list(map(json.loads, journal))
    told = 0
    with bounded(120):
        for op, place, value in SPOILT:
            number = max(n for n, line in enumerate(lines) if line["op_code"] == op)
            spoilt = json.loads(journal[number])
            inner = spoilt
            for name in place[:-1]:
                inner = inner[name]
            inner[place[-1]] = value
            text = [*journal[:number], json.dumps(spoilt), *journal[number + 1 :]]
            path.write_text("\n".join(text) + "\n")
            try:
                go(tiny(), store.root, Fake(store=store))
            except InputError as error:
                told += "\n" not in str(error)
    assert told > len(SPOILT) // 2


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b"{" * 50_000, b'{"op_code":1,"worker_id":"x","study_id":0}', b"\xff",
 b'{"op_code": 4, "worker_id": "x", "study_id": 0, "user_attrs": {"slot": 0}, "state": 1}'],
)  # fmt: skip
def test_lines_that_are_no_entries_are_named(
    line: bytes, journal: list[str], tmp_path: Path
) -> None:
    store = Store.open(tmp_path / "r")
    path = store.root / "tuning" / "s.journal"
    path.parent.mkdir()
    path.write_bytes("\n".join(journal).encode() + b"\n" + line + b"\n")
    with pytest.raises(InputError, match="the study cannot be opened"):
        go(tiny(), store.root, Fake(store=store))


def test_a_private_folder_is_made_by_its_user_alone(tmp_path: Path) -> None:
    made = private_folder(tmp_path / "new")
    assert is_private(made)
    assert private_folder(made, shared=True) == made
    with pytest.raises(InputError, match="is there already"):
        private_folder(made)
    made.chmod(0o750)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch(0o600)
    for name in ("new", "link", "file"):
        with pytest.raises(InputError, match=f"{name}: is there already"):
            private_folder(tmp_path / name, shared=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_somebody_else_is_not_private(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(InputError, match="is there already"):
        private_folder(folder, shared=True)


def test_nodes_take_no_folder_that_somebody_else_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    folder = run_folder("prunebench-node", "run", shared=True)
    assert run_folder("prunebench-node", "run", shared=True) == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "prunebench-node-other").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is there already"):
        run_folder("prunebench-node", "other", shared=True)
    folder.chmod(0o777)
    with pytest.raises(InputError, match="is there already"):
        run_folder("prunebench-node", "run", shared=True)


def test_folders_of_runs_that_were_killed_go_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    for name in ("old", "open", "used"):
        (tmp_path / f"pbray-{name}" / "r" / "logs").mkdir(parents=True)
        log = tmp_path / f"pbray-{name}" / "r" / "logs" / "raylet.out"
        log.touch()
        for path in (log, *log.parents[:3]):
            os.utime(path, (0, 0))
        log.parents[2].chmod(0o755 if name == "open" else 0o700)
    log.touch()  # a cluster that runs writes its logs
    run_folder("pbray", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"pbray-new", "pbray-open", "pbray-used"}
