"""Renders published boards anew, each by the command that its own page names.

``make boards`` renders all of ``docs/leaderboards`` and the table of the README;
``python -m support.boards_again demo news`` renders two of them. Records and ids stay as they are;
figures are drawn from the records, those of artifacts that are not there are kept.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from support.command import Said, prunebench

ROOT = Path(__file__).parents[2]
BOARDS = ROOT / "docs/leaderboards"
#: The board whose table the README shows.
SHOWN = "demo"
RECORDS, PAGE = "records.jsonl.gz", "README.md"
_COMMAND = re.compile(r"^- Render again, in this folder: `(prunebench leaderboard [^`]+)`$", re.M)


def command_of(folder: Path) -> list[str]:
    """Words of the command that renders a published folder, after ``prunebench``.

    Raises:
        ValueError: Its page names none.
    """
    found = _COMMAND.search((folder / PAGE).read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{folder / PAGE} does not say how it was rendered")
    return shlex.split(found[1])[1:]


def render_again(folder: Path, figures: bool = True) -> Said:
    """Runs the command in the folder; its records keep their bytes.

    Args:
        folder: A published folder.
        figures: Whether those that come from records are drawn too; the others stay either way.

    Returns:
        What the command printed.

    Raises:
        ValueError: It failed, or the records are not the same any more.
    """
    words = [word for word in command_of(folder) if word != "--no-figures" or not figures]
    before = (folder / RECORDS).read_bytes()
    with contextlib.chdir(folder):
        said = prunebench(*words)
    after = (folder / RECORDS).read_bytes()
    (folder / RECORDS).write_bytes(before)  # another zlib packs the same lines in other bytes
    if said.code or gzip.decompress(before) != gzip.decompress(after):
        raise ValueError(f"{folder}: {said.err or 'other records'}")
    if figures:
        remove_unnamed(folder)
    return said


def remove_unnamed(folder: Path) -> None:
    """Removes pictures of earlier versions, which the page does not show any more."""
    page = (folder / PAGE).read_text(encoding="utf-8")
    for picture in folder.glob("figures/*.svg"):
        if f"(figures/{picture.name})" not in page:
            picture.unlink()
            picture.with_suffix(".png").unlink(missing_ok=True)


def first_table(page: str) -> str:
    """The first table of a page whose rows are methods.

    Raises:
        ValueError: The page has none.
    """
    for part in page.split("\n\n"):
        if part.startswith("| method "):
            return part
    raise ValueError("the page has no table whose rows are methods")


def with_table(readme: str, page: str) -> str:
    """The README with the first table of a board in place of its own."""
    return readme.replace(first_table(readme), first_table(page).strip())


def main(names: Sequence[str]) -> None:
    """Renders the boards named, or all.

    Raises:
        SystemExit: A name is no board; nothing is rendered then.
    """
    folders = sorted(path.parent for path in BOARDS.glob(f"*/{RECORDS}"))
    known = [folder.name for folder in folders]
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no such board: {', '.join(unknown)}; boards: {', '.join(known)}")
    for folder in folders:
        if names and folder.name not in names:
            continue
        said = render_again(folder)
        print(f"{folder.relative_to(ROOT)}: {len(said.err.splitlines())} files", flush=True)
        if folder.name == SHOWN:
            readme = ROOT / PAGE
            page = (folder / PAGE).read_text(encoding="utf-8")
            readme.write_text(with_table(readme.read_text(encoding="utf-8"), page), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
