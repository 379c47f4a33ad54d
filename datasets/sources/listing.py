"""Lists of labelled images as text: ``path label`` lines, or keys joined with a table of labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunebench.datasets.locate import checksum, require
from prunebench.errors import InputError

#: Images of a split that are looked at, evenly spaced, where not all are.
SAMPLE = 200
_PAIR = "lines of a relative path, a space and a class number"


@dataclass(frozen=True, eq=False)
class Listing:
    """Labelled images that a text file names.

    Attributes:
        source: The file, or the folder that was listed.
        names: Paths relative to the data set's folder, N of them.
        labels: int64 [N].
        lines: int64 [N], lines of ``source`` from 1 on; 0 where it has none.
    """

    source: Path
    names: list[str]
    labels: NDArray[np.int64]
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: NDArray[np.int64]) -> Listing:
        """Some of the images, in the order given."""
        names = [self.names[row] for row in rows.tolist()]
        return Listing(self.source, names, self.labels[rows], self.lines[rows])

    def below(self, prefix: str) -> Listing:
        """The same with a folder in front of every path."""
        names = [f"{prefix}/{name}" for name in self.names]
        return Listing(self.source, names, self.labels, self.lines)


def safe_name(name: str, where: str) -> str:
    """A path that stays inside the folder it is relative to.

    Raises:
        InputError: Absolute, or with ``..`` in it.
    """
    if not name or name[0] in "/\\" or "\0" in name or name[1:2] == ":":
        raise InputError(f"path {name!r}", where=where, accepted="a relative path")
    if ".." in name and ".." in name.replace("\\", "/").split("/"):
        raise InputError(
            f"path {name!r} leaves the folder", where=where, accepted="a path without .."
        )
    return name


def _lines(path: Path, where: str) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; blank ones are passed over."""
    try:
        with require(path, where).open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                text = line.strip()
                if text:
                    yield number, text
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from None


def read_pairs(path: Path, classes: int, where: str, *, kept: int | None = None) -> Listing:
    """Reads ``path label`` lines.

    Args:
        path: The file.
        classes: Labels are 0..classes-1.
        where: Data set, for messages.
        kept: Lines with this label or a larger one are left out.

    Raises:
        InputError: Missing, empty or unreadable file, malformed line, label out of range, or a
            path that leaves the folder; the line names file and line.
    """
    names: list[str] = []
    labels: list[int] = []
    numbers: list[int] = []
    for number, line in _lines(path, where):
        name, *rest = line.rsplit(None, 1)
        if not rest or not (rest[0].isascii() and rest[0].isdecimal()):
            raise InputError(f"{line[:80]!r}", where=f"{path}: line {number}", accepted=_PAIR)
        label = int(rest[0]) if len(rest[0]) < 10 else classes
        if label >= classes:
            raise InputError(
                f"label {rest[0][:20]}",
                where=f"{path}: line {number}",
                accepted=f"0 to {classes - 1}",
            )
        if kept is None or label < kept:
            names.append(safe_name(name, f"{path}: line {number}"))
            labels.append(label)
            numbers.append(number)
    if not names:
        raise InputError("names no image", where=str(path), accepted=_PAIR)
    return Listing(path, names, np.array(labels, np.int64), np.array(numbers, np.int64))


def read_keys(path: Path, table: Path, classes: int, where: str) -> Listing:
    """Reads a list of paths and takes their labels from a table of ``path label`` lines.

    Raises:
        InputError: As ``read_pairs``; also a path without a label, or with two.
    """
    pairs = read_pairs(table, classes, where)
    labels = dict(zip(pairs.names, pairs.labels.tolist(), strict=True))
    if len(labels) < len(pairs):
        for name, label, line in zip(pairs.names, pairs.labels, pairs.lines, strict=True):
            if labels[name] != label:
                raise InputError(
                    f"{name!r} has labels {label} and {labels[name]}", where=f"{table}: line {line}"
                )
    names: list[str] = []
    found: list[int] = []
    numbers: list[int] = []
    for number, name in _lines(path, where):
        if name not in labels:
            raise InputError(
                f"{name[:80]!r} has no label", where=f"{path}: line {number}",
                accepted=f"paths that are in {table.name}",
            )  # fmt: skip
        names.append(safe_name(name, f"{path}: line {number}"))
        found.append(labels[name])
        numbers.append(number)
    if not names:
        raise InputError("names no image", where=str(path), accepted="one path a line")
    return Listing(path, names, np.array(found, np.int64), np.array(numbers, np.int64))


def sample_rows(n: int, whole: bool = False) -> NDArray[np.int64]:
    """At most ``SAMPLE`` rows of n, evenly spaced; or all."""
    count = n if whole else min(SAMPLE, n)
    return np.arange(count, dtype=np.int64) * n // max(1, count)


def check_images(root: Path, listing: Listing, whole: bool = False) -> list[int]:
    """Bytes of some listed images, evenly spaced, or of all.

    Raises:
        InputError: One is not there or empty; the line names list, line and path.
    """
    sizes = []
    for row in sample_rows(len(listing), whole).tolist():
        name = listing.names[row]
        line = int(listing.lines[row])
        where = f"{listing.source}: line {line}" if line else str(listing.source)
        try:
            size = os.stat(root / name).st_size
        except (OSError, ValueError):
            raise InputError(
                f"no such file: {root / name}", where=where, accepted="files that are there"
            ) from None
        if size == 0:
            raise InputError(f"an empty file: {root / name}", where=where, accepted="an image")
        sizes.append(size)
    return sizes


_identities: dict[tuple[Path, tuple[str, ...], int], str] = {}


def lists_identity(
    root: Path, files: Sequence[Path], read: Callable[[], Sequence[Listing]], classes: int
) -> str:
    """SHA-256 over list files and the bytes that a sample of the images takes, so that a
    resized copy is another data set.

    Args:
        root: Folder of the images.
        files: The list files.
        read: Reads them; called, and images looked at, once in a process while the lists stay.
        classes: How many of them ``read`` takes.

    Raises:
        InputError: As ``read`` and ``check_images``.
    """
    slot = (root, tuple(checksum(file) for file in files), classes)
    if slot not in _identities:
        digest = hashlib.sha256(" ".join(slot[1]).encode())
        for listing in read():
            digest.update(f"\n{len(listing)} {check_images(root, listing)}".encode())
        _identities[slot] = digest.hexdigest()
    return _identities[slot]
