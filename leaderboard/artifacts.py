"""Artifacts of runs, read where their results folders are at hand, and checked by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from prunebench.errors import InputError
from prunebench.files import read_at_most
from prunebench.leaderboard.board.collect import Run


def nothing(run: Run, name: str) -> bytes | None:
    """The reader of a source without artifacts."""
    return None


def artifact_reader(roots: Sequence[Path]) -> Callable[[Run, str], bytes | None]:
    """Reads ``artifacts/<key>/<name>`` below results folders and checks digests.

    Args:
        roots: Results folders; others (bundles) hold no artifacts and are passed over.
    """

    def read(run: Run, name: str) -> bytes | None:
        entry = run.record.artifacts.get(name)
        if entry is None:
            return None
        damaged: Path | None = None
        for root in roots:
            path = root / "artifacts" / run.record.key / name
            try:
                data = read_at_most(path, entry["bytes"])
            except OSError:
                continue
            if hashlib.sha256(data).hexdigest() == entry["sha256"]:
                return data
            damaged = path
        if damaged is not None:
            raise InputError("the file is not the one its record names", where=str(damaged),
                             accepted=f"sha256 {entry['sha256'][:16]}...")  # fmt: skip
        return None

    return read
