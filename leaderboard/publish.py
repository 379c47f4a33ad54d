"""A folder ready for a repository or a page: tables, data, and the command that repeats them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.bundle import pack
from prunebench.leaderboard.contributed import HISTORY
from prunebench.leaderboard.render.markdown import render_markdown
from prunebench.leaderboard.render.target_text import TARGET_STEM
from prunebench.leaderboard.render.transfer_text import TRANSFER_FILE
from prunebench.record import Record

RECORDS = "records.jsonl.gz"
_PICTURE = re.compile(r"^!\[(.*)\]\(([^()\s]+\.svg)\)$", re.M)
#: Folder of kept ids and scores, its card and its table.
IDS_FOLDER, IDS_CARD, IDS_TABLE = "ids", "README.md", "table.csv"


def publication(
    board: Board,
    files: Mapping[str, bytes],
    records: Sequence[Record],
    command: str,
    extra: Mapping[str, bytes] | None = None,
    ids: bool = False,
) -> dict[str, bytes]:
    """Every file of the folder by relative name; a pure function of board and records.

    Args:
        board: The board.
        files: Its rendered forms by file name, figures below ``figures/``.
        records: What it was built from.
        command: Command that renders the folder again, run inside it.
        extra: Further files, such as the protocol.
        ids: Whether the folder holds the kept ids of these records.
    """
    figures = sorted(name for name in files if name.startswith("figures/")
                     and name.endswith(".svg"))  # fmt: skip
    links = [f"[{name.removeprefix('leaderboard')}]({name})" for name in sorted(files)
             if name.startswith("leaderboard.") or name == TRANSFER_FILE]  # fmt: skip
    lines = [
        f"- Digest of the records: `{board.digest}`",
        f"- Render again, in this folder: `{command}`",
        f"- Other forms: {', '.join(links)}; records: [{RECORDS}]({RECORDS})",
    ]
    targets = [f"[{name.rpartition('.')[2]}]({name})" for name in sorted(files)
               if name.startswith(f"{TARGET_STEM}.")]  # fmt: skip
    if targets:
        lines.append(f"- Samples that runs train until they reach a share of full training's "
                     f"accuracy: {', '.join(targets)}")  # fmt: skip
    if "figures/figures.md" in files:
        lines.append("- Captions of the figures, and which were left out and why: "
                     "[figures/figures.md](figures/figures.md)")  # fmt: skip
    if ids:
        lines.append(f"- Kept samples of the static methods: [{IDS_FOLDER}/]({IDS_FOLDER}/"
                     f"{IDS_CARD})")  # fmt: skip
    if board.history.contributions:
        files = {**files, HISTORY: board.history.dumps().encode()}
        lines.append(f"- Version {board.history.version} of this board; who handed in which runs: "
                     f"[{HISTORY}]({HISTORY})")  # fmt: skip
    lines += [f"- {old.method} version {old.version}, {old.runs} runs of an earlier version: "
              f"[{old.file}]({old.file}), rendered by `prunebench leaderboard {old.file} --out DIR`"
              for one in board.history.contributions for old in one.superseded]  # fmt: skip
    alts = _alts(files.get("figures/figures.md", b""))
    pictures = [f"\n![{alts.get(name) or _title(name)}]({name})" for name in figures]
    page = render_markdown(board, lines) + "\n".join(pictures)
    return {
        **files,
        **(extra or {}),
        RECORDS: pack(records),
        "README.md": (page.rstrip("\n") + "\n").encode(),
    }


def _alts(index: bytes) -> dict[str, str]:
    """What each picture shows, as the index of figures says, by file name."""
    found = _PICTURE.findall(index.decode(errors="replace"))
    return {f"figures/{name}": alt for alt, name in found}


def _title(name: str) -> str:
    stem = name.rsplit("/", 1)[-1].removesuffix(".svg")
    return stem.replace("-", " ")
