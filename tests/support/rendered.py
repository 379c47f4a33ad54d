"""Digests of every text of published boards, and of what their figures draw.

Run as a program it prints them as JSON: ``python -m support.rendered demo news`` for two boards.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from prunebench.bench.reports.boards import gather, make_board, texts
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.figures import Material
from prunebench.leaderboard.figures.style import available
from prunebench.leaderboard.protocol_file import ProtocolFile, read_protocol
from prunebench.leaderboard.published.numbers import read_published

BOARDS = sorted(Path(__file__).parents[2].glob("docs/leaderboards/*/records.jsonl.gz"))
NAMES = tuple(path.parent.name for path in BOARDS)


def digests(names: Collection[str] = NAMES) -> dict[str, str]:
    """By board and file, or board and figure where figures can be drawn."""
    found: dict[str, str] = {}
    figures = available()
    for path in BOARDS:
        name = path.parent.name
        if name not in names:
            continue
        board = board_of(path)
        parts: dict[str, Any] = dict(texts(board))
        if figures:
            parts |= dict(drawn(Material(board, nemenyi=True)))
        for part, content in parts.items():
            found[f"{name}/{part}"] = hashlib.sha256(content.encode()).hexdigest()
    if figures:
        found |= {f"made up/{part}": hashlib.sha256(content.encode()).hexdigest()
                  for part, content in with_artifacts()}  # fmt: skip
    return found


def with_artifacts() -> list[tuple[str, str]]:
    """Figures of a made-up board whose runs have stored losses, classes and epochs."""
    from support.drawing import stored_board

    loss = (np.random.default_rng(5).random((4, 200)) * 3).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        return list(drawn(stored_board(Path(folder), loss=loss)))


def board_of(path: Path) -> Board:
    """A published board, from its records alone."""
    protocol = path.parent / "protocol.toml"
    settings = read_protocol(protocol) if protocol.is_file() else ProtocolFile()
    page = (path.parent / "README.md").read_text(encoding="utf-8")
    printed = read_published() if "--copy-from-paper" in page else []
    return make_board(gather([path]), settings, printed)


def drawn(material: Material) -> Iterator[tuple[str, str]]:
    """The numbers and words of each figure, before anything is laid out."""
    from prunebench.leaderboard.figures.all_figures import FIGURES, drawings
    from prunebench.leaderboard.figures.style import Drawn, figure_settings

    def unlaid(
        figure: Any, stem: str, title: str, caption: str, right: float = 0.0, answer: str = ""
    ) -> Drawn:
        return Drawn(stem, title, caption, figure, answer=answer)

    with figure_settings(), contextlib.ExitStack() as patches:
        for module in {draw.__module__ for draw in FIGURES.values()}:
            patches.enter_context(mock.patch(f"{module}.finish", unlaid))
        for name, found in drawings(material):
            if isinstance(found, Drawn):
                content = [found.title, found.words, *_marks(found)]
                yield f"figures/{name}/{found.stem}", "\n".join(content)


def _marks(found: Any) -> Iterator[str]:
    for axes in found.figure.axes:
        for artist in axes.get_children():
            for value in _values(artist):
                yield f"{type(artist).__name__} {value}"


def _values(artist: Any) -> Iterator[Any]:
    if hasattr(artist, "get_xydata"):
        yield np.asarray(artist.get_xydata(), np.float64).tolist()
    if hasattr(artist, "get_array") and artist.get_array() is not None:
        yield np.asarray(artist.get_array(), np.float64).tolist()
    if hasattr(artist, "get_offsets"):
        yield np.asarray(artist.get_offsets(), np.float64).tolist()
    if hasattr(artist, "get_paths"):
        yield from (path.vertices.tolist() for path in artist.get_paths())
    if type(artist).__name__ == "StepPatch":
        yield [np.asarray(part, np.float64).tolist() for part in artist.get_data()[:2]]
    if hasattr(artist, "get_text"):
        yield artist.get_text()


if __name__ == "__main__":
    print(json.dumps(digests(sys.argv[1:])))
