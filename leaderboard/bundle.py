"""Records in one file: a line of canonical JSON each, gzip-packed, the same bytes every time."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable
from pathlib import Path

from prunebench.errors import InputError
from prunebench.record import Record, RecordError, parse
from prunebench.untrusted import TIMES

SUFFIXES = (".jsonl", ".jsonl.gz")
#: Far above any record; longer lines are no records.
_LONGEST = 1 << 20
_MOST_BLANK = _MOST_FAULTS = 1000
#: Bytes that a bundle may unpack to whatever its size.
_PLENTY = 1 << 22


def is_bundle(path: Path) -> bool:
    """Whether a file's name is that of packed records."""
    return path.name.endswith(SUFFIXES)


def pack(records: Iterable[Record]) -> bytes:
    """Records in order of key, packed; equal records give equal bytes."""
    unique = {(record.key, record.digest): record for record in records}
    lines = [unique[slot].dumps() + "\n" for slot in sorted(unique)]
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9, mtime=0, filename="") as file:
        file.write("".join(lines).encode())
    return out.getvalue()


def unpack(path: Path, faults: list[RecordError] | None = None) -> list[Record]:
    """Reads and checks every record of a bundle.

    Args:
        path: The file.
        faults: Takes what is wrong with lines that are no whole, unchanged records; without it
            the first one is raised.

    Raises:
        InputError: The file cannot be read, a record is there twice, or the file unpacks to far
            more than records do.
        RecordError: See ``faults``.
    """
    records: list[Record] = []
    lines = 0
    seen: set[str] = set()
    unpacked, most = 0, _PLENTY + TIMES * path.stat().st_size
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            number = 0
            while line := file.readline(_LONGEST):
                number += 1
                unpacked += len(line)
                if unpacked > most:
                    raise InputError(
                        f"unpacks to more than {most} bytes", where=str(path),
                        accepted="records, which pack to a twentieth",
                    )  # fmt: skip
                if number - lines > _MOST_BLANK:
                    raise InputError("holds blank lines only", where=str(path), accepted="records")
                if line.strip():
                    lines += 1
                    try:
                        record = parse(line, f"{path}: line {number}")
                    except RecordError as fault:
                        if faults is None or len(faults) >= _MOST_FAULTS:
                            raise
                        faults.append(fault)
                        continue
                    if record.digest in seen:
                        raise InputError(
                            f"line {number} repeats record {record.key}", where=str(path),
                            accepted="each record once",
                        )  # fmt: skip
                    seen.add(record.digest)
                    records.append(record)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read ({error})", where=str(path),
                         accepted="records as `prunebench leaderboard --publish` writes them"
                         ) from None  # fmt: skip
    return records
