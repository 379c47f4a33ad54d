"""Links in a results folder or a publication are named and refused; what they lead to stays."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.executors.local.process import Launch, WorkerProcess
from prunebench.bench.results.store import _WRITTEN, Store
from prunebench.bench.runs.checkpoint_file import FILE
from prunebench.bench.tracking.mirror import writer_lock
from prunebench.bench.tuning.storage import open_study
from prunebench.errors import InputError
from prunebench.files import OwnFolder, open_regular, write_atomic
from prunebench.leaderboard.bundle import unpack
from support.command import prunebench, refused
from support.tuning import Fake, go, tiny

_BUNDLE = Path(__file__).parents[2] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"
RECORD = replace(unpack(_BUNDLE)[0], artifacts={})
KEY = RECORD.key
RUN = ("run", "--dataset", "synthetic", "--dataset-param", "n=180", "--recipe-param", "epochs=1",
       "--no-mlflow", "-q")  # fmt: skip
TUNE = ("tune", "--method", "infobatch", "--trials", "1", "--no-mlflow", "-q", "--study", "s")

#: Every place that a results folder has, as far as it is not found by walking one.
PLACES = (
    *_WRITTEN, f"records/{KEY}.json", f"artifacts/{KEY}", f"evidence/{KEY}",
    f"evidence/{KEY}/manifest.json", "claims/.lock", "claims/.clock", f"claims/{KEY}.json",
    f"checkpoints/{KEY}", f"checkpoints/{KEY}/{FILE}", ".tmp/work~ffffffffffff~1~1~aa",
    "logs/slot-0.log", "leaderboard/leaderboard.md", "leaderboard/figures",
    "leaderboard/figures/x.svg", "tuning/s.journal", "tuning/.s.lock", "tuning/s.json",
    "tuning/s.report.json", "tuning/s.report.md", "known/x", "mlartifacts/eval",
    "mlartifacts/eval/0",
)  # fmt: skip


def tree(folder: Path) -> dict[str, Any]:
    """Everything below a folder: content, time of change, targets of links."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def decoy(tmp_path: Path) -> Path:
    """Somebody's files, long unchanged: what a link in a results folder leads to."""
    folder = tmp_path / "home"
    (folder / KEY / "deep").mkdir(parents=True)
    old = time.time() - 30 * 86400
    for name in ("thesis.tex", "half a line", f"{KEY}.json", f"{KEY}/{FILE}", f"{KEY}/deep/x"):
        (folder / name).write_text("mine, without an end of line")
        os.utime(folder / name, (old, old))
    os.utime(folder, (old, old))
    return folder


def plant(root: Path, place: str, decoy: Path) -> Path:
    """Puts a link in a place, to a folder or a file as it stands there."""
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.is_dir() or (path.suffix == "" and not path.name.startswith("."))
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(decoy if folder else decoy / "thesis.tex")
    return path


@pytest.mark.parametrize("place", PLACES)
def test_verbs_that_write_refuse_a_link_in_any_place(
    place: str, tmp_path: Path, decoy: Path
) -> None:
    root = tmp_path / "r"
    Store.open(root).save(RECORD, {"epochs.csv": b"x"})
    other = Store.open(tmp_path / "other")
    other.save(replace(unpack(_BUNDLE)[1], artifacts={}))
    link = plant(root, place, decoy)
    before, mine = tree(decoy), tree(root)
    for words in (("leaderboard", "merge", other.root, "--out", root), ("sync", root),
                  ("ui", root)):  # fmt: skip
        if place == "records" and words[0] != "leaderboard":
            continue  # there is no results folder then
        refused(prunebench(*words), str(link), "is a link")
    assert tree(decoy) == before
    assert tree(root) == mine


@pytest.mark.parametrize(
    "place", [".tmp", "checkpoints", "claims/.clock", "logs", "tuning/s.journal", "mlflow.db"]
)
def test_verbs_that_train_refuse_before_they_train(place: str, tmp_path: Path, decoy: Path) -> None:
    root = tmp_path / "r"
    Store.open(root)
    link = plant(root, place, decoy)
    grid = tmp_path / "g.toml"
    grid.write_text('name = "g"\ndataset = "digits"\nmethod = "full"\n')
    before, mine = tree(decoy), tree(root)
    for words in (RUN, TUNE, ("grid", grid, "--no-mlflow", "-q"), ("demo", "--no-mlflow", "-q")):
        refused(prunebench(*words, "--out", root), str(link), "is a link")
    assert tree(decoy) == before
    assert tree(root) == mine


def test_a_stale_lock_of_optuna_stops_no_study(tmp_path: Path, decoy: Path) -> None:
    """Optuna's lock is a link; studies of earlier versions left it behind when they were killed."""
    root = tmp_path / "r"
    Store.open(root)
    lock = plant(root, "tuning/s.journal.lock", decoy)
    before = tree(decoy)
    Store.open(root).check()
    with open_study(root / "tuning", "s", None, ["maximize"]) as study:
        assert not study.trials
    assert lock.is_symlink()
    assert tree(decoy) == before


