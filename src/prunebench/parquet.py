"""Flat tables of numbers in Parquet files, with a note of JSON that says what they belong to."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.errors import InputError
from prunebench.record import canonical

#: Entry of a file's metadata under which the note lies.
_NOTE = b"prunebench"


def arrow(where: str) -> Any:
    """The module ``pyarrow.parquet``.

    Args:
        where: Who asks, for the message.

    Raises:
        InputError: It is not installed.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError("pyarrow is not installed", where=where,
                         accepted="pip install 'prunebench[hf]'") from None  # fmt: skip
    return parquet


def write_columns(columns: Mapping[str, NDArray[Any]], note: Mapping[str, Any]) -> bytes:
    """A Parquet file: whole numbers as differences, all packed with zstd.

    Args:
        columns: int32 or float32 [rows] by name.
        note: JSON values that say what the table belongs to.
    """
    parquet = arrow("Parquet")
    import pyarrow as pa

    whole = {name for name, values in columns.items() if values.dtype.kind in "iu"}
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    table = table.replace_schema_metadata({_NOTE: canonical(note)})
    out = io.BytesIO()
    parquet.write_table(
        table, out, compression="zstd", use_dictionary=False,
        column_encoding={name: "DELTA_BINARY_PACKED" if name in whole else "BYTE_STREAM_SPLIT"
                         for name in columns},
    )  # fmt: skip
    return out.getvalue()


def read_columns(path: Path, names: Sequence[str], most: int) -> dict[str, NDArray[Any]]:
    """Some columns of numbers of a Parquet file.

    Args:
        path: The file.
        names: The columns.
        most: Rows that it may have; a few bytes can stand for billions.

    Returns:
        Integers or floats [rows] by name.

    Raises:
        InputError: It is no Parquet file, has more rows, lacks a column, or a column holds other
            things than numbers, or nothing in some row; the line names file and column.
    """
    file = _opened(path)
    import pyarrow as pa

    schema, where = file.schema_arrow, str(path)
    for name in names:
        if schema.names.count(name) != 1:
            shown = ", ".join(schema.names[:8]) or "none"
            raise InputError(f"lacks the column {name!r}", where=where,
                             accepted=f"it once; columns here: {shown}")  # fmt: skip
        kind = schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise InputError(f"column {name!r} holds {kind}", where=where, accepted="numbers")
    if file.metadata.num_rows > most:
        raise InputError(f"{file.metadata.num_rows} rows", where=where, accepted=f"up to {most}")
    try:
        table = file.read(list(names))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    for name in names:
        if table.column(name).null_count:
            raise InputError(f"column {name!r} has empty rows", where=where, accepted="numbers")
    return {name: np.asarray(table.column(name).to_numpy()) for name in names}


def read_note(path: Path) -> dict[str, Any]:
    """What a file of ``write_columns`` says that it belongs to; empty for a file of others.

    Raises:
        InputError: It is no Parquet file.
    """
    entry = (_opened(path).schema_arrow.metadata or {}).get(_NOTE, b"{}")
    try:
        found = json.loads(entry)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _opened(path: Path) -> Any:
    parquet = arrow(str(path))
    import pyarrow as pa

    try:
        return parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    said = " ".join(str(error).split())[:200]
    return InputError(f"cannot be read ({said})", where=str(path), accepted="a whole Parquet file")
