"""Class-folder trees: what lies in them, without opening an image."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunebench.datasets.imagefiles import SUFFIXES
from prunebench.errors import InputError
from prunebench.record import file_digest
from prunebench.untrusted import user_path

#: Trees of at most so many bytes are identified by their content as well.
CONTENT_BYTES = 64 << 20
#: Larger listings are believed as long as no folder of theirs has changed.
_LOOK_AGAIN = 20_000

_LAYOUT = "PATH/train/<class>/<image> and PATH/test/<class>/<image> (or val for test)"


@dataclass(frozen=True, eq=False)
class Tree:
    """One split.

    Attributes:
        root: Its folder.
        classes: Names of the class folders, sorted.
        names: Paths of the images relative to ``root``, by class and then by name.
        sizes: int64 [N], bytes.
        labels: int64 [N].
        folders: Every folder with its time of change in ns.
        stamp: Digest of names, sizes and times of change.
    """

    root: Path
    classes: tuple[str, ...]
    names: list[str]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    folders: dict[str, int]
    stamp: str


_trees: dict[Path, Tree] = {}
_contents: dict[str, str] = {}


def find_splits(path: str, where: str) -> tuple[Path, Path]:
    """Training and test folder of a tree.

    Raises:
        InputError: One of them is missing.
    """
    if not path:
        raise InputError("no path", where=where, accepted=f"{where}:PATH with {_LAYOUT}")
    root = user_path(path, where)
    test = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    if not (root / "train").is_dir():
        raise InputError(f"no folder {root / 'train'}", where=where, accepted=_LAYOUT)
    if test is None:
        raise InputError(f"no folder {root / 'test'}", where=where, accepted=_LAYOUT)
    return root / "train", test


def read_tree(root: Path) -> Tree:
    """Lists a split; a large one again only when a folder of it has changed.

    Raises:
        InputError: No class folder, a class without images, an empty file, or a folder that
            cannot be listed.
    """
    known = _trees.get(root)
    if known is not None and len(known.names) > _LOOK_AGAIN and _unchanged(known):
        return known
    tree = _list(root)
    _trees[root] = tree
    return tree


def _unchanged(tree: Tree) -> bool:
    try:
        return all(os.stat(name).st_mtime_ns == time for name, time in tree.folders.items())
    except OSError:
        return False


def _list(root: Path) -> Tree:
    found: list[tuple[str, int, int]] = []
    labels: list[int] = []
    folders = {str(root): os.stat(root).st_mtime_ns}
    try:
        with os.scandir(root) as entries:
            classes = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
        for label, name in enumerate(classes):
            images = sorted(_images(root / name, name, folders))
            if not images:
                raise InputError(
                    f"class {name!r} has no image",
                    where=str(root),
                    accepted=f"files that end in {', '.join(SUFFIXES)}",
                )
            found += images
            labels += [label] * len(images)
    except OSError as error:
        where = str(error.filename or root)
        raise InputError(f"cannot be listed ({error.strerror})", where=where) from None
    if not found:
        raise InputError("no class folders", where=str(root), accepted=_LAYOUT)
    empty = next((name for name, size, _ in found if size == 0), None)
    if empty is not None:
        raise InputError("an empty file", where=f"{root}/{empty}", accepted="a whole image")
    digest = hashlib.blake2b(repr(found).encode("utf-8", "surrogateescape"))
    return Tree(
        root,
        tuple(classes),
        [name for name, _, _ in found],
        np.array([size for _, size, _ in found], dtype=np.int64),
        np.array(labels, dtype=np.int64),
        folders,
        digest.hexdigest(),
    )


def _images(folder: Path, prefix: str, folders: dict[str, int]) -> list[tuple[str, int, int]]:
    """(relative path, bytes, time of change) of every image below a folder, links followed."""
    found: list[tuple[str, int, int]] = []
    state = os.stat(folder)
    folders[str(folder)] = state.st_mtime_ns
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{prefix}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                found += _images(folder / entry.name, name, folders)
            elif entry.name.lower().endswith(SUFFIXES):
                state = entry.stat()
                found.append((name, state.st_size, state.st_mtime_ns))
    return found


def check_classes(train: Tree, test: Tree) -> None:
    """Both splits must name the same classes, two at least.

    Raises:
        InputError: They do not.
    """
    odd = sorted(set(train.classes) ^ set(test.classes))
    if odd:
        here = train if odd[0] in train.classes else test
        there = test if here is train else train
        raise InputError(
            f"class {odd[0]!r} of {here.root.name} is missing",
            where=str(there.root),
            accepted="the same class folders in both splits",
        )
    if len(train.classes) < 2:
        raise InputError("a single class", where=str(train.root), accepted="two or more")


def tree_identity(train: Tree, test: Tree) -> str:
    """SHA-256 over relative paths and sizes of both splits, and over the files' content where
    both together take at most ``CONTENT_BYTES``; read again only when a file changed."""
    slot = f"{train.stamp} {test.stamp}"
    if slot not in _contents:
        digest = hashlib.sha256()
        small = int(train.sizes.sum() + test.sizes.sum()) <= CONTENT_BYTES
        for split, tree in (("train", train), ("test", test)):
            for name, size in zip(tree.names, tree.sizes.tolist(), strict=True):
                line = f"{split}/{name}\0{size}\n"
                digest.update(line.encode("utf-8", "surrogateescape"))
                if small:
                    digest.update(_content(tree.root / name).encode())
        _contents[slot] = digest.hexdigest()
    return _contents[slot]


def _content(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from None
