"""Databases that a process left while MLflow, or Optuna, made or migrated their schema."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.tracking import schema, sync
from prunebench.bench.tracking.client import TrackingError
from prunebench.bench.tracking.database import check_database, sqlite_uri
from prunebench.bench.tracking.identity import identity
from prunebench.bench.tracking.schema import is_whole, make_whole
from prunebench.errors import InputError
from prunebench.leaderboard.bundle import unpack
from support.command import prunebench, refused
from support.mirrored import client, mirrored

_BUNDLE = Path(__file__).parents[3] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"


@contextmanager
def stages(file: Path, into: Path) -> Iterator[list[Path]]:
    """Copies of an SQLite file, as a kill before or after each statement would leave it."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    seen: set[bytes] = set()
    copies: list[Path] = []

    def look(connection: Any, cursor: Any, statement: str, *_: object) -> None:
        ours = file.name in str(connection.engine.url.database) and file.is_file()
        if not ours or statement.lstrip().startswith(("PRAGMA", "SELECT")):
            return
        journal = Path(f"{file}-journal")
        content, left = file.read_bytes(), journal.read_bytes() if journal.is_file() else b""
        digest = sha256(content + left).digest()
        if digest in seen:
            return
        seen.add(digest)
        copy = into / str(len(copies)) / file.name
        copy.parent.mkdir(parents=True)
        copy.write_bytes(content)
        if left:
            Path(f"{copy}-journal").write_bytes(left)
        copies.append(copy)

    names = ("before_cursor_execute", "after_cursor_execute")
    for name in names:
        event.listen(Engine, name, look)
    try:
        yield copies
    finally:
        for name in names:
            event.remove(Engine, name, look)


