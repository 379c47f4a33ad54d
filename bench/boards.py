"""From results folders to a written leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prunebench.bench.store import Store
from prunebench.errors import InputError
from prunebench.leaderboard.build import build
from prunebench.leaderboard.markdown import render_markdown
from prunebench.leaderboard.tabular import render_csv
from prunebench.record import Record, write_atomic


@dataclass(frozen=True)
class Written:
    """What was rendered and where it lies."""

    markdown: str
    paths: list[Path]


def gather(folders: Sequence[Path]) -> list[Record]:
    """All records of several folders; equal records count once.

    Raises:
        InputError: A damaged record, or two records of one key that disagree on a figure.
    """
    found: dict[str, tuple[Record, Path]] = {}
    for folder in folders:
        scan = Store(folder).scan()
        if scan.problems:
            first = scan.problems[0]
            raise InputError(
                f"{first.reason} ({len(scan.problems)} such files)",
                where=str(first.path),
                accepted="records as they were written; `prunebench status` lists the others",
            )
        for record in scan.records:
            old = found.setdefault(record.key, (record, folder))
            if old[0].metrics != record.metrics or old[0].status != record.status:
                raise InputError(
                    f"record {record.key} differs between {old[1]} and {folder}",
                    where="leaderboard",
                    accepted="one result per specification",
                )
    return [found[key][0] for key in sorted(found)]


def write_board(folders: Sequence[Path], out: Path) -> Written:
    """Renders markdown and CSV from records; the same records give the same bytes.

    Raises:
        InputError: No records, damaged ones, records that cannot stand in one table, or a folder
            that cannot be written.
    """
    records = gather(folders)
    if not records:
        raise InputError("no records", where=", ".join(str(f) for f in folders))
    board = build(records)
    texts = {"leaderboard.md": render_markdown(board), "leaderboard.csv": render_csv(board)}
    paths = []
    for name, text in texts.items():
        try:
            write_atomic(out / name, text.encode())
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", where=str(out)) from None
        paths.append(out / name)
    return Written(texts["leaderboard.md"], paths)
