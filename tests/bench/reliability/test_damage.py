"""Damaged records, checkpoints and evidence are set aside with the reason, and made anew."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.runs.checkpoint_file import FILE
from prunebench.record import canonical
from support.command import figures, prunebench, refused
from support.faults import Child, at_step, grid, one_line, same_results, tiny_grid


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def foreign(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY of somebody else" * 40)


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [flip, truncate, empty, foreign, become_folder]
CHECKPOINT = f"checkpoints/*/{FILE}"
KINDS = ["records/*.json", CHECKPOINT, "evidence/*/ids.npy", "evidence/*/manifest.json"]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A grid of one static cell, its results, and a folder that was stopped in that cell: it holds
    a record and evidence of the scoring run, and a checkpoint."""
    folder = tmp_path_factory.mktemp("calm")
    toml = tiny_grid(folder / "tiny.toml", ["small-loss"])
    assert grid(toml, folder / "whole").code == 0

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    said = grid(toml, folder / "half", before=lambda: at_step(75, stop))
    assert said.code == 1, said.err
    return toml, folder / "whole", folder / "half"


def notes(root: Path) -> list[str]:
    found = [json.loads(path.read_text()) for path in root.glob("quarantine/*/reason.json")]
    return [note["reason"] for note in found]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_set_aside_with_the_reason_and_redone(kind, damage, calm, tmp_path):
    toml, undisturbed, half = calm
    root = Path(shutil.copytree(half, tmp_path / "r"))
    (path,) = root.glob(kind)
    damage(path)
    said = prunebench("grid", toml, "--out", root, "-w", "1", "--no-mlflow", "-q")
    assert said.code == 0, said.err
    (note,) = notes(root)
    assert any(part in note for part in (path.name, path.parent.name)), note
    same_results(root, undisturbed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_in_the_place_of_a_file_is_named_and_nothing_is_touched(kind, calm, tmp_path):
    toml, _, half = calm
    root = Path(shutil.copytree(half, tmp_path / "r"))
    (path,) = root.glob(kind)
    dangle(path)
    before = sorted(root.rglob("*"))
    said = prunebench("grid", toml, "--out", root, "-w", "1", "--no-mlflow", "-q")
    refused(said, str(path), "is a link")
    assert sorted(root.rglob("*")) == before


@pytest.fixture(autouse=True)
def _inline(monkeypatch):
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")


def test_evidence_of_another_run_is_not_read_for_this_one(calm, tmp_path):
    """A folder that is whole by its own digests, under a key that is not its own."""
    toml, undisturbed, half = calm
    other = tiny_grid(tmp_path / "other.toml", ["small-loss"], seeds=[7])
    assert grid(other, tmp_path / "other").code == 0
    root = Path(shutil.copytree(half, tmp_path / "r"))
    (own,), (theirs,) = root.glob("evidence/*"), tmp_path.glob("other/evidence/*")
    shutil.rmtree(own)
    shutil.copytree(theirs, own)
    assert grid(toml, root).code == 0
    assert notes(root) == [f"{own}: belongs to {theirs.name}"]
    same_results(root, undisturbed)


def test_a_cost_changed_in_a_manifest_is_seen(calm, tmp_path):
    toml, undisturbed, half = calm
    root = Path(shutil.copytree(half, tmp_path / "r"))
    (path,) = root.glob("evidence/*/manifest.json")
    body = json.loads(path.read_text())
    path.write_text(json.dumps({**body, "trained_per_epoch": body["trained_per_epoch"] - 1}))
    assert grid(toml, root).code == 0
    assert "the manifest was changed" in notes(root)[0]
    same_results(root, undisturbed)


def test_a_checkpoint_of_another_cell_is_not_taken(calm, tmp_path):
    toml, undisturbed, half = calm
    root = Path(shutil.copytree(half, tmp_path / "r"))
    (path,) = root.glob(CHECKPOINT)
    shutil.move(path.parent, path.parent.with_name("0" * 16))
    elsewhere = tmp_path / "elsewhere"
    toml_of_random = tiny_grid(tmp_path / "random.toml", ["random"])

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    assert grid(toml_of_random, elsewhere, before=lambda: at_step(5, stop)).code == 1
    (theirs,) = elsewhere.glob(CHECKPOINT)
    path.parent.mkdir()
    shutil.copy(theirs, path)
    assert grid(toml, root).code == 0
    assert "belongs to" in notes(root)[0]
    shutil.rmtree(root / "checkpoints" / ("0" * 16))
    same_results(root, undisturbed)


def test_damaged_artifacts_are_found_set_aside_and_made_anew(calm, tmp_path):
    toml, undisturbed, _ = calm
    for number, damage in enumerate([flip, truncate, empty, foreign, dangle, Path.unlink]):
        root = Path(shutil.copytree(undisturbed, tmp_path / str(number)))
        path = sorted(root.glob("artifacts/*/predictions.npz"))[number % 2]
        key = path.parent.name
        damage(path)
        assert prunebench("status", root).code == 0  # reads records alone
        said = prunebench("status", root, "--verify", "--json")
        assert said.code == 1
        assert [Path(problem["path"]).name for problem in said.json["problems"]] == [path.name]
        assert prunebench("status", root, "--verify", "--set-aside").code == 1
        assert Store(root).get(key) is None
        assert path.name in notes(root)[0]
        assert grid(toml, root).code == 0
        same_results(root, undisturbed)
        assert prunebench("status", root, "--verify").code == 0


def test_records_of_a_newer_format_are_left_alone(calm, tmp_path):
    """They are whole: an older prunebench refuses them instead of making them anew."""
    toml, undisturbed, _ = calm
    root = Path(shutil.copytree(undisturbed, tmp_path / "r"))
    path = sorted(root.glob("records/*.json"))[0]
    body = json.loads(path.read_text())
    del body["digest"]
    body |= {"schema": 2, "something_new": [1]}
    from hashlib import sha256

    newer = canonical({**body, "digest": sha256(canonical(body).encode()).hexdigest()}) + "\n"
    path.write_text(newer)
    said = Child("grid", toml, "--out", root, "-w", "1", "--no-mlflow", "-q").wait()
    assert said.code == 2
    line = one_line(said)
    assert path.name in line
    assert "schema 2, written by a newer prunebench" in line
    assert path.read_text() == newer
    assert not list((root / "quarantine").iterdir())
    refused(prunebench("grid", toml, "--out", root, "--dry-run"), "written by a newer prunebench")
    said = prunebench("status", root)
    assert said.code == 1
    assert "newer prunebench" in said.out.replace("\n", " ")
    # A flipped bit in the number is damage as any other.
    path.write_text(newer.replace('"schema":2', '"schema":3'))
    assert grid(toml, root).code == 0
    assert figures(root) == figures(undisturbed)
