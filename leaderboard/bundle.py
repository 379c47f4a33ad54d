"""Records in one file: a line of canonical JSON each, gzip-packed, the same bytes every time."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from prunebench.errors import InputError
from prunebench.record import Record, RecordError, parse
from prunebench.untrusted import TIMES

SUFFIXES = (".jsonl", ".jsonl.gz")
_BUNDLE = "records as `prunebench leaderboard --publish` writes them"
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
    """Reads and checks every record of a bundle; as ``unpack_bytes``, of a file.

    Raises:
        InputError: The file cannot be read; or as ``unpack_bytes``, with ``RecordError``.
    """
    try:
        with path.open("rb") as file:
            return _unpack(file, path.stat().st_size, str(path), faults)
    except OSError as error:
        raise InputError(f"cannot be read ({error})", where=str(path), accepted=_BUNDLE) from None


def unpack_bytes(data: bytes, where: str, faults: list[RecordError] | None = None) -> list[Record]:
    """Reads and checks every record of a bundle in memory.

    Args:
        data: The file's content.
        where: Its path, for messages; it is packed where that ends in ``.gz``.
        faults: Takes what is wrong with lines that are no whole, unchanged records; without it
            the first one is raised.

    Raises:
        InputError: It is damaged, a record is there twice, or it unpacks to far more than records
            do.
        RecordError: See ``faults``.
    """
    return _unpack(io.BytesIO(data), len(data), where, faults)


def _unpack(
    stored: IO[bytes], size: int, where: str, faults: list[RecordError] | None
) -> list[Record]:
    records: list[Record] = []
    lines = 0
    seen: set[str] = set()
    most = _PLENTY + TIMES * size
    try:
        packed = where.endswith(".gz")
        with gzip.GzipFile(fileobj=stored) if packed else nullcontext(stored) as file:
            for number, line in enumerate(_lines(file, most, where), 1):
                if number - lines > _MOST_BLANK:
                    raise InputError("holds blank lines only", where=where, accepted="records")
                if line is None or line.strip():
                    lines += 1
                    place = f"{where}: line {number}"
                    try:
                        if line is None:
                            raise RecordError(f"is longer than {_LONGEST} bytes", where=place)
                        record = parse(line, place)
                    except RecordError as fault:
                        if faults is None or len(faults) >= _MOST_FAULTS:
                            raise
                        # What an error comes from holds the whole line.
                        fault.__context__ = fault.__traceback__ = None
                        faults.append(fault)
                        continue
                    if record.digest in seen:
                        raise InputError(
                            f"line {number} repeats record {record.key}", where=where,
                            accepted="each record once",
                        )  # fmt: skip
                    seen.add(record.digest)
                    records.append(record)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read ({error})", where=where,
                         accepted=_BUNDLE) from None  # fmt: skip
    return records


def _lines(file: IO[bytes] | gzip.GzipFile, most: int, where: str) -> Iterator[bytes | None]:
    """Lines of an open file; None for one that is longer than any record, which is read past.

    Raises:
        InputError: They have more than ``most`` bytes.
    """
    unpacked, within = 0, False
    while part := file.readline(_LONGEST):
        unpacked += len(part)
        if unpacked > most:
            raise InputError(
                f"unpacks to more than {most} bytes", where=where,
                accepted="records, which pack to a twentieth",
            )  # fmt: skip
        begun, within = within, len(part) == _LONGEST and not part.endswith(b"\n")
        if not within:
            yield None if begun else part
    if within:
        yield None
