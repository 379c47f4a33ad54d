"""Names out of files and records never lead out of the results folder."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.reports.boards import merge
from prunebench.bench.results.store import Store
from prunebench.datasets.sources.listing import safe_name
from prunebench.errors import InputError
from prunebench.leaderboard.bundle import pack, unpack
from prunebench.leaderboard.figures.material import artifact_reader
from prunebench.record import Record, RecordError, content_key, parse
from support.command import prunebench as cli
from support.fuzzing import bounded

_BUNDLE = Path(__file__).parents[2] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"
RECORD = replace(unpack(_BUNDLE)[0], artifacts={})

ESCAPES = ("..", "../x", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "", ".", ".hidden",
           "a\0b", "x" * 300, "-rf", "a\nb", "~", "é", "a b", "..\\x", "C:x")  # fmt: skip


@pytest.mark.parametrize("name", ESCAPES)
def test_names_of_the_store(name: str, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    before = sorted(tmp_path.rglob("*"))
    for call in (
        lambda: store.artifact_path(RECORD.key, name),
        lambda: store.artifact(name, "x"),
        lambda: store.get(name),
        lambda: store.checkpoint_path(name),
        lambda: store.evidence_path(name),
        lambda: store.save(RECORD, {name: b"x"}),
        lambda: store.save(replace(RECORD, key=name), {}),
        lambda: store.quarantine(name, "x"),
    ):
        with pytest.raises(InputError):
            call()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ESCAPES)
def test_keys_on_the_command_line(name: str, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    for words in (("export", name, store.root), ("rerun", name, store.root)):
        said = cli(*words)
        assert said.code == 2
        assert len(said.err.splitlines()) in (1, 2)
        assert "Traceback" not in said.err


@pytest.mark.parametrize("name", [n for n in ESCAPES if n != "-rf"])
def test_names_in_grid_files(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    text = json.dumps(name)
    (tmp_path / "g.toml").write_text(f'name = {text}\ndataset = "digits"\nmethod = "full"\n')
    with pytest.raises(InputError) as caught:
        read_grid("g.toml")
    assert len(str(caught.value).splitlines()) == 1
    said = cli("grid", "g.toml")
    assert said.code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["g.toml"]


@pytest.mark.parametrize("field", ["out", "results", "plugin", "plugins", "mlflow_uri", "command"])
def test_a_grid_file_says_nothing_of_where_or_what_runs(field: str, tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    path.write_text(f'name = "g"\n{field} = "/tmp/x"\ndataset = "digits"\nmethod = "full"\n')
    with pytest.raises(InputError, match="unknown field"):
        read_grid(path)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a\0b", "x" * 300, "/dev/zero"]
)
def test_tuned_files_of_grids(name: str, tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    text = json.dumps(name)
    path.write_text(f'name = "g"\ndataset = "digits"\nmethod = "infobatch"\ntuned = {text}\n')
    with bounded(), pytest.raises(InputError) as caught:
        expand(*read_grid(path))
    assert "root:" not in str(caught.value)  # nothing of a foreign file is shown


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\0b", "C:\\x", "\\x", ""])
def test_paths_in_image_lists(name: str) -> None:
    with pytest.raises(InputError):
        safe_name(name, "list")


def _forged(name: str) -> Record:
    entry = {"sha256": "0" * 64, "bytes": 4}
    return replace(RECORD, artifacts={name: entry}).sealed()


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "..", "a/b", "a\0b"])
def test_artifact_names_in_foreign_records(name: str, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    record = store.save(_forged(name))
    with pytest.raises(InputError):
        store.artifact(record.key, name)
    (store.artifacts / record.key).mkdir()
    with pytest.raises(InputError):
        merge([store.root], tmp_path / "all")
    assert not list((tmp_path / "all").rglob("passwd"))


def test_links_planted_in_a_results_folder(tmp_path: Path) -> None:
    """A folder from a stranger: its links neither take writing out of it nor reading."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret.txt").write_text("secret")
    store = Store.open(tmp_path / "r")
    key = RECORD.key
    for folder in ("artifacts", "evidence", "checkpoints"):
        (store.root / folder / key).symlink_to(elsewhere)
    for call in (
        lambda: store.save(RECORD, {"epochs.csv": b"x"}),
        lambda: store.artifact_path(key, "secret.txt"),
        lambda: store.evidence_path(key),
        lambda: store.checkpoint_path(key),
    ):
        with pytest.raises(InputError, match="is a link"):
            call()
    assert [p.name for p in elsewhere.iterdir()] == ["secret.txt"]