def test_every_entry_that_a_run_leaves_is_known(tmp_path: Path) -> None:
    """A new folder or file at the top must be looked at too."""
    root = tmp_path / "r"
    assert prunebench(*RUN, "--method", "small-loss", "--ratio", "0.5", "--out", root).code == 0
    assert prunebench("leaderboard", root).code == 0
    go(tiny(), root, Fake(store=Store.open(root)))
    assert {path.name for path in root.iterdir()} <= set(_WRITTEN)
    key = next(path.name for path in (root / "artifacts").iterdir())
    decoy = tmp_path / "x"
    decoy.write_text("x")
    for path in [p for p in sorted(root.rglob("*")) if p.is_file() and key in str(p)]:
        (aside := tmp_path / "aside").unlink(missing_ok=True)
        path.rename(aside)
        path.symlink_to(decoy)
        said = prunebench(*RUN, "--method", "random", "--ratio", "0.5", "--out", root)
        if "artifacts" not in path.parts:  # those of other cells are not looked at
            refused(said, str(path), "is a link")
        path.unlink()
        aside.rename(path)
    assert decoy.read_text() == "x"


def test_artifacts_of_a_cell_are_looked_at_before_it_trains(tmp_path: Path, decoy: Path) -> None:
    root = tmp_path / "r"
    assert prunebench(*RUN, "--out", root).code == 0
    (record,) = (root / "records").iterdir()
    record.unlink()
    link = plant(root, f"artifacts/{record.stem}/epochs.csv", decoy)
    before = tree(decoy)
    refused(prunebench(*RUN, "--out", root), str(link), "is a link")
    assert tree(decoy) == before


@pytest.mark.parametrize("place", ["leaderboard", "leaderboard/leaderboard.md"])
def test_boards_are_not_written_through_links(place: str, tmp_path: Path, decoy: Path) -> None:
    root = tmp_path / "r"
    Store.open(root).save(RECORD)
    link = plant(root, place, decoy)
    before = tree(decoy)
    for words in (("leaderboard", root), ("leaderboard", root, "--out", root / "leaderboard")):
        refused(prunebench(*words), str(link), "is a link")
    assert tree(decoy) == before


@pytest.mark.parametrize("place", ["leaderboard", "leaderboard/x.csv"])
def test_exports_into_a_results_folder_follow_no_links(
    place: str, tmp_path: Path, decoy: Path
) -> None:
    root = tmp_path / "r"
    record = Store.open(root).save(RECORD, {"epochs.csv": b"epoch\n1\n"})
    words = ("export", record.key, root, "--what", "epochs", "--to")
    assert prunebench(*words, root / "leaderboard/fine.csv").code == 0
    link = plant(root, place, decoy)
    before = tree(decoy)
    refused(prunebench(*words, root / "leaderboard/x.csv"), str(link), "is a link")
    assert tree(decoy) == before


def test_status_moves_no_links_and_writes_through_none(tmp_path: Path, decoy: Path) -> None:
    root = tmp_path / "r"
    Store.open(root)
    for place in (f"records/{KEY}.json", f"claims/{KEY}.json", "claims/.clock"):
        (root / "claims" / f"{KEY}.json").write_text("{}")
        link = plant(root, place, decoy)
        before = tree(decoy)
        refused(prunebench("status", root, "--set-aside"), str(link), "is a link")
        assert tree(decoy) == before
        link.unlink()


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "r").symlink_to(tmp_path / "disk")
    assert prunebench(*RUN, "--out", tmp_path / "r").code == 0
    assert prunebench("leaderboard", tmp_path / "r").code == 0
    assert list((tmp_path / "disk" / "records").iterdir())


def _late(own: OwnFolder, root: Path, decoy: Path) -> list[tuple[str, Callable[[], Any]]]:
    inside, above = root / "tuning" / "link", root / "away" / KEY
    other = root / "tuning" / "other"
    return [
        ("write", lambda: own.write(inside, b"theirs")),
        ("append", lambda: own.open(inside, os.O_RDWR | os.O_APPEND | os.O_CREAT)),
        ("truncate", lambda: own.open(inside, os.O_WRONLY | os.O_TRUNC)),
        ("remove", lambda: own.remove(inside)),
        ("move over", lambda: own.rename(other, inside)),
        ("write below", lambda: own.write(above / "x", b"theirs")),
        ("make below", lambda: own.make_new(above / "new")),
        ("open below", lambda: own.open(above / FILE, os.O_WRONLY)),
        ("remove below", lambda: own.remove(above)),
        ("move from below", lambda: own.rename(above, root / "tuning" / "moved")),
        ("move below", lambda: own.rename(other, above / "moved")),
        ("list", lambda: own.entries(root / "away")),
    ]


