"""SQLite files of somebody else, under every verb that opens one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.tracking import BackgroundMirror, sync
from prunebench.bench.tracking.database import check_database
from prunebench.errors import InputError
from prunebench.leaderboard.bundle import unpack
from support.command import prunebench, refused
from support.mirrored import fresh_database, journal_that_removes, mirrored

_BUNDLE = Path(__file__).parents[2] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of one record with its mirror."""
    root = tmp_path_factory.mktemp("origin") / "r"
    store = Store.open(root)
    fresh_database(root / "mlflow.db")
    sync(root, [store.save(unpack(_BUNDLE)[0])])
    return root


@pytest.fixture
def folder(origin: Path, tmp_path: Path) -> Path:
    """A copy of it of the test's own, with a file beside it that nobody may remove."""
    (tmp_path / "thesis.tex").write_text("years of work")
    return Path(shutil.copytree(origin, tmp_path / "r"))


def _execute(folder: Path, *lines: str) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        for line in lines:
            database.execute(line)
        database.commit()


_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def _trigger(folder: Path) -> None:
    """The first tag that is written would take for ever."""
    _execute(folder, f"CREATE TRIGGER t AFTER INSERT ON Experiment_Tags BEGIN {_ENDLESS}; END")


def _removing(folder: Path) -> None:
    journal_that_removes(folder / "mlflow.db", folder.parent / "thesis.tex")


def _view(folder: Path) -> None:
    _execute(folder, "DROP TABLE tags", f"CREATE VIEW tags AS {_ENDLESS}")


def _index(folder: Path) -> None:
    """A gigabyte for the first tag that is written."""
    _execute(
        folder,
        "CREATE INDEX i ON experiment_tags (length(\"Hex\" (zeroblob(500000000)))) WHERE key = 'x'",
    )


def _noise(folder: Path) -> None:
    (folder / "mlflow.db").write_bytes(os.urandom(5000))


HOSTILE = [_trigger, _removing, _view, _index, _noise]


@pytest.mark.parametrize("verb", ["sync", "ui", "leaderboard"])
@pytest.mark.parametrize("spoil", HOSTILE)
def test_a_hostile_database_is_one_line(
    folder: Path, verb: str, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prunebench.bench.cli import ui

    monkeypatch.setattr(ui, "_serve", lambda *_: pytest.fail("a server was started"))
    spoil(folder)
    words = {
        "sync": ["sync", folder],
        "ui": ["ui", folder, "--port", "0"],
        "leaderboard": ["leaderboard", "--from-mlflow", folder, "--out", folder.parent / "out"],
    }[verb]
    refused(prunebench(*words), "mlflow.db")
    assert (folder.parent / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("spoil", HOSTILE)
def test_a_run_goes_on_without_a_hostile_mirror(
    folder: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(folder)
    before = (folder / "mlflow.db").read_bytes()
    begun = time.monotonic()
    with BackgroundMirror(None, folder, "prunebench/r") as tracking:
        tracking.submit(unpack(_BUNDLE)[1], None)
        summary = tracking.close(30)
    assert time.monotonic() - begun < 25
    assert (summary.written, summary.lost) == (0, 1)
    assert "mlflow.db" in summary.reason
    assert (folder / "mlflow.db").read_bytes() == before
    assert (folder.parent / "thesis.tex").read_text() == "years of work"


def test_a_study_in_a_hostile_database_is_one_line(tmp_path: Path) -> None:
    from prunebench.bench.tuning.storage import open_study

    (tmp_path / "thesis.tex").write_text("years of work")
    with closing(sqlite3.connect(tmp_path / "study.db")) as database:
        database.execute("CREATE TABLE t (x)")
    journal_that_removes(tmp_path / "study.db", tmp_path / "thesis.tex")
    with (
        pytest.raises(InputError, match=r"study\.db-journal: is a journal that removes"),
        open_study(tmp_path / "tuning", "s", f"sqlite:///{tmp_path}/study.db", ["maximize"]),
    ):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_what_a_killed_writer_left_is_no_attack(folder: Path, tmp_path: Path) -> None:
    """Half a change in a journal, a database with some of its tables, and one without a byte."""
    before = mirrored(folder)
    copy = Path(shutil.copytree(folder, tmp_path / "copy/r"))
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("UPDATE tags SET value = 'torn'")
        for name in ("mlflow.db", "mlflow.db-journal"):
            shutil.copy(folder / name, copy / name)
    assert (copy / "mlflow.db-journal").stat().st_size > 512
    check_database(copy / "mlflow.db", writing=True)
    assert mirrored(copy) == before
    (copy / "mlflow.db").write_bytes(b"")
    check_database(copy / "mlflow.db", writing=True, partly=True)
    _execute(copy, "CREATE TABLE experiments (experiment_id INTEGER)")
    check_database(copy / "mlflow.db", writing=True, partly=True)
    with pytest.raises(InputError, match="no table"):
        check_database(copy / "mlflow.db")
