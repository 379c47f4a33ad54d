"""Keys and file names that are safe inside a results folder."""

from __future__ import annotations

import re
from pathlib import Path

from prunebench.errors import InputError

#: The file of a checkpoint; others in its folder are those that it names.
STATE = "state.safetensors"
_KEY = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,100}")


def is_key(text: str) -> bool:
    """Whether a text is a record key: 16 lower-case hex digits."""
    return _KEY.fullmatch(text) is not None


def check_key(key: str) -> str:
    """Returns a key that is safe as a file name.

    Raises:
        InputError: It is not 16 lower-case hex digits.
    """
    if not is_key(key):
        raise InputError(f"key {key!r} is malformed", accepted="16 hex digits, lower case")
    return key


def cell_folder(parent: Path, key: str) -> Path:
    """The folder of a cell, which must be no link: a link could lead readers to other folders.

    Raises:
        InputError: A malformed key, or a link.
    """
    folder = parent / check_key(key)
    if folder.is_symlink():
        raise InputError("is a link", where=str(folder), accepted="a folder, or nothing")
    return folder


def check_name(name: str) -> str:
    """Returns a file name that cannot leave its folder.

    Raises:
        InputError: It is empty, hidden, too long, or holds other signs.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"file name {name!r} is malformed", accepted="letters, digits and . _ + -, one level"
        )
    return name