def test_a_record_that_is_a_link_must_be_that_record(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    (store.records / f"{RECORD.key}.json").symlink_to("/etc/passwd")
    (store.records / f"{'0' * 16}.json").symlink_to("/dev/zero")
    os.mkfifo(store.records / f"{'1' * 16}.json")
    with bounded():
        scan = store.scan()
    assert not scan.records
    assert len(scan.problems) == 3
    assert not any("root:" in p.reason for p in scan.problems)


@pytest.mark.parametrize("target", ["/dev/zero", "/etc/passwd", "fifo"])
def test_artifacts_that_are_links(target: str, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    record = store.save(RECORD, {"epochs.csv": b"right", "samples.npz": b"right"})
    path = store.artifact_path(record.key, "epochs.csv")
    path.unlink()
    if target == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    with bounded():
        with pytest.raises(InputError):
            store.artifact(record.key, "epochs.csv")
        run: Any = SimpleNamespace(record=record)
        found = _or_refused(lambda: artifact_reader([store.root])(run, "epochs.csv"))
        assert found in (None, "refused")


def _or_refused(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except InputError:
        return "refused"


def test_merge_takes_what_records_name_and_nothing_else(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    record = store.save(RECORD, {"epochs.csv": b"right"})
    folder = store.artifacts / record.key
    (tmp_path / "secret").write_text("secret")
    (folder / "notes.txt").symlink_to(tmp_path / "secret")
    (folder / "more").mkdir()
    (folder / "more" / "x.sh").write_text("x")
    merge([store.root], tmp_path / "all")
    copied = [p for p in (tmp_path / "all" / "artifacts").rglob("*") if not p.is_dir()]
    assert [p.name for p in copied] == ["epochs.csv"]
    assert Store(tmp_path / "all").artifact(record.key, "epochs.csv") == b"right"
    (folder / "epochs.csv").write_bytes(b"wrong")
    with pytest.raises(InputError, match="digest mismatch"):
        merge([store.root], tmp_path / "again")
    assert not list((tmp_path / "again" / "records").iterdir())


def test_a_bundle_that_unpacks_to_the_end_of_the_world(tmp_path: Path) -> None:
    blank, twice = tmp_path / "blank.jsonl.gz", tmp_path / "twice.jsonl.gz"
    with gzip.open(blank, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(b"\n" * (1 << 20))
    line = RECORD.sealed().dumps().encode() + b"\n"
    with gzip.open(twice, "wb") as file:
        file.write(line * 1000)
    long = tmp_path / "long.jsonl.gz"
    with gzip.open(long, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(b" " * (1 << 20))
    for path, said in (
        (blank, "blank lines"),
        (long, "unpacks to more"),
        (twice, "repeats record"),
    ):
        with bounded(60, 1 << 30), pytest.raises(InputError, match=said):
            unpack(path)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_lines_that_are_no_records_are_not_kept(tmp_path: Path, end: bytes) -> None:
    """What a reader keeps of them is where they are and what is wrong."""
    path = tmp_path / "x.jsonl.gz"
    # Packs badly, so that the rest may unpack to as much.
    filler = Random(0).randbytes(1 << 20).replace(b"\n", b"x")
    path.write_bytes(gzip.compress((b"x" * 900_000 + end) * 40 + filler))
    faults: list[RecordError] = []
    tracemalloc.start()
    try:
        unpack(path, faults)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert len(faults) == (41 if end else 1)
    assert sum(len(str(fault)) for fault in faults) < 1 << 16


def test_a_million_epochs_cannot_hold_up_a_reader(tmp_path: Path) -> None:
    """Specs of strangers claim what they like; reading them costs what they weigh."""
    body = json.loads(RECORD.dumps())
    forged = []
    for seed in range(3):
        spec = json.loads(json.dumps(body["spec"]))
        spec["recipe"].update(epochs=10**6, batch_size=10**12)
        spec["reference"]["size"] = 10**15
        spec["validation"]["size"] = 10**15
        spec["seed"] = 2**62 + seed
        spec["replica"] = 0
        info = {**body["info"], "num_classes": 10**9, "test_size": 10**12, "train_size": 10**15}
        ledger = dict.fromkeys(body["ledger"], 10**15)
        record = replace(RECORD, key=content_key(spec), spec=spec, info=info, ledger=ledger)
        forged.append(parse(record.sealed().dumps()))
    bundle = tmp_path / "forged.jsonl.gz"
    bundle.write_bytes(pack(forged))
    with bounded(60):
        assert cli("audit", bundle).code in (0, 1)
        said = cli("leaderboard", bundle, "--out", tmp_path / "b", "--figures")
        assert said.code in (0, 2), said.err
        assert "Traceback" not in said.err
