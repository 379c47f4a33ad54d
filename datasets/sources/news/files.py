"""Reads the by-date collection of 20 Newsgroups: one jsonl.gz file, or the published folders."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from prunebench.datasets.locate import files_identity
from prunebench.errors import InputError, nearest
from prunebench.files import write_atomic
from prunebench.untrusted import gunzip

JSONL = ("20news-bydate.jsonl.gz", "20news-bydate.jsonl")
FOLDERS = {"train": "20news-bydate-train", "test": "20news-bydate-test"}
#: The twenty groups in alphabetical order: their ids 0 to 19.
GROUPS = (
    "alt.atheism", "comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware",
    "comp.sys.mac.hardware", "comp.windows.x", "misc.forsale", "rec.autos", "rec.motorcycles",
    "rec.sport.baseball", "rec.sport.hockey", "sci.crypt", "sci.electronics", "sci.med",
    "sci.space", "soc.religion.christian", "talk.politics.guns", "talk.politics.mideast",
    "talk.politics.misc", "talk.religion.misc",
)  # fmt: skip
_IDS = {name: place for place, name in enumerate(GROUPS)}
_FIELDS = ("split", "group", "id", "text")
#: Ten times the collection; each post takes room beyond its text.
_MOST_POSTS = 200_000
_LINE = "one JSON object a line with the texts split, group, id and text"


@dataclass(frozen=True)
class Post:
    """One document; ``group`` is 0..19, ``split`` the by-date one, train or test."""

    split: str
    group: int
    id: str
    text: str


def read_posts(place: Path) -> list[Post]:
    """All posts in one canonical order, whatever the layout: train first, by group, by id.

    Args:
        place: The jsonl file (packed by gzip or not), or the folder with both by-date folders.

    Raises:
        InputError: Damaged or malformed file, unknown group, a post that is there twice, or a
            split without posts; the line names file and line.
    """
    posts = list(_folder_posts(place) if place.is_dir() else _jsonl_posts(place))
    for split in FOLDERS:
        if not any(post.split == split for post in posts):
            raise InputError(f"no {split} posts", where=str(place))
    [(name, times)] = Counter((p.split, p.group, p.id) for p in posts).most_common(1)
    if times > 1:
        raise InputError(
            f"post {name[2]} of {GROUPS[name[1]]} is there {times} times", where=str(place)
        )
    return sorted(posts, key=_order)


def _order(post: Post) -> tuple[bool, int, int, str]:
    return post.split == "test", post.group, len(post.id), post.id


def _lines(path: Path) -> Iterator[str]:
    try:
        if path.suffix == ".gz":
            with path.open("rb") as packed:
                content = io.BytesIO(gunzip(packed, str(path)))
            with io.TextIOWrapper(content, encoding="utf-8") as file:
                yield from file
        else:
            with path.open(encoding="utf-8") as file:
                yield from file
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"damaged ({error})", where=str(path), accepted=_LINE) from None


def _jsonl_posts(path: Path) -> Iterator[Post]:
    for number, line in enumerate(_lines(path), 1):
        where = f"{path}: line {number}"
        if number > _MOST_POSTS:
            raise InputError("too many posts", where=where, accepted=f"at most {_MOST_POSTS:,}")
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"not JSON ({error})", where=where, accepted=_LINE) from None
        if not isinstance(row, dict) or not all(isinstance(row.get(f), str) for f in _FIELDS):
            raise InputError("not a post", where=where, accepted=_LINE)
        if row["split"] not in FOLDERS:
            raise InputError(f"split {row['split']!r}", where=where, accepted="train, test")
        yield Post(row["split"], _group(row["group"], where), row["id"], row["text"])


def _group(name: str, where: str) -> int:
    if name not in _IDS:
        raise InputError(f"group {name!r}", where=where, accepted=nearest(name, GROUPS))
    return _IDS[name]


def _folder_files(place: Path) -> Iterator[tuple[str, str, os.DirEntry[str]]]:
    """(split, group, file) of the by-date folders; hidden files are passed over."""
    for split, folder in FOLDERS.items():
        root = place / folder
        if not root.is_dir():
            raise InputError(f"no such folder: {root}", where="dataset news")
        for group in sorted(e.name for e in root.iterdir() if not e.name.startswith(".")):
            if not (root / group).is_dir():
                raise InputError("not a folder of posts", where=str(root / group))
            _group(group, str(root))
            with os.scandir(root / group) as entries:
                files = [e for e in entries if e.is_file() and not e.name.startswith(".")]
            for entry in sorted(files, key=lambda e: e.name):
                yield split, group, entry


def _folder_posts(place: Path) -> Iterator[Post]:
    for split, group, entry in _folder_files(place):
        try:
            # The collection mixes encodings; every byte has a meaning in this one.
            text = Path(entry.path).read_text(encoding="latin-1")
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", where=entry.path) from None
        yield Post(split, _IDS[group], entry.name, text)


def posts_identity(place: Path) -> str:
    """SHA-256 of the content: of the file, or of all names and bytes of the folders.

    Folders are read again only when a post was added, removed or renamed.
    """
    if not place.is_dir():
        return files_identity([place])
    roots = [place / folder for folder in FOLDERS.values()]
    groups = [g for root in roots if root.is_dir() for g in root.iterdir()]
    return _folders_digest(place.resolve(), tuple(g.stat().st_mtime_ns for g in sorted(groups)))


@lru_cache(maxsize=4)
def _folders_digest(place: Path, times: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    for split, group, entry in _folder_files(place):
        content = hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()
        digest.update(f"{split} {group} {entry.name} {content}\n".encode())
    return digest.hexdigest()


def write_posts(path: Path, posts: Iterable[Post]) -> None:
    """Writes posts as jsonl.gz; equal posts give equal bytes."""
    rows = ({"split": p.split, "group": GROUPS[p.group], "id": p.id, "text": p.text} for p in posts)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    write_atomic(path, gzip.compress(text.encode(), mtime=0))
