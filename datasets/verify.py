"""Whether a data set's files are the published ones, file by file."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prunebench.datasets.locate import DataFile, checksum, unpacked_checksum
from prunebench.datasets.source import DataSource
from prunebench.errors import InputError

State = Literal["ok", "unchecked", "missing", "differs"]
BAD = ("missing", "differs")


@dataclass(frozen=True)
class Finding:
    """What a comparison found of one file.

    Attributes:
        file: Its path, or its published name where it is missing.
        state: ``unchecked`` means that no checksum is published for it.
        detail: One line; empty where all is well.
    """

    file: str
    state: State
    detail: str = ""


def verify(source: DataSource) -> list[Finding]:
    """Compares every published file, then reads what loading would check first.

    Args:
        source: The data set with its options.

    Returns:
        A finding per file, and one more, which holds the reason, where there is no folder or the
        files do not fit together; empty for a set without files.
    """
    files = source.published()
    try:
        folder = source.folder()
    except InputError as error:
        absent = [_compare(Path(), f) if Path(f.path).is_absolute() else Finding(f.path, "missing")
                  for f in files]  # fmt: skip
        return [Finding(source.name, "missing", str(error)), *absent]
    found = [_compare(folder or Path(), file) for file in files]
    if not any(finding.state in BAD for finding in found):
        try:
            source.check()
        except InputError as error:
            found.append(Finding(str(folder or ""), "differs", str(error)))
    return found


def _compare(folder: Path, file: DataFile) -> Finding:
    path, digest, content = folder / file.path, file.digest, file.content
    if not path.is_file() and path.suffix == ".gz" and path.with_suffix("").is_file():
        path, digest, content = path.with_suffix(""), file.content, ""
    if not path.is_file():
        return Finding(str(path), "missing")
    if not digest:
        return Finding(str(path), "unchecked", "no checksum is published")
    algorithm, _, wanted = digest.partition(":")
    measured = checksum(path, algorithm)
    if measured == wanted:
        return Finding(str(path), "ok")
    if content:
        inner, _, inside = content.partition(":")
        try:
            if unpacked_checksum(path, inner) == inside:
                return Finding(str(path), "ok", "packed again, the content is the published one")
        except (OSError, EOFError, zlib.error):
            pass
    return Finding(str(path), "differs", f"{algorithm} {measured}, published {wanted}")
