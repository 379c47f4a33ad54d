"""A results folder that is full, read-only or gone: one line, nothing torn, and it goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.grids.mixture import of_cells
from prunebench.bench.results.planned import add_plan
from prunebench.bench.results.store import Store
from prunebench.errors import FolderError
from support.command import command
from support.faults import (
    Child,
    at_step,
    become_nobody,
    file_limit,
    fill,
    grid,
    one_line,
    place_of_nobody,
    same_results,
    small_disk,
    tiny_grid,
    whole,
)

METHODS = ["random", "small-loss"]
GOES_ON = "; finished cells are recorded, the same command goes on"


@pytest.fixture
def calm(tmp_path):
    """A small grid, and its results when nothing goes wrong."""
    toml = tiny_grid(tmp_path / "tiny.toml", METHODS)
    assert grid(toml, tmp_path / "calm").code == 0
    return toml, tmp_path / "calm"


def stopped(said, *parts):
    line = one_line(said)
    assert said.code == 1, line
    assert line.startswith(f"prunebench: stopped: {FolderError.START}"), line
    for part in (*parts, GOES_ON):
        assert part in line, line


def test_files_that_cannot_grow_stop_the_run_and_it_goes_on_with_more_room(calm, tmp_path):
    """Every size fails at another file: the plan, a claim, a record, evidence, a checkpoint, a view
    of a scoring run (beside its checkpoint)."""
    toml, undisturbed = calm
    root, refused = tmp_path / "full", set()
    alone = tiny_grid(tmp_path / "alone.toml", METHODS[:1])
    rows = tiny_grid(tmp_path / "rows.toml", ["forgetting"])  # no views
    stopped(grid(toml, root, before=file_limit(60)), f"{root}/planned/")
    for file in (toml, alone, rows):
        loaded, where = read_grid(file)
        add_plan(Store.open(root), loaded.name, of_cells(expand(loaded, where)))
    for size, every, what in (
        (60, "0", toml), (400, "1e9", alone), (1000, "0", toml), (1000, "1e9", toml),
        (1000, "1e9", rows),
    ):  # fmt: skip
        said = grid(what, root, "--checkpoint-s", every, before=file_limit(size))
        stopped(said)
        path, _, why = said.err.split(FolderError.START)[1].partition(" (")
        assert why.startswith(("File too large", "No space left", "a file was cut"))
        path = Path(path)
        refused.add(path.relative_to(root).parts[0])
        whole(root)
    assert refused == {"claims", "checkpoints", "artifacts", "evidence"}
    assert grid(toml, root).code == 0
    same_results(root, undisturbed)
    assert not list((root / "quarantine").iterdir())


def test_a_disk_that_fills_up_and_has_room_again(calm, tmp_path):
    toml, undisturbed = calm
    with small_disk(tmp_path / "disk") as disk:
        root = disk / "r"
        said = grid(toml, root, before=lambda: at_step(30, lambda: fill(disk)))
        stopped(said, "No space left on device")
        whole(root)
        said = grid(toml, root)
        assert said.code in (1, 2)
        assert "No space left on device" in one_line(said)
        (disk / "ballast").unlink()
        assert grid(toml, root).code == 0
        same_results(root, undisturbed)


def test_output_to_a_full_device_is_one_line(calm):
    _, undisturbed = calm
    with open("/dev/full", "w") as full:
        line = command("status", undisturbed, "--json")
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("prunebench: stopped: No space left on device")
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_may_not_be_written_is_bad_input(calm):
    toml, _ = calm
    with place_of_nobody() as place:
        grid_file = Path(shutil.copy(toml, place))
        place.chmod(0o555)
        said = grid(grid_file, place / "r", before=become_nobody)
        assert said.code == 2
        assert "the results folder cannot be written (Permission denied)" in one_line(said)


def test_a_folder_that_becomes_read_only_stops_the_run(calm):
    toml, undisturbed = calm
    with place_of_nobody() as place:
        grid_file, root = Path(shutil.copy(toml, place)), place / "r"

        def lock(mode):
            for name in ("records", ".tmp", "artifacts", "evidence", "quarantine"):
                (root / name).chmod(mode)

        def before():
            become_nobody()
            at_step(30, lambda: lock(0o555))

        stopped(grid(grid_file, root, before=before), "Permission denied")
        whole(root)
        said = grid(grid_file, root, before=become_nobody)
        assert said.code == 2
        assert "cannot be written" in one_line(said)
        lock(0o755)
        assert grid(grid_file, root, before=become_nobody).code == 0
        same_results(root, undisturbed)


def test_a_folder_that_is_removed_under_a_run_is_noticed_and_not_half_made_anew(calm, tmp_path):
    toml, undisturbed = calm
    root = tmp_path / "gone"
    said = grid(toml, root, before=lambda: at_step(30, lambda: shutil.rmtree(root)))
    stopped(said, "it was removed")
    assert not (root / "records").exists()
    assert grid(toml, root).code == 0
    same_results(root, undisturbed)


def test_a_copy_made_under_a_run_is_a_folder_of_its_own(calm, tmp_path):
    """The copied claim holds for as long as its holder lives; then the copy goes on by itself."""
    toml, undisturbed = calm
    root, copy = tmp_path / "r", tmp_path / "copy"
    said = grid(toml, root, "--checkpoint-s", "0",
                before=lambda: at_step(40, lambda: shutil.copytree(root, copy)))  # fmt: skip
    assert said.code == 0
    assert list(copy.glob("claims/*.json"))
    assert list(copy.glob("checkpoints/*/*"))
    assert grid(toml, copy).code == 0
    same_results(copy, undisturbed)
    same_results(root, undisturbed)


def test_stale_locks_and_temporaries_are_in_nobodys_way(calm, tmp_path):
    toml, undisturbed = calm
    root = tmp_path / "stale"
    for name in ("claims", ".tmp"):
        (root / name).mkdir(parents=True)
    old = [root / "mlflow.lock", root / "claims/.lock", root / "claims/.clock",
           root / ".tmp/.file~0123456789ab~1~1~aa.xx.tmp", root / ".tmp/anything"]  # fmt: skip
    for path in old:
        path.write_text("left by somebody")
        os.utime(path, (0, 0))
    assert grid(toml, root).code == 0
    assert not list((root / ".tmp").iterdir())
    same_results(root, undisturbed)


def test_a_disk_without_room_for_the_first_folder_is_bad_input(calm, tmp_path):
    toml, _ = calm
    (tmp_path / "file").touch()
    said = Child("grid", toml, "--out", tmp_path / "file" / "r", "-q", "--no-mlflow").wait()
    assert said.code == 2
    assert "the results folder cannot be written" in one_line(said)
