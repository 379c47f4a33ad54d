"""Damaged posts, vectors and folders of 20 newsgroups are refused by name."""

import json
from pathlib import Path

import pytest

from prunebench.datasets.sources.news.files import FOLDERS, JSONL
from prunebench.datasets.sources.news.news import News
from prunebench.errors import InputError
from support.newsgroups import posts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("the 1 2 3\naba 1 2\n", "line 2: 2 numbers"),
        ("the 1 x 3\n", "line 1: could not convert"),
        ("the 1 nan 3\n", "line 1: numbers that are not finite"),
        ("zzzzz 1 2 3\n", "holds no word"),
        ("", "holds no word"),
        ("the\n", "line 1: 0 numbers"),
    ],
)
def test_damaged_vectors(jsonl: Path, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "glove.txt"
    file.write_text(content)
    refused(News(path=str(jsonl), embedding=str(file)), message, str(file))


def refused(source: News, *parts: str, check: bool = False) -> None:
    read = source.check if check else source.load
    with pytest.raises(InputError) as caught:
        read()
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


def test_an_unknown_embedding_is_no_file(jsonl: Path) -> None:
    for embedding in ("glov", ""):
        refused(News(path=str(jsonl), embedding=embedding), "news.embedding", "lsa, random")


DAMAGE = {
    "not JSON": (lambda lines: [*lines[:4], lines[4][:-9]], "line 5: not JSON"),
    "no object": (lambda lines: [*lines, "[1]"], "line 121: not a post"),
    "field": (lambda lines: [lines[0].replace('"id"', '"no"'), *lines[1:]], "line 1: not a post"),
    "split": (lambda lines: [lines[0].replace('"train"', '"val"', 1), *lines[1:]], "split 'val'"),
    "group": (
        lambda lines: [lines[0].replace("alt.ath", "alt.eth"), *lines[1:]],
        "line 1: group 'alt.etheism'",
    ),
    "twice": (lambda lines: [*lines, lines[3]], "post 12 of alt.atheism is there 2 times"),
    "no test": (lambda lines: lines[:80], "no test posts"),
    "class": (lambda lines: lines[4:], "no training post of class alt"),
    "nothing": (lambda lines: [], "no train posts"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_lines(tmp_path: Path, damage: str) -> None:
    change, message = DAMAGE[damage]
    lines = change([json.dumps(row) for row in posts()])
    path = tmp_path / JSONL[1]
    path.write_text("".join(f"{line}\n" for line in lines))
    refused(News(path=str(tmp_path)), message, str(path), check=True)


def test_damaged_files(jsonl: Path, folders: Path, tmp_path: Path) -> None:
    jsonl.write_bytes(jsonl.read_bytes()[:-400])
    refused(News(path=str(jsonl)), "damaged", str(jsonl), check=True)
    jsonl.write_bytes(b"no gzip")
    refused(News(path=str(jsonl)), "damaged", str(jsonl), check=True)
    (folders / FOLDERS["train"] / "alt.music").mkdir()
    refused(News(path=str(folders)), "group 'alt.music'", check=True)
    (folders / FOLDERS["train"] / "alt.music").rmdir()
    (folders / FOLDERS["test"]).rename(folders / "gone")
    refused(News(path=str(folders)), FOLDERS["test"])
    refused(News(path=str(tmp_path / "nowhere")), JSONL[0], "data prepare news")
