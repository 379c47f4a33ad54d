"""The folder of a site: written anew as a whole, with what others put there left alone."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISREG
from typing import Any

from prunebench.errors import InputError
from prunebench.files import OwnFolder, read_at_most

#: Names the files of the site that stands in a folder, with their digests.
MANIFEST = "site-files.json"
_MOST_BYTES = 1 << 24
_STAGING = re.compile(r"\.site-[0-9a-f]{12}")
_ACCEPTED = "a new or empty folder, or a site that was written by `prunebench site`"


def write_site(out: Path, files: Mapping[str, bytes]) -> tuple[int, list[str]]:
    """Replaces the site in a folder.

    All files are written beside their places first; then each is renamed into its place, and files
    of the earlier site that the new one lacks are removed. Where writing fails, the earlier site
    stands as it was. Files that the earlier site did not write stay: others in the folder, and
    pages of the site that somebody changed where the new one has none of that name.

    Args:
        out: The folder; it need not exist.
        files: Content by path from the folder.

    Returns:
        How many files of the earlier site were removed, and lines about what was left alone.

    Raises:
        InputError: A file is in the way that the site did not write, a part of a path is a link, or
            the folder cannot be written.
    """
    own = OwnFolder(out)
    earlier = _earlier(out)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    for name in (*files, MANIFEST):
        own.check(out / name)
        if name != MANIFEST and name not in earlier and (out / name).exists():
            raise InputError("is in the way, and no site wrote it", where=str(out / name),
                             accepted=_ACCEPTED)  # fmt: skip
    staging = out / f".site-{secrets.token_hex(6)}"
    try:
        _remove_left(own, out)
        try:
            own.write(staging / MANIFEST, _manifest(digests))
            for name, data in files.items():
                own.write(staging / name, data)
            # Both sites' files are named while the one takes the other's place: whatever happens
            # then, the next run knows them.
            own.write(out / MANIFEST, _manifest({**earlier, **digests}))
            for name in files:
                own.rename(staging / name, out / name)
        finally:
            own.remove(staging)
        removed, notes = _remove(own, out, {n: d for n, d in earlier.items() if n not in files})
        own.write(out / MANIFEST, _manifest(digests))
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=str(out)) from None
    return removed, notes


def _remove_left(own: OwnFolder, out: Path) -> None:
    """Removes files that a call which was killed wrote beside their places: folders of that kind of
    name that hold the list of a site's files."""
    for name, there in own.entries(out):
        if _STAGING.fullmatch(name) and S_ISDIR(there.st_mode):
            inside = own.entries(out / name, links=True)
            if not inside or any(one == MANIFEST and _listed(out / name / MANIFEST) is not None
                                 for one, _ in inside):  # fmt: skip
                own.remove(out / name)


def _remove(own: OwnFolder, out: Path, gone: Mapping[str, str]) -> tuple[int, list[str]]:
    """Removes files of the earlier site that are as it wrote them."""
    removed, notes = 0, []
    for name, digest in gone.items():
        path = out / name
        own.check(path)
        if not path.is_file():
            continue
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            notes.append(f"{path} was changed since the site was written and stays")
            continue
        own.remove(path)
        removed += 1
        _remove_empty(path.parent, out)
    return removed, notes


def _remove_empty(folder: Path, out: Path) -> None:
    while folder != out and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _manifest(digests: Mapping[str, str]) -> bytes:
    return (json.dumps({"files": digests}, sort_keys=True, indent=0) + "\n").encode()


def _earlier(out: Path) -> dict[str, str]:
    """Files of the site that stands in a folder, with their digests; none where no site does.

    Raises:
        InputError: What lies in the manifest's place is none, or the folder is a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError("is no folder", where=str(out), accepted=_ACCEPTED)
    known = {name for name, there in OwnFolder(out).entries(out, links=True)
             if S_ISREG(there.st_mode)}  # fmt: skip
    if MANIFEST not in known:
        return {}
    path = out / MANIFEST
    listed = _listed(path)
    if listed is None:
        raise InputError("is no list of a site's files", where=str(path), accepted=_ACCEPTED)
    return {name: digest for name, digest in listed.items() if _inside(name)}


def _listed(manifest: Path) -> dict[str, str] | None:
    """Digests of a site's files by name; None where a file is no list of them."""
    try:
        found: Any = json.loads(read_at_most(manifest, _MOST_BYTES))
        return {str(name): str(digest) for name, digest in found["files"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and str(path) == name
