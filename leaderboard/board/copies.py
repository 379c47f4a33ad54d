"""Several records of one key: one run where its results are the same, a conflict otherwise."""

from __future__ import annotations

from collections.abc import Iterable

from prunebench.errors import InputError
from prunebench.record import FINAL, Record

#: Facts that a result depends on; others say how and under which name it was made.
_FACTS = ("label_digest", "data")


def difference(a: Record, b: Record) -> str:
    """In which of their results two records of one key differ; empty where they are one run.

    Times, machine, label, and artifacts that only one of them has are no results; neither is the
    reason of a run that failed.
    """
    if a.status != b.status:
        return f"status {a.status} and {b.status}"
    if a.status not in FINAL:
        return ""
    for name in ("metrics", "ledger"):
        ours, theirs = getattr(a, name), getattr(b, name)
        for item in sorted(ours.keys() | theirs.keys()):
            if ours.get(item) != theirs.get(item):
                return f"{name}.{item} {ours.get(item)} and {theirs.get(item)}"
    for item in sorted(a.artifacts.keys() & b.artifacts.keys()):
        if a.artifacts[item]["sha256"] != b.artifacts[item]["sha256"]:
            return f"artifact {item}"
    for item in _FACTS:
        if None not in (a.info.get(item), b.info.get(item)) and a.info[item] != b.info[item]:
            return f"info.{item}"
    return ""


def chosen(records: Iterable[Record]) -> Record:
    """The record that is used of several of one run: a labelled one, then the one with the most
    artifacts, whatever order they came in."""
    return min(records, key=lambda r: (not r.info.get("label"), -len(r.artifacts), r.digest))


def one_run(old: Record, new: Record, places: str = "") -> Record:
    """The record that is used of two of one key.

    Args:
        old, new: The records.
        places: Where they came from, for messages.

    Raises:
        InputError: Their results differ.
    """
    what = difference(old, new)
    if what:
        digests = " and ".join(sorted((old.digest[:16], new.digest[:16])))
        raise InputError(
            f"two records of key {old.key} differ{places}: {what} (digests {digests})",
            where="leaderboard",
            accepted="one result per specification; `prunebench drop` moves one aside",
        )
    return chosen((old, new))
