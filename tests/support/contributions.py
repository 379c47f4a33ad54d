"""A small board, a submission for it, and copies of both that a test may spoil."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunebench.leaderboard.bundle import pack, unpack
from prunebench.record import Record, content_key
from support.command import Said, files, prunebench

GRID = """
name = "{name}"
dataset = "digits"
noise = {noises}
method = {methods}
ratio = 0.5
seed = "0..2"
recipe_params = {{ epochs = 1 }}
"""

WHO = ("--by", "Jane Doe, Univ.", "--contact", "jane@example.org")


def trained(
    folder: Path, name: str, methods: str, *before: str, noises: str = '["clean", "symmetric:0.4"]'
) -> Path:
    """A results folder of a tiny grid."""
    grid = folder / f"{name}.toml"
    grid.write_text(GRID.format(name=name, methods=methods, noises=noises))
    said = prunebench(*before, "grid", grid, "--out", folder / name, "-w", "1", "--no-mlflow", "-q")
    assert said.code == 0, said
    return folder / name


def published(results: Path, board: Path) -> Path:
    """The published board of a results folder."""
    said = prunebench("leaderboard", results, "--publish", board, "--no-figures")
    assert said.code == 0, said
    return board


def submitted(results: Path, to: Path, *more: str | Path, name: str = "first") -> Said:
    """What making a submission said."""
    return prunebench("submit", results, "--name", name, "--to", to, *WHO, *more)


def accepted(submission: Path, board: Path, *more: str | Path) -> Said:
    """What the maintainer's command said; nothing is repeated unless a test asks for it."""
    cells = () if "--cells" in more else ("--cells", "0")
    return prunebench("accept", submission, "--board", board, "--no-figures", "-q", *cells, *more)


def copied(folder: Path, to: Path) -> Path:
    """A copy of a folder."""
    for name, data in files(folder).items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(data)
    return to


def spoiled(folder: Path, change: Callable[[list[Record]], Iterable[Record]]) -> Path:
    """A submission with other records, under a card that has their digest and number."""
    path = folder / "records.jsonl.gz"
    records = list(change(unpack(path)))
    path.write_bytes(pack(records))
    carded(folder, "runs = .*", f"runs = {len(records)}")
    return signed(folder)


def signed(folder: Path) -> Path:
    """A submission whose card has the digest of its records."""
    digest = hashlib.sha256((folder / "records.jsonl.gz").read_bytes()).hexdigest()
    return carded(folder, '(?<="records.jsonl.gz" = ).*', f'"{digest}"')


def carded(folder: Path, pattern: str, text: str) -> Path:
    """A submission with another line in its card."""
    card = folder / "card.toml"
    found, count = re.subn(pattern, lambda _: text, card.read_text(), count=1, flags=re.M)
    assert count == 1, pattern
    card.write_text(found)
    return folder


def other(record: Record, accuracy: float | None = None, **spec: Any) -> Record:
    """A record with another accuracy, or another specification, and the key and digest of it."""
    content = {**record.spec, **spec}
    metrics = record.metrics if accuracy is None else {**record.metrics, "test_accuracy": accuracy}
    return replace(record, spec=content, key=content_key(content), metrics=metrics).sealed()


def versioned(record: Record, version: str) -> Record:
    """A record of another version of its method."""
    return other(record, method={**record.spec["method"], "version": version})


def reasons(said: Said) -> list[str]:
    """Every reason of a refusal, which is all that is printed beside notes."""
    assert (said.code, said.out) == (2, ""), said
    lines = [line for line in said.err.splitlines() if not line.startswith("note: ")]
    assert all(line.startswith("prunebench: accept: refused: ") for line in lines), said
    return [line.removeprefix("prunebench: accept: refused: ") for line in lines]
