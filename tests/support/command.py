"""The command line as a user meets it: in this process for speed, or as a real one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from prunebench.bench.cli import main
from prunebench.bench.results.store import Store


@dataclass(frozen=True)
class Said:
    """What a call printed and returned."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON value."""
        return json.loads(self.out)


def prunebench(*arguments: str | Path) -> Said:
    """Runs the entry point in this process."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["prunebench", *map(str, arguments)]
    code: Any = None
    with (
        patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    assert type(code) is int
    return Said(code, out.getvalue(), err.getvalue())


def command(*arguments: str | Path) -> list[str]:
    """The command line of a real process."""
    start = "from prunebench.bench.cli import main; main()"
    return [sys.executable, "-c", start, *map(str, arguments)]


def process(words: Sequence[str], **environment: str) -> Said:
    """Runs a real process to its end."""
    found = subprocess.run(
        words, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return Said(found.returncode, found.stdout, found.stderr)


def figures(root: Path) -> dict[str, Any]:
    """What must not differ between two runs of the same cells, by key."""
    scan = Store(root).scan()
    assert not scan.problems
    return {
        record.key: (
            record.status,
            record.metrics,
            record.ledger,
            {name: entry["sha256"] for name, entry in record.artifacts.items()},
        )
        for record in scan.records
    }


def files(root: Path) -> Mapping[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def refused(said: Said, *parts: str) -> None:
    """Holds that bad input got one line on standard error that names ``parts``, and code 2."""
    assert said.code == 2, said
    assert said.out == ""
    assert said.err.endswith("\n")
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err, said.err
