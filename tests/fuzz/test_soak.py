"""Ten times the cases, freshly drawn each time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.soak
def test_ten_times_as_many() -> None:
    environment = {**os.environ, "PRUNEBENCH_FUZZ": "10"}
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-m",
        "not soak",
        str(Path(__file__).parent),
    ]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
