"""Reading everything that records name: what a plain scan of the records cannot see."""

from __future__ import annotations

import os
from collections.abc import Iterable

from prunebench.bench.results.manifest import Damaged, read_manifest, verify
from prunebench.bench.results.names import is_key
from prunebench.bench.results.store import Problem, Store
from prunebench.errors import InputError
from prunebench.record import NewerRecord, Record, parse


def artifact_problems(store: Store, records: Iterable[Record]) -> list[Problem]:
    """Artifacts that are missing, or whose bytes are not those of their digest."""
    found: list[Problem] = []
    for record in records:
        for name in sorted(record.artifacts):
            try:
                store.artifact(record.key, name)
            except InputError as error:
                path = store.artifacts / record.key / name
                found.append(Problem(path, error.what))
    return found


def evidence_problems(store: Store) -> list[Problem]:
    """Evidence folders that are torn or were changed."""
    found: list[Problem] = []
    place = store.root / "evidence"
    for name in sorted(os.listdir(place) if place.is_dir() else []):
        if not is_key(name):
            continue
        try:
            manifest = read_manifest(place / name)
            if manifest is not None:
                verify(place / name, manifest)
        except Damaged as error:
            found.append(Problem(place / name, str(error).partition(": ")[2]))
    return found


def set_aside(store: Store, problems: Iterable[Problem]) -> None:
    """Moves what is damaged to ``quarantine/``: a record with all its artifacts, or evidence.

    Records of a newer format stay.
    """
    gone: set[str] = set()
    for problem in problems:
        path, reason = problem.path, f"{problem.path.name}: {problem.reason}"
        if path.parent == store.root / "evidence":
            store.set_aside(path, reason)
            continue
        key = path.parent.name if path.parent.parent == store.artifacts else path.stem
        if key not in gone and not (path.parent == store.records and _newer(path)):
            store.quarantine(key if is_key(key) else path, reason)
        gone.add(key)


def _newer(path: os.PathLike[str]) -> bool:
    try:
        with open(path, "rb") as file:
            parse(file.read())
    except NewerRecord:
        return True
    except (InputError, OSError):
        pass
    return False
