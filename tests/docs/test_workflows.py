"""The workflows' own lines do what they say, in a repository of a test."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

WORKFLOW = Path(__file__).parents[2] / ".github/workflows/leaderboard.yml"
pytestmark = pytest.mark.skipif(
    not (shutil.which("git") and shutil.which("bash")), reason="needs git and bash"
)


def step(name: str) -> str:
    """The lines of a step."""
    lines = rf"- name: {re.escape(name)}\n        run: (?:\|\n)?((?:.+\n)+?)(?=      -|\Z)"
    (found,) = re.findall(lines, WORKFLOW.read_text())
    return textwrap.dedent(found)


def run(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A step as it is run there: bash ends at the first line that fails."""
    return subprocess.run(["bash", "-e", "-o", "pipefail", "-c", step(name)], cwd=folder,
                          capture_output=True, text=True, timeout=60)  # fmt: skip


def git(folder: Path, *words: str) -> None:
    own = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True, timeout=60)


def test_pages_that_are_not_in_the_pull_request_are_found(tmp_path: Path) -> None:
    name = "The files are those of the records"
    board = tmp_path / "docs/leaderboards/new"
    board.mkdir(parents=True)
    page = board / "README.md"
    page.write_text("one")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    assert run(name, tmp_path).returncode == 0
    (board / "leaderboard.md").write_text("rendered, and not handed in")
    said = run(name, tmp_path)
    assert said.returncode != 0
    assert "new/leaderboard.md" in said.stdout
    (board / "leaderboard.md").unlink()
    page.write_text("two")
    said = run(name, tmp_path)
    assert said.returncode != 0
    assert "+two" in said.stdout


def test_every_folder_of_submissions_is_looked_at(tmp_path: Path) -> None:
    name = "Nothing speaks against the submissions"
    command = tmp_path / ".venv/bin/prunebench"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\necho "$@"\ntest -f "$2/card.toml"\n')
    command.chmod(0o755)
    assert run(name, tmp_path).returncode == 0
    for folder in ("a card", "b", "c"):
        (tmp_path / "submissions" / folder).mkdir(parents=True)
        (tmp_path / "submissions" / folder / "card.toml").write_text("")
    assert run(name, tmp_path).returncode == 0
    (tmp_path / "submissions/b/card.toml").unlink()
    said = run(name, tmp_path)
    assert said.returncode == 1
    assert said.stdout.splitlines() == [
        f"accept submissions/{folder} --dry-run --cells 0 --quiet --boards docs/leaderboards"
        for folder in ("a card", "b", "c")
    ]
