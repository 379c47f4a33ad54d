"""Image data sets in Parquet files, as Hugging Face lays them out; read with pyarrow."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.datasets.images.lazy import PathList
from prunebench.errors import InputError, is_text
from prunebench.parquet import arrow
from prunebench.untrusted import user_path

_SPLIT = re.compile(r"(train|test|validation|valid|val)(?![a-z])")
_IMAGES = ("image", "img")
_LABELS = ("label", "labels", "fine_label")
_LAYOUT = (
    "PATH with Parquet files of both splits: train-*.parquet and test-*.parquet (or validation), "
    "or folders train/ and test/"
)


def find_files(path: str, dataset: str = "hf") -> tuple[list[Path], list[Path]]:
    """Files of the training and the test split, each sorted by name.

    Args:
        path: The folder.
        dataset: For messages.

    Raises:
        InputError: No such folder, or a split without files.
    """
    if not path:
        raise InputError("no path", where=dataset, accepted=f"{dataset}:{_LAYOUT}")
    root = user_path(path, dataset)
    if not root.is_dir():
        raise InputError(f"no folder {root}", where=f"{dataset}:{path}", accepted=_LAYOUT)
    found: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*.parquet")):
        parts = file.relative_to(root).parts
        names = [match[1] for part in reversed(parts) if (match := _SPLIT.match(part))]
        if names and not any(part.startswith(".") for part in parts):
            found.setdefault(names[0], []).append(file)
    test = next((found[n] for n in ("test", "validation", "valid", "val") if n in found), [])
    for name, files in (("train", found.get("train", [])), ("test", test)):
        if not files:
            raise InputError(f"no Parquet file of the {name} split", where=str(root),
                             accepted=_LAYOUT)  # fmt: skip
    return found["train"], test


class ArrowImages:
    """Encoded images of a Parquet column; ``lazy.Encoded``.

    Args:
        column: pyarrow's ChunkedArray: binary, or structs with ``bytes`` and ``path``.
        where: The split, for messages.
        root: Folder that paths are relative to.
    """

    def __init__(self, column: Any, where: str, root: Path) -> None:
        self._column, self._where, self._root = column, where, str(root)

    def __len__(self) -> int:
        return len(self._column)

    def name(self, index: int) -> str:
        """Split and row, as messages name an image."""
        return f"{self._where}: row {index}"

    def files(self) -> list[Path]:
        """The files below the folder that rows without bytes name."""
        import pyarrow as pa
        import pyarrow.compute as compute

        kind = self._column.type
        if not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
            return []
        paths = compute.struct_field(self._column, "path")
        if kind.get_field_index("bytes") >= 0:
            paths = paths.filter(compute.is_null(compute.struct_field(self._column, "bytes")))
        return [Path(self._root, path) for path in paths.to_pylist() if self._inside(path)]

    @staticmethod
    def _inside(path: Any) -> bool:
        """Whether a path leads to a place below the folder."""
        named = isinstance(path, str) and path != "" and not Path(path).is_absolute()
        return named and ".." not in Path(str(path)).parts

    def data(self, index: int) -> bytes:
        """The bytes of an image.

        Raises:
            InputError: The row has neither bytes nor the path of a file below the folder.
        """
        value = self._column[index].as_py()
        given = value.get("bytes") if isinstance(value, dict) else value
        if isinstance(given, bytes):
            return given
        path = value.get("path") if isinstance(value, dict) else None
        if self._inside(path):
            return PathList(self._root, [str(path)]).data(0)
        raise InputError("no image", where=self.name(index),
                         accepted="bytes, or a path below the folder")  # fmt: skip


@dataclass(frozen=True, eq=False)
class ArrowSplit:
    """One split.

    Attributes:
        images: Encoded.
        labels: int64 [N], or texts [N].
        human: Labels that people gave, likewise; None without such a column.
        class_names: Of the file's metadata; empty where it has none.
        where: For messages.
    """

    images: ArrowImages
    labels: NDArray[Any]
    human: NDArray[Any] | None
    class_names: tuple[str, ...]
    where: str


def read_split(
    files: Sequence[Path], root: Path, image: str | None, label: str | None, human: str | None
) -> ArrowSplit:
    """Reads the Parquet files of a split; no image is decoded.

    Args:
        files: In order.
        root: Folder of the data set.
        image: Column of the images; None for the usual names.
        label: Column of the labels; None for the usual names.
        human: Column of labels that people gave; None for none.

    Raises:
        InputError: A file cannot be read, or lacks a column, or a column is of another type.
    """
    parquet, where = arrow("dataset hf"), f"{files[0].parent / files[0].name}"
    import pyarrow as pa

    try:
        schema = parquet.read_schema(files[0])
        columns = [
            _named(schema.names, given, usual, where)
            for given, usual in ((image, _IMAGES), (label, _LABELS))
        ]
        if human is not None:
            columns.append(_named(schema.names, human, (), where))
        tables = [parquet.read_table(file, columns=columns) for file in files]
        table = pa.concat_tables(tables)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InputError(f"cannot be read ({str(error).splitlines()[0][:200]})", where=where,
                         accepted="Parquet files with equal columns") from None  # fmt: skip
    kind = table.schema.field(columns[0]).type
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    if not (binary or pa.types.is_struct(kind)):
        raise InputError(f"column {columns[0]!r} is of type {kind}", where=where,
                         accepted="images: binary, or structs of bytes and path")  # fmt: skip
    if not len(table):
        raise InputError("no rows", where=where, accepted="at least one image")
    return ArrowSplit(
        ArrowImages(table[columns[0]], where, root),
        _labels(table[columns[1]], f"{where}: {columns[1]}"),
        None if human is None else _labels(table[columns[2]], f"{where}: {columns[2]}"),
        _class_names(schema.metadata or {}, columns[1]),
        where,
    )


def _named(names: Sequence[str], given: str | None, usual: Sequence[str], where: str) -> str:
    found = next((name for name in ([given] if given else usual) if name in names), None)
    if found is None:
        raise InputError(f"no column {given or ' or '.join(usual)}", where=where,
                         accepted=", ".join(names)[:300])  # fmt: skip
    return found


def _labels(column: Any, where: str) -> NDArray[Any]:
    if column.null_count:
        raise InputError(f"{column.null_count} rows have no label", where=where,
                         accepted="a label for every image")  # fmt: skip
    values: NDArray[Any] = np.array(column.to_pylist())
    if values.dtype.kind not in "iuU" or values.ndim != 1:
        raise InputError(f"labels of type {column.type}", where=where,
                         accepted="whole numbers or texts")  # fmt: skip
    return values


def _class_names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...]:
    """Names of the classes in Hugging Face's metadata, which anybody may have written."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return ()
    plain = isinstance(names, list) and all(is_text(name) for name in names)
    return tuple(names) if plain else ()
