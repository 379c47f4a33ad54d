"""Class folders: the images in them, listed without opening one."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunebench.datasets.cache import digest_once
from prunebench.datasets.images.lazy import SUFFIXES, PathList, encoded_digest
from prunebench.errors import InputError, is_text
from prunebench.record import file_digest
from prunebench.untrusted import user_path

#: Trees of at most so many bytes are identified by their content as well.
CONTENT_BYTES = 64 << 20
#: A listing of more files is kept as long as none of its folders has changed.
_KEPT_FROM = 20_000

#: Files that systems put into folders.
_LITTER = ("thumbs.db", "desktop.ini")
#: How many endings a line on left-out files names.
_ENDINGS = 4

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
        left_out: Files that are no accepted images, by the endings of their names.
    """

    root: Path
    classes: tuple[str, ...]
    names: list[str]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    folders: dict[str, int]
    stamp: str
    left_out: Mapping[str, int] = field(default_factory=dict)


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
    if known is not None and len(known.names) > _KEPT_FROM and _unchanged(known):
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
    left_out: Counter[str] = Counter()
    try:
        with os.scandir(root) as entries:
            classes = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
        for label, name in enumerate(classes):
            if not is_text(name):
                raise InputError(
                    f"class folder {name!r} is no UTF-8", where=str(root),
                    accepted="names in UTF-8 (rename the folder)",
                )  # fmt: skip
            images = sorted(_images(root / name, name, folders, left_out, frozenset()))
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
        dict(sorted(left_out.items())),
    )


def _images(
    folder: Path,
    prefix: str,
    folders: dict[str, int],
    left_out: Counter[str],
    above: frozenset[tuple[int, int]],
) -> list[tuple[str, int, int]]:
    """(relative path, bytes, time of change) of every image below a folder, links followed."""
    found: list[tuple[str, int, int]] = []
    state = os.stat(folder)
    here = (state.st_dev, state.st_ino)
    if here in above:
        raise InputError("leads back to a folder above it", where=str(folder), accepted="no loops")
    folders[str(folder)] = state.st_mtime_ns
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{prefix}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                found += _images(folder / entry.name, name, folders, left_out, above | {here})
            elif entry.name.lower().endswith(SUFFIXES):
                state = entry.stat()
                if not stat.S_ISREG(state.st_mode):
                    raise InputError(
                        "no regular file", where=str(folder / entry.name), accepted="an image file"
                    )
                found.append((name, state.st_size, state.st_mtime_ns))
            elif entry.name.lower() not in _LITTER:
                left_out[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1
    return found


def left_out_line(tree: Tree) -> str:
    """One line on the files that are no accepted images; empty where there are none."""
    if not tree.left_out:
        return ""
    count = sum(tree.left_out.values())
    most = sorted(tree.left_out.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{n} {ending}" for ending, n in most[:_ENDINGS])
    more = len(most) - _ENDINGS
    shown += f" and {more} more ending{'s' * (more > 1)}" if more > 0 else ""
    what = "1 file is" if count == 1 else f"{count} files are"
    return f"{tree.root}: {what} left out ({shown}); read are {', '.join(SUFFIXES)}"


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def match_classes(train: Tree, test: Tree) -> Tree:
    """The test split with the classes of the training split, matched by the normal form (NFC) of
    their names; its images stay in their order.

    Raises:
        InputError: The splits differ, two names of one split are the same text, or there is a
            single class.
    """
    forms = {}
    for tree in (train, test):
        forms[tree.root] = {_form(name): name for name in tree.classes}
        if len(forms[tree.root]) < len(tree.classes):
            odd = next(n for n in tree.classes if n not in forms[tree.root].values())
            raise InputError(
                f"class {odd!r} is there in two Unicode forms", where=str(tree.root),
                accepted="names that differ in more than their normal form",
            )  # fmt: skip
    one, two = forms[train.root], forms[test.root]
    missing = sorted(one.keys() ^ two.keys())
    if missing:
        here, there = (train, test) if missing[0] in one else (test, train)
        raise InputError(
            f"class {missing[0]!r} of {here.root.name} is missing",
            where=str(there.root),
            accepted="the same class folders in both splits",
        )
    if len(train.classes) < 2:
        raise InputError("a single class", where=str(train.root), accepted="two or more")
    if train.classes == test.classes:
        return test
    labels = np.array([train.classes.index(one[_form(name)]) for name in test.classes])
    return replace(test, classes=train.classes, labels=labels[test.labels])


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


def images_digest(tree: Tree) -> str:
    """SHA-256 over the content of the images of a split, in order, however large they are; read
    again only when one changed.

    Raises:
        InputError: One cannot be read.
    """
    slot = f"{tree.root} {tree.stamp}"
    if slot not in _contents:
        images = PathList(tree.root, tree.names)
        files = (tree.root / name for name in tree.names)
        _contents[slot] = digest_once(files, "images", lambda: encoded_digest(images))
    return _contents[slot]


def _content(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from None