def _read(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def _names(path: Path) -> list[Any]:
    return sorted(_read(path, "SELECT type, name FROM sqlite_master"))


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A creation of MLflow's schema, statement by statement."""
    folder = tmp_path_factory.mktemp("stages")
    with stages(folder / "mlflow.db", folder / "each") as copies:
        client(sqlite_uri(folder / "mlflow.db"))
    assert len(copies) > 100
    return copies


def _planted(stage: Path, root: Path) -> Path:
    """A results folder that holds what a kill left."""
    root.mkdir(parents=True)
    for path in stage.parent.glob("mlflow.db*"):
        shutil.copy(path, root)
    check_database(root / "mlflow.db", writing=True, partly=True)
    return root


@pytest.fixture
def quick(created: list[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole database, which is copied where one would be made: that takes seconds."""
    whole = created[0].parents[2] / "mlflow.db"
    monkeypatch.setattr(schema, "_create", lambda path, _: shutil.copyfile(whole, path))
    return whole


@pytest.fixture(scope="module")
def migrating(created: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A whole database of an earlier MLflow, and one that was left in the middle of a migration."""
    folder = tmp_path_factory.mktemp("migrating")
    groups: dict[str, list[Path]] = {}
    for number, stage in enumerate(created[-60:]):
        root = _planted(stage, folder / str(number))
        for version in schema._versions(root / "mlflow.db"):
            groups.setdefault(version, []).append(root)
    groups.popitem()  # the present version
    for version, group in reversed(list(groups.items())):
        if schema._migrated(group[-1] / "mlflow.db", folder / f"{version}.db"):
            return group[0], group[-1]
    raise AssertionError("MLflow completes every schema")


def _with_runs(origin: Path, root: Path, folder: str = "") -> Path:
    """A copy in which a run of the folder, or of another one, was mirrored."""
    path = Path(shutil.copytree(origin, root)) / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage) "
            "VALUES (1, 'prunebench/r', 'active')"
        )
        database.execute(
            "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage, status) "
            "VALUES ('r', 1, 'active', 'FINISHED')"
        )
        tags = {"cell_key": "feed", "results_id": folder or identity(root).name}
        for key, value in tags.items():
            database.execute("INSERT INTO tags VALUES (?, ?, 'r')", (key, value))
        database.commit()
    return root


def test_every_stage_of_a_creation_becomes_whole(
    created: list[Path], quick: Path, tmp_path: Path
) -> None:
    """Those without a row, and two of the others, which MLflow tries to migrate first."""
    filled = 0
    for number, stage in enumerate(created):
        if number % 15:
            continue
        root = _planted(stage, tmp_path / str(number))
        filled += bool(schema._filled(root / "mlflow.db"))
        if filled and filled % 6 != 1:
            continue
        make_whole(root, identity(root))
        assert is_whole(root / "mlflow.db"), number
        assert _names(root / "mlflow.db") == _names(quick), number
        assert list((root / ".tmp").iterdir()) == []
    assert filled


def test_sync_fills_what_a_kill_left(migrating: tuple[Path, Path], tmp_path: Path) -> None:
    record = unpack(_BUNDLE)[0]
    root = Path(shutil.copytree(migrating[1], tmp_path / "r"))
    assert sync(root, [record]).created == 1
    assert mirrored(root) == {record.key: record.digest}


def test_runs_of_an_earlier_mlflow_are_migrated(
    migrating: tuple[Path, Path], tmp_path: Path
) -> None:
    root = _with_runs(migrating[0], tmp_path / "r", folder="0" * 32)
    make_whole(root, identity(root))
    assert is_whole(root / "mlflow.db")
    assert _read(root / "mlflow.db", "SELECT run_uuid FROM runs") == [("r",)]


@pytest.mark.usefixtures("quick")
def test_runs_in_a_half_migrated_database(migrating: tuple[Path, Path], tmp_path: Path) -> None:
    """Those of the folder are in its records; those of others are not, and a file stays."""
    others = _with_runs(migrating[1], tmp_path / "others", folder="0" * 32)
    before = (others / "mlflow.db").read_bytes()
    with pytest.raises(InputError, match=r"mlflow\.db: MLflow cannot migrate it .* runs of others"):
        sync(others, [])
    assert (others / "mlflow.db").read_bytes() == before
    own = _with_runs(migrating[1], tmp_path / "own")
    (own / "records").mkdir()
    refused(prunebench("ui", own, "--port", "0"), "mlflow.db: was left half made")
    make_whole(own, identity(own))
    assert _read(own / "mlflow.db", "SELECT run_uuid FROM runs") == []


def test_a_newer_database_is_left_alone(quick: Path, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    path = Path(shutil.copy(quick, tmp_path / "r/mlflow.db"))
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        database.commit()
    with pytest.raises(InputError, match=r"mlflow\.db: a newer MLflow wrote it"):
        sync(path.parent, [])
    refused(prunebench("leaderboard", "--from-mlflow", path, "--out", tmp_path / "o"), "mlflow.db")


def test_a_store_elsewhere_is_left_as_it_is(migrating: tuple[Path, Path], tmp_path: Path) -> None:
    shared = Path(shutil.copytree(migrating[1], tmp_path / "shared")) / "mlflow.db"
    (tmp_path / "r").mkdir()
    with pytest.raises(
        TrackingError, match=r"shared/mlflow\.db.* half made; run `mlflow db upgrade`"
    ):
        sync(tmp_path / "r", [], uri=sqlite_uri(shared))
    assert not is_whole(shared)


@pytest.mark.usefixtures("quick")
def test_an_open_reader_sees_the_new_content(migrating: tuple[Path, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(migrating[1], tmp_path / "r"))
    with closing(sqlite3.connect(root / "mlflow.db")) as reader:
        count = "SELECT count(*) FROM alembic_version WHERE version_num = ?"
        head = schema._scripts().get_current_head()
        assert reader.execute(count, (head,)).fetchone() == (0,)
        make_whole(root, identity(root))
        assert reader.execute(count, (head,)).fetchone() == (1,)


def test_a_killed_copy_leaves_the_old_content(
    migrating: tuple[Path, Path], quick: Path, tmp_path: Path
) -> None:
    """The database with its journal, in the middle of the transaction that puts the new content
    in its place."""
    root = Path(shutil.copytree(migrating[1], tmp_path / "r"))
    before = _names(root / "mlflow.db")
    left = tmp_path / "left"
    left.mkdir()

    def kill(*_: int) -> None:
        for path in root.glob("mlflow.db*"):
            shutil.copy(path, left)

    with (
        closing(sqlite3.connect(quick)) as old,
        closing(sqlite3.connect(root / "mlflow.db")) as new,
    ):
        new.execute("PRAGMA cache_size = 1")
        old.backup(new, pages=20, progress=kill)
    assert (left / "mlflow.db-journal").stat().st_size > 512
    check_database(left / "mlflow.db", writing=True, partly=True)
    assert _names(left / "mlflow.db") == before


def test_a_study_opens_from_any_stage_of_its_database(tmp_path: Path) -> None:
    """Optuna makes what is missing, and has no migrations to repeat in a new database."""
    from prunebench.bench.tuning.storage import open_study

    file = tmp_path / "study.db"
    with (
        stages(file, tmp_path / "each") as copies,
        open_study(tmp_path / "tuning", "s", f"sqlite:///{file}", ["maximize"]),
    ):
        pass
    assert len(copies) > 20
    for copy in copies[::6]:
        with open_study(copy.parent / "tuning", "s", f"sqlite:///{copy}", ["maximize"]) as study:
            study.tell(study.ask(), 1.0)
            assert study.best_value == 1.0
