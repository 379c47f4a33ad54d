"""Submissions are written by strangers: each that is not one is refused in one line."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from prunebench.leaderboard.bundle import pack
from prunebench.leaderboard.contributed import HISTORY
from prunebench.leaderboard.contributions.card import Card, hardware, method_cards
from prunebench.leaderboard.contributions.pages import submission_files
from support.command import files, refused
from support.contributions import accepted, carded, signed, spoiled
from support.records import grid, record


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def sent(tmp_path) -> Path:
    """A submission of records that nobody has looked at yet."""
    records = grid()
    data = pack(records)
    card = Card(
        name="sent", date="2026-01-02", ran="2026-01-01", by="Jane Doe", contact="j@example.org",
        prunebench="1", hardware=hardware(records), runs=len(records),
        methods=method_cards(records, {}),
        files={"records.jsonl.gz": hashlib.sha256(data).hexdigest()},
    )  # fmt: skip
    folder = tmp_path / "sent"
    folder.mkdir()
    for name, content in submission_files(card, data, records).items():
        (folder / name).write_bytes(content)
    return folder


def link(folder: Path) -> None:
    secret = folder.parent / "secret"
    secret.write_text("secret")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(secret)


def linked_records(folder: Path) -> None:
    (folder / "records.jsonl.gz").rename(folder.parent / "elsewhere.jsonl.gz")
    (folder / "records.jsonl.gz").symlink_to(folder.parent / "elsewhere.jsonl.gz")


def pipe(folder: Path) -> None:
    (folder / "card.toml").unlink()
    os.mkfifo(folder / "card.toml")


def code(folder: Path) -> None:
    (folder / "method.py").write_text("raise SystemExit('run')")


def inner(folder: Path) -> None:
    (folder / "plugins").mkdir()


def odd_name(folder: Path) -> None:
    (folder / "\x1b[2J\u202e.md").write_text("")


def huge(folder: Path) -> None:
    with (folder / "records.jsonl.gz").open("r+b") as file:
        file.truncate(1 << 33)


def huge_card(folder: Path) -> None:
    with (folder / "card.toml").open("ab") as file:
        file.write(b"#" * (1 << 17))


def bomb(folder: Path) -> None:
    (folder / "records.jsonl.gz").write_bytes(gzip.compress(b"\n" * (1 << 24)))
    signed(folder)


def pickled(folder: Path) -> None:
    (folder / "records.jsonl.gz").write_bytes(pickle.dumps(Trap(folder.parent / "trapped")))
    signed(folder)


def pickled_inside(folder: Path) -> None:
    trap = pickle.dumps(Trap(folder.parent / "trapped"))
    (folder / "records.jsonl.gz").write_bytes(gzip.compress(trap))
    signed(folder)


def no_card(folder: Path) -> None:
    (folder / "card.toml").unlink()


def no_records(folder: Path) -> None:
    (folder / "records.jsonl.gz").unlink()


def card(pattern: str, text: str) -> Callable[[Path], object]:
    return lambda folder: carded(folder, pattern, text)


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (link, ["README.md: is a link"]),
        (linked_records, ["records.jsonl.gz: is a link"]),
        (pipe, ["card.toml: is no regular file"]),
        (code, ["method.py: no file of a submission", "accepted: card.toml"]),
        (inner, ["plugins: no folder of a submission"]),
        (odd_name, ["\\x1b[2J\\u202e.md: no file of a submission"]),
        (huge, [f"records.jsonl.gz: {1 << 33} bytes"]),
        (huge_card, ["card.toml: ", "bytes; accepted: up to 64 KiB"]),
        (bomb, ["records.jsonl.gz: "]),
        (pickled, ["records.jsonl.gz: cannot be read"]),
        (pickled_inside, ["records.jsonl.gz: line 1: not a JSON record"]),
        (no_card, ["card.toml: is missing"]),
        (no_records, ["records.jsonl.gz: the card names it, and it is not there"]),
        (card("name = .*", 'name = "../../up"'), ["'../../up' is not accepted"]),
        (card("by = .*", 'by = "<script>alert(1)</script>"'), ["is not accepted", "one line"]),
        (card("by = .*", 'by = "[me](https://example.org)"'), ["is not accepted", "one line"]),
        (card("by = .*", r'by = "\u202Eeod"'), ["is not accepted", "one line"]),
        (card("contact = .*", 'contact = ""'), ["contact: '' is not accepted"]),
        (card("runs = .*", "runs = 0"), ["runs: 0 is not accepted; accepted: 1 or more"]),
        (card("format = 1", "format = 2"), ["format: 2 is not accepted"]),
        (card("by = ", "plugin = 'x'\nby = "), ["unknown field 'plugin'"]),
        (card('"records.jsonl.gz" = .*', f'"../../x" = "{"0" * 64}"'), ["is not accepted"]),
        (card("date = .*", "date = [[[["), ["malformed TOML"]),
    ],
)  # fmt: skip
def test_it_is_refused_in_one_line_and_nothing_happens(sent, spoil, parts, tmp_path):
    spoil(sent)
    before = sorted(path.name for path in tmp_path.iterdir())
    said = accepted(sent, tmp_path / "board")
    refused(said, *parts)
    assert len(said.err) < 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == before  # no board, nothing trapped


@pytest.mark.parametrize("name", ["<b>bold</b>", "a|b", "[x](y)", "`x`"])
def test_names_with_markup_are_refused(name, sent, tmp_path):
    spoiled(sent, lambda records: [record(name, seed=seed) for seed in range(3)])
    said = accepted(sent, tmp_path / "board")
    assert said.code == 2
    assert f"the name '{name}' holds signs of markup" in said.err
    assert all(line.startswith("prunebench: accept: refused: ") for line in said.err.splitlines())
    assert not (tmp_path / "board").exists()


def test_a_damaged_history_of_a_board_is_one_line(sent, tmp_path):
    board = tmp_path / "board"
    board.mkdir()
    for text, part in (("[", "cannot be read"), ('{"format": 3}', "3 is not accepted"),
                       ("[" * 100_000, "cannot be read")):  # fmt: skip
        (board / HISTORY).write_text(text)
        before = files(board)
        refused(accepted(sent, board), HISTORY, part)
        assert files(board) == before
