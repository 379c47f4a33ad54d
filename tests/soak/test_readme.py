"""The README, followed from top to bottom: its files are written, its commands are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.soak
def test_the_blocks_of_the_readme_run_as_written(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    commands = [line for language, block in found if not language for line in block.splitlines()
                if line.startswith("prunebench ")]  # fmt: skip
    for language, name in (("toml", "mine.toml"), ("python", "drop_tail.py")):
        (block,) = [block for kind, block in found if kind == language]
        (tmp_path / name).write_text(block, encoding="utf-8")
        assert any(name in command for command in commands)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=tmp_path, env={**os.environ, "PATH": path},
                              text=True, capture_output=True, check=False, timeout=900)  # fmt: skip
        assert done.returncode == 0, (command, done.stderr)
    assert len(commands) == 7
    assert (tmp_path / "results" / "mine" / "leaderboard" / "leaderboard.md").is_file()
    assert len(list((tmp_path / "results" / "try" / "records").glob("*.json"))) == 2
