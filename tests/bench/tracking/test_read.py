"""`leaderboard --from-mlflow`: the folder's board byte for byte, or one line and nothing made."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.tracking import read, sync
from prunebench.bench.tracking.client import all_pages
from prunebench.bench.tracking.database import default_uri, sqlite_uri
from prunebench.leaderboard.bundle import unpack
from prunebench.record import Record
from support.command import files, prunebench, refused
from support.mirrored import client, fresh_database
from support.processes import free_port, silent_server

_BUNDLE = Path(__file__).parents[3] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"


def _chosen(record: Record) -> bool:
    spec = record.spec
    return (
        spec["method"]["name"] in ("full", "random", "infobatch")
        and spec["noise"]["name"] == "symmetric:0.4"
        and spec["seed"] < 2
    )


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of eighteen runs with its mirror."""
    root = tmp_path_factory.mktemp("origin") / "r"
    store = Store.open(root)
    fresh_database(root / "mlflow.db")
    records = [store.save(record) for record in unpack(_BUNDLE) if _chosen(record)]
    assert len(records) == 18
    assert sync(root, records).created == 18
    return root


@pytest.fixture
def folder(origin: Path, tmp_path: Path) -> Path:
    """A copy of it of the test's own."""
    return shutil.copytree(origin, tmp_path / "r", symlinks=True)


def board(*source: str | Path, out: Path) -> dict[str, bytes]:
    said = prunebench("leaderboard", "render", *source, "--out", out)
    assert said.code == 0, said.err
    return dict(files(out))


def test_the_board_of_the_mirror_is_the_folders_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    want = board(folder, out=tmp_path / "a")
    plain = f"sqlite:///{folder}/mlflow.db"
    for number, store in enumerate((plain, str(folder), str(folder / "mlflow.db"))):
        assert board("--from-mlflow", store, out=tmp_path / f"b{number}") == want


def test_withdrawn_and_rewritten_runs_stay_out(folder: Path, tmp_path: Path) -> None:
    store = Store(folder)
    records = store.scan().records
    for record in records:
        if (record.spec["method"]["name"], record.spec["seed"]) == ("infobatch", 1):
            (store.records / f"{record.key}.json").unlink()
    changed = dataclasses.replace(records[0], metrics={**records[0].metrics, "test_accuracy": 0.5})
    store.save(changed)
    report = sync(folder, store.scan().records)
    assert (report.orphaned, report.superseded) == (3, 1)
    want = board(folder, out=tmp_path / "a")
    assert b"Records: 15 used" in want["leaderboard.md"]
    assert board("--from-mlflow", str(folder), out=tmp_path / "b") == want


def test_two_results_for_one_key_are_refused_and_two_times_are_not(
    folder: Path, tmp_path: Path
) -> None:
    """Two folders hold one cell: they share a store, and neither may mark the other's run."""
    other, uri = tmp_path / "s", default_uri(folder)
    record = Store(folder).scan().records[0]
    slower = dataclasses.replace(record, timing={**record.timing, "total_s": 1e4}).sealed()
    sync(other, [slower], uri=uri)
    (held,) = {r.digest for r, _ in read.mirrored_records(uri) if r.key == record.key} - {
        record.digest
    }
    assert held == slower.digest
    assert prunebench("leaderboard", "--from-mlflow", uri, "--out", tmp_path / "b").code == 0
    worse = dataclasses.replace(record, metrics={**record.metrics, "test_accuracy": 0.25}).sealed()
    sync(other, [worse], uri=uri)
    said = prunebench("leaderboard", "--from-mlflow", uri, "--out", tmp_path / "c")
    refused(said, record.key, "MLflow run", "one result per specification")
    assert not (tmp_path / "c").exists()


def _typo(folder: Path) -> str:
    return f"sqlite:///{folder}/typo/runs.db"


def _typo_beside(folder: Path) -> str:
    return str(folder / "mlflow.bd")


def _no_scheme(folder: Path) -> str:
    return str(folder / "records")


def _garbage(folder: Path) -> str:
    (folder / "bad.db").write_bytes(b"garbage\n" + os.urandom(5000))
    return f"sqlite:///{folder}/bad.db"


