"""The results folder: atomic, checked, and nobody leaves it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prunebench.bench.results.atomic import TemporaryFiles
from prunebench.bench.results.process import start_time, this_process
from prunebench.bench.results.store import Store
from prunebench.errors import InputError
from prunebench.record import Record, RecordError, content_key


def make(number: int = 0, status: str = "done", **fields: object) -> Record:
    spec = {"cell": number}
    return Record(key=content_key(spec), spec=spec, status=status, **fields)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "results" / "grid")


def test_what_is_saved_is_found_again(store: Store) -> None:
    saved = store.save(make(metrics={"acc": 0.5}), {"scores.npy": b"abc", "kept.npy": b""})
    assert saved.digest
    assert saved == store.get(saved.key)
    assert saved.artifacts["scores.npy"]["bytes"] == 3
    assert store.artifact(saved.key, "scores.npy") == b"abc"
    assert store.artifact(saved.key, "kept.npy") == b""
    assert store.keys() == {saved.key}
    assert store.get(make(1).key) is None


def test_saving_again_replaces_the_record_and_keeps_named_artifacts(store: Store) -> None:
    first = store.save(make(status="failed", reason="x"), {"a": b"1"})
    again = store.save(Record(key=first.key, spec=first.spec, status="done",
                              artifacts=first.artifacts), {"b": b"2"})  # fmt: skip
    assert store.get(first.key) == again
    assert again.status == "done"
    assert store.artifact(first.key, "a") == b"1"
    assert store.artifact(first.key, "b") == b"2"


def test_no_temporary_file_is_left(store: Store) -> None:
    store.save(make(), {"a": b"1"})
    assert not [path for path in store.root.rglob("*") if "tmp" in path.name and path.is_file()]
    assert not list((store.root / ".tmp").iterdir())


@pytest.mark.parametrize(
    "key", ["", "../../etc/passwd", "0123456789abcde", "0123456789ABCDEF", "0123456789abcdef\n"]
)
def test_malformed_keys_never_become_paths(store: Store, key: str) -> None:
    for use in (store.get, store.checkpoint_path, store.evidence_path):
        with pytest.raises(InputError, match="malformed"):
            use(key)
    with pytest.raises(InputError):
        store.artifact(key, "a")
    with pytest.raises(InputError):
        store.save(Record(key=key, spec={}, status="done"))


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\0b", "x" * 300])
def test_malformed_artifact_names_write_nothing(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="malformed"):
        store.save(make(), {"fine": b"1", name: b"2"})
    assert store.keys() == set()
    assert not list(store.artifacts.iterdir())


def test_folders_that_cannot_be_written_are_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below", Path("/proc/prunebench")):
        with pytest.raises(InputError, match="cannot be written") as caught:
            Store.open(path)
        assert str(path) in str(caught.value)


def test_opening_for_reading_creates_nothing(tmp_path: Path, store: Store) -> None:
    with pytest.raises(InputError, match="no results folder"):
        Store.open(tmp_path / "typo", create=False)
    assert not (tmp_path / "typo").exists()
    saved = store.save(make())
    assert Store.open(store.root, create=False).get(saved.key) == saved


def test_scan_reports_every_bad_file_and_reads_the_rest(store: Store, tmp_path: Path) -> None:
    good = [store.save(make(number)) for number in range(5)]
    bad: dict[str, str] = {}

    def spoil(number: int, text: str, reason: str) -> None:
        path = store.records / f"{make(number).key}.json"
        path.write_text(text)
        bad[path.name] = reason

    whole = make(10).sealed().dumps()
    spoil(10, whole[: len(whole) // 2], "not a JSON record")
    spoil(11, make(11, metrics={"acc": 0.5}).sealed().dumps().replace("0.5", "0.9"), "digest")
    spoil(12, whole, "file name differs")
    spoil(13, "", "not a JSON record")
    spoil(14, "[" * 100_000, "not a JSON record")
    spoil(15, " " * (1 << 20), "too large")
    (store.records / f"{make(16).key}.json").mkdir()
    bad[f"{make(16).key}.json"] = "directory"
    (store.records / "notes.txt").write_text("x")
    bad["notes.txt"] = "not named as a record"
    os.mkfifo(store.records / f"{make(17).key}.json")
    bad[f"{make(17).key}.json"] = "no regular file"
    (store.records / f"{make(18).key}.json").symlink_to(tmp_path / "nowhere")
    bad[f"{make(18).key}.json"] = "dangling"
    (store.records / ".half.json.tmp").write_text("{")

    scan = store.scan()
    assert scan.records == sorted(good, key=lambda record: record.key)
    found = {problem.path.name: problem.reason for problem in scan.problems}
    assert found.keys() == bad.keys()
    for name, reason in bad.items():
        assert reason in found[name].lower() or reason in found[name]


def test_an_edited_record_or_artifact_is_refused(store: Store) -> None:
    saved = store.save(make(metrics={"acc": 0.5}), {"a": b"abc"})
    (store.artifacts / saved.key / "a").write_bytes(b"abd")
    with pytest.raises(RecordError, match="digest mismatch"):
        store.artifact(saved.key, "a")
    (store.artifacts / saved.key / "a").unlink()
    with pytest.raises(RecordError, match="cannot be read"):
        store.artifact(saved.key, "a")
    with pytest.raises(RecordError, match="accepted: a"):
        store.artifact(saved.key, "b")
    path = store.records / f"{saved.key}.json"
    body = json.loads(path.read_text())
    body["metrics"]["acc"] = 0.99
    path.write_text(json.dumps(body))
    with pytest.raises(RecordError, match="digest mismatch"):
        store.get(saved.key)


def test_quarantine_moves_everything_aside_under_unique_names(store: Store) -> None:
    folders = []
    for _ in range(3):
        saved = store.save(make(), {"a": b"abc"})
        folders.append(store.quarantine(saved.key, "noise was wrong"))
        assert store.get(saved.key) is None
        assert not (store.artifacts / saved.key).exists()
    assert len(set(folders)) == 3
    for folder in folders:
        assert (folder / f"{make().key}.json").is_file()
        assert (folder / "artifacts" / "a").read_bytes() == b"abc"
        assert json.loads((folder / "reason.json").read_text())["reason"] == "noise was wrong"


def test_quarantine_takes_paths_of_problems_and_no_others(store: Store, tmp_path: Path) -> None:
    stray = store.records / "notes.txt"
    stray.write_text("x")
    folder = store.quarantine(store.scan().problems[0].path, "stray")
    assert (folder / "notes.txt").read_text() == "x"
    assert not store.scan().problems
    outside = tmp_path / "precious.json"
    outside.touch()
    for path in (outside, store.records / ".." / ".." / "precious.json", make(7).key):
        with pytest.raises(InputError):
            store.quarantine(path, "x")
    assert outside.exists()


def test_folders_are_published_whole(store: Store) -> None:
    final = store.evidence_path(make().key)
    for text in ("first", "second"):
        with store.temporary_folder("evidence") as folder:
            (folder / "logits").write_text(text)
            assert not (final / "logits").exists() or text == "second"
            store.publish_folder(folder, final)
            assert not folder.exists()
        assert (final / "logits").read_text() == text
    assert not list((store.root / ".tmp").iterdir())
    with store.temporary_folder() as folder, pytest.raises(InputError, match="outside"):
        store.publish_folder(folder, store.root / ".." / "elsewhere")
    with pytest.raises(FileNotFoundError):
        store.publish_folder(store.root / "missing", final)
    assert (final / "logits").read_text() == "second"


def test_abandoned_temporaries_are_cleaned_and_live_ones_kept(store: Store) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    temporary, me = store.root / ".tmp", this_process()
    ours = TemporaryFiles(store.root).path("work")
    names = {
        ours.name: (True, True),
        f"work~{me.machine}~{dead.pid}~1~aa": (True, False),
        f"work~{'f' * 12}~{dead.pid}~1~aa": (True, True),
        f".file~{'f' * 12}~1~1~aa.xx.tmp": (False, False),
        f".file~{me.machine}~{me.pid}~{start_time(me.pid)}~aa.xx.tmp": (False, True),
    }
    old = time.time() - 7200
    for name, (folder, _) in names.items():
        path = temporary / name
        path.mkdir() if folder else path.touch()
        os.utime(path, (old, old))
    young = temporary / f"work~{me.machine}~{dead.pid}~1~bb"
    young.mkdir()
    Store.open(store.root)
    left = {path.name for path in temporary.iterdir()}
    assert left == {name for name, (_, kept) in names.items() if kept} | {young.name}


def test_records_survive_a_writer_that_is_killed_while_writing(store: Store) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom prunebench.bench.results.store import Store\n"
        "from prunebench.record import Record, content_key\n"
        "store, n = Store.open(sys.argv[1]), 0\n"
        "while True:\n"
        "    spec = {'cell': n % 5}\n"
        "    store.save(Record(key=content_key(spec), spec=spec, status='done',"
        " info={'text': 'x' * 3000}), {'a': b'y' * 50000})\n"
        "    n += 1\n"
        "    print(n, flush=True)\n"
    )
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(store.root)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        for _ in range(10):
            writer.stdout.readline()
        writer.kill()
        writer.wait()
        writer.stdout.close()
        scan = store.scan()
        assert len(scan.records) == 5
        assert not scan.problems
        for found in scan.records:
            assert len(store.artifact(found.key, "a")) == 50000