@pytest.mark.parametrize("number", range(12))
def test_a_link_that_appears_after_the_look_leads_nowhere(
    number: int, tmp_path: Path, decoy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A race: the link is not there when the place is looked at, and there when it is opened."""
    root = tmp_path / "r"
    (root / "tuning" / "other").mkdir(parents=True)
    (root / "tuning" / "link").symlink_to(decoy / "thesis.tex")
    (root / "away").symlink_to(decoy)
    before = tree(decoy)
    own = OwnFolder(root)
    name, call = _late(own, root, decoy)[number]
    with pytest.raises(InputError, match="is a link"):
        call()
    assert tree(decoy) == before, name
    monkeypatch.setattr(OwnFolder, "_need_no_link", lambda *arguments: None)
    try:
        found = call()
    except OSError:
        found = None
    assert not isinstance(found, int), "a foreign file was opened"
    assert found != [KEY]
    assert tree(decoy) == before, name


def test_a_folder_that_becomes_a_link_is_not_emptied(tmp_path: Path, decoy: Path) -> None:
    root = tmp_path / "r"
    (root / "checkpoints" / KEY).mkdir(parents=True)
    (root / "checkpoints" / KEY / "deep").symlink_to(decoy)
    before = tree(decoy)
    OwnFolder(root).remove(root / "checkpoints" / KEY)
    assert not (root / "checkpoints" / KEY).exists()
    assert tree(decoy) == before


def test_logs_and_locks_are_not_opened_through_links(tmp_path: Path, decoy: Path) -> None:
    root = tmp_path / "r"
    (root / "logs").mkdir(parents=True)
    for link in (root / "logs" / "slot-0.log", root / "mlflow.lock"):
        link.symlink_to(decoy / "thesis.tex")
    before = tree(decoy)
    with pytest.raises(InputError, match=r"slot-0\.log: is a link"):
        WorkerProcess(0, "cpu", Launch("x:y", 1, (), {}, root / "logs"))
    with pytest.raises(InputError, match=r"mlflow\.lock: is a link"):
        writer_lock(root)
    assert tree(decoy) == before


def test_an_atomic_write_replaces_a_link(tmp_path: Path, decoy: Path) -> None:
    """Outside results folders, where the path is the user's."""
    (link := tmp_path / "out.csv").symlink_to(decoy / "thesis.tex")
    before = tree(decoy)
    write_atomic(link, b"new")
    assert (link.is_symlink(), link.read_bytes()) == (False, b"new")
    assert tree(decoy) == before


@pytest.mark.parametrize("place", [f"claims/{KEY}.json", f"records/{KEY}.json"])
def test_pipes_and_devices_are_not_opened(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "r"
    Store.open(root)
    os.mkfifo(root / place)
    opened: list[str] = []
    real = os.open

    def watch(path: Any, *arguments: Any, **named: Any) -> int:
        opened.append(Path(path).name)
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", watch)
    said = prunebench("status", root)
    assert said.code in (1, 2)
    assert Path(place).name in (said.out + said.err).replace("\n", "")
    assert Path(place).name not in opened
    refused(prunebench(*RUN, "--out", root), Path(place).name, "is a pipe")
    with pytest.raises(OSError, match="no regular file"):
        open_regular("/dev/null")


@pytest.mark.parametrize(
    "name",
    ["figures", "figures/pairs.svg", "records.jsonl.gz", "protocol.toml", "leaderboard.html",
     "README.md"],
)  # fmt: skip
def test_a_publication_with_links_is_not_rendered(
    name: str, tmp_path: Path, decoy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command that its README tells people to run."""
    folder = tmp_path / "publication"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "wins.svg").write_text("<svg/>")
    shutil.copy(_BUNDLE, folder / "records.jsonl.gz")
    (folder / "protocol.toml").write_text('reference = "full"\n')
    secret = tmp_path / "real"
    if name in ("records.jsonl.gz", "protocol.toml"):
        (folder / name).rename(secret)
        (folder / name).symlink_to(secret)
    else:
        plant(folder, name, decoy)
    monkeypatch.chdir(folder)
    before, mine = tree(decoy), tree(folder)
    words = ["leaderboard", "records.jsonl.gz", "--protocol", "protocol.toml", "--no-figures"]
    refused(prunebench(*words, "--publish", "."), name.partition("/")[0], "is a link")
    assert tree(decoy) == before
    assert tree(folder) == mine


def test_figures_of_a_publication_are_kept_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "publication"
    (folder / "figures").mkdir(parents=True)
    for name in ("wins.svg", "wins.png", "figures.md", "key.pem"):
        (folder / "figures" / name).write_text(name)
    (folder / "figures" / "x.svg").mkdir()
    (folder / "unrelated").symlink_to(tmp_path)
    said = prunebench("leaderboard", _BUNDLE, "--no-figures", "--publish", folder, "--json")
    assert said.code == 0, said.err
    figures = [path for path in said.json if "/figures/" in path]
    assert [Path(path).name for path in figures] == ["figures.md", "wins.png", "wins.svg"]


@pytest.mark.parametrize(
    "name", ["README.md", "records.jsonl.gz", "protocol.toml", "leaderboard.md", "figures"]
)
def test_a_folder_in_the_place_of_a_published_file_is_one_line(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "publication"
    folder.mkdir()
    if name == "figures":
        (folder / name).write_text("no folder")
    else:
        (folder / name).mkdir()
    before = tree(folder)
    words = ["leaderboard", _BUNDLE, "--no-figures", "--publish", folder]
    refused(prunebench(*words), name, "is in the way")
    assert tree(folder) == before
