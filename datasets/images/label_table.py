"""Labels and groups of images from a table: what people gave, beside the class folders."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunebench.datasets.groups import SampleGroups, sample_groups
from prunebench.datasets.images.class_folders import Tree
from prunebench.errors import InputError
from prunebench.userfiles import read_table


@dataclass(frozen=True, eq=False)
class TableLabels:
    """Labels of a training split, in the order of its images.

    Attributes:
        given: int64 [N], of the column ``label``.
        clean: int64 [N], of the column ``clean_label``; the class folders where there is none.
    """

    given: NDArray[np.int64]
    clean: NDArray[np.int64]


def read_labels(path: Path, tree: Tree) -> TableLabels:
    """Reads a table with the columns ``file_name`` and ``label``, and ``clean_label`` where there
    is one.

    Args:
        path: The file, see ``userfiles.read_table``. A file name is a path below the split's folder
            (or below the folder above it), or the bare name where only one image has it. A label is
            the name of a class folder, or its number in their sorted order.
        tree: The training split.

    Raises:
        InputError: The table cannot be read, an image has no label or two, or a line names no image
            or no class; the line is named.
    """
    table = read_table(path, ("file_name", "label"), optional=("clean_label",))
    rows = _places(table["file_name"], tree, path)
    return TableLabels(
        _column(table["label"], rows, tree, path, "label"),
        _column(table["clean_label"], rows, tree, path, "clean_label")
        if "clean_label" in table
        else tree.labels,
    )


def read_groups(path: Path, tree: Tree) -> SampleGroups:
    """Reads a table with the columns ``file_name`` and ``group``: any name for each test image.

    Args:
        path: The file, as in ``read_labels``.
        tree: The test split.

    Raises:
        InputError: As ``read_labels``; or a single group.
    """
    table = read_table(path, ("file_name", "group"))
    rows = _places(table["file_name"], tree, path, "test image", "group")
    names = np.empty(len(rows), dtype=object)
    names[rows] = table["group"]
    return sample_groups(names.astype(np.str_), len(tree.names), f"{path}: group")


def _places(
    names: list[str], tree: Tree, path: Path, image_word: str = "training image",
    column: str = "label",
) -> NDArray[np.int64]:  # fmt: skip
    """int64 [N], the image of each row."""
    bare = Counter(name.rpartition("/")[2] for name in tree.names)
    place: dict[str, int] = {}
    for row, name in enumerate(tree.names):
        last = name.rpartition("/")[2]
        if bare[last] == 1:
            place[last] = row
        place[f"{tree.root.name}/{name}"] = row
    place |= {name: row for row, name in enumerate(tree.names)}
    found = np.full(len(names), -1, dtype=np.int64)
    line_of: dict[int, int] = {}
    for number, name in enumerate(names, 1):
        image = place.get(name.replace("\\", "/").removeprefix("./"))
        if image is None:
            shared = bare.get(name, 0)
            raise InputError(
                f"{shared} images have the name {name[:80]!r}" if shared else
                f"no {image_word} {name[:80]!r}",
                where=f"{path}: row {number}",
                accepted=f"a path below {tree.root}, such as {tree.names[0]!r}",
            )  # fmt: skip
        if image in line_of:
            raise InputError(
                f"{name[:80]!r} is there in row {line_of[image]} too",
                where=f"{path}: row {number}", accepted="every image once",
            )  # fmt: skip
        line_of[image] = number
        found[number - 1] = image
    if len(names) < len(tree.names):
        lacking = next(row for row in range(len(tree.names)) if row not in line_of)
        raise InputError(
            f"{len(tree.names) - len(names)} of {len(tree.names)} {image_word}s have no {column}, "
            f"{tree.names[lacking]!r} the first", where=str(path),
            accepted="a row for each of them",
        )  # fmt: skip
    return found


def _column(
    texts: list[str], rows: NDArray[np.int64], tree: Tree, path: Path, column: str
) -> NDArray[np.int64]:
    numbers = {str(number): number for number in range(len(tree.classes))}
    known = numbers | {name: number for number, name in enumerate(tree.classes)}
    labels = np.empty(len(rows), dtype=np.int64)
    for number, text in enumerate(texts, 1):
        if text not in known:
            raise InputError(
                f"{column} {text[:80]!r}", where=f"{path}: row {number}",
                accepted="a class folder's name, or its number from 0 to "
                f"{len(tree.classes) - 1}",
            )  # fmt: skip
        labels[rows[number - 1]] = known[text]
    return labels