def _torn(folder: Path) -> str:
    """Whole in its first pages, where the schema lies, and noise from there on."""
    path = folder / "mlflow.db"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(size - size // 2))
    return str(path)


def _cut(folder: Path) -> str:
    path = folder / "mlflow.db"
    os.truncate(path, 4096 * 3)
    return str(path)


def _empty(folder: Path) -> str:
    (folder / "empty.db").touch()
    return f"sqlite:///{folder}/empty.db"


def _foreign(folder: Path) -> str:
    with sqlite3.connect(folder / "foreign.db") as database:
        database.execute("CREATE TABLE runs (id INTEGER)")
    return str(folder / "foreign.db")


def _fifo(folder: Path) -> str:
    os.mkfifo(folder / "pipe.db")
    return f"sqlite:///{folder}/pipe.db"


def _endless(folder: Path) -> str:
    """A view in the place of a table, whose rows never end."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("PRAGMA legacy_alter_table = ON")
        database.execute("ALTER TABLE tags RENAME TO kept")
        database.execute(
            "CREATE VIEW tags AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
            "SELECT 'cell_key' AS key, hex(zeroblob(100000)) AS value, run_uuid FROM n, runs"
        )
    return str(folder / "mlflow.db")


def _computed(folder: Path) -> str:
    """A column that is a hundred megabytes for every row, in a file of one."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute(
            "ALTER TABLE tags ADD COLUMN more TEXT GENERATED ALWAYS AS (hex(zeroblob(50000000)))"
        )
    return str(folder / "mlflow.db")


def _no_driver(folder: Path) -> str:
    return "postgresql+nodriver://user:secret@localhost/db"


def _unknown(folder: Path) -> str:
    return "nowhere://user:secret@localhost/db"


def _down(folder: Path) -> str:
    return f"http://user:secret@127.0.0.1:{free_port()}"


def _empty_store(folder: Path) -> str:
    return str(fresh_database(folder / "other/mlflow.db"))


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (_typo, "no such file"), (_typo_beside, "no tracking store"),
        (_no_scheme, "no tracking store"), (_garbage, "is no SQLite database"), (_torn, ""),
        (_cut, "damaged"), (_empty, "is no SQLite database"), (_foreign, "no table"),
        (_fifo, "is no file"), (_endless, "no plain table"), (_computed, "computed columns"),
        (_no_driver, "cannot be read"), (_unknown, "cannot be read"), (_down, "cannot be read"),
        (_empty_store, "no mirrored records"),
    ],
)  # fmt: skip
def test_a_store_that_cannot_be_read_is_one_line(
    folder: Path, tmp_path: Path, make: Callable[[Path], str], part: str
) -> None:
    store = make(folder)
    before = sorted(tmp_path.rglob("*"))
    begun = time.monotonic()
    said = prunebench("leaderboard", "--from-mlflow", store, "--out", tmp_path / "out")
    refused(said, part)
    assert "secret" not in said.err
    assert time.monotonic() - begun < 60
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with silent_server() as port:
        yield port


def test_a_server_that_never_answers_is_one_line(
    silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    assert read.TIMEOUT_S < 60
    monkeypatch.setattr(read, "TIMEOUT_S", 2.0)
    store = f"http://127.0.0.1:{silent}"
    said = prunebench("leaderboard", "--from-mlflow", store, "--out", tmp_path / "out")
    refused(said, "no answer within 2 s")
    assert not list(tmp_path.iterdir())


def test_a_run_that_holds_no_record_is_named(folder: Path, tmp_path: Path) -> None:
    api = client(sqlite_uri(folder / "mlflow.db"))
    made = api.create_run("1", tags={"cell_key": "0" * 16, "record_json": '{"key": "\x1b[31m"}'})
    said = prunebench("leaderboard", "--from-mlflow", folder, "--out", tmp_path / "out")
    refused(said, made.info.run_id)
    assert "\x1b" not in said.err


def test_reading_changes_nothing(folder: Path) -> None:
    before = {name: data for name, data in files(folder).items() if name.startswith("mlflow")}
    assert len(read.mirrored_records(str(folder))) == 18
    after = {name: data for name, data in files(folder).items() if name.startswith("mlflow")}
    assert after == before


def test_every_page_of_a_search_is_read() -> None:
    class Page(list[int]):
        token: str | None = None

    asked: list[tuple[list[str], str | None]] = []

    def search(places: list[str], *, max_results: int, page_token: str | None) -> Page:
        asked.append((places, page_token))
        page = Page(range(3 * len(asked) - 3, 3 * len(asked)))
        page.token = f"after {len(asked)}" if len(asked) < 3 else None
        return page

    assert list(all_pages(search, ["1"])) == list(range(9))
    assert asked == [(["1"], None), (["1"], "after 1"), (["1"], "after 2")]
