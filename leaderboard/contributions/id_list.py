"""Lists of kept samples as somebody hands them in: a table with a line for each sample."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from dataclasses import dataclass

from prunebench.errors import InputError
from prunebench.leaderboard.contributed import is_line
from prunebench.leaderboard.contributions.card import FEWEST_SEEDS

COLUMNS = ("setting", "ratio", "seed", "id")
#: Far above the samples of any data set that is trained here.
_LARGEST_ID = 1 << 31
_MOST_CELLS = 2000


@dataclass(frozen=True, order=True)
class IdCell:
    """The samples that are kept in one cell.

    Attributes:
        setting: Name of the setting as boards show it.
        ratio: Share of training saved.
        seed: Seed of the run.
        ids: Original ids, ascending.
    """

    setting: str
    ratio: float
    seed: int
    ids: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.setting}, ratio {self.ratio:g}, seed {self.seed}"

    @property
    def csv(self) -> bytes:
        """The file that ``--method ids:FILE`` reads."""
        return "".join(["id\n", *(f"{n}\n" for n in self.ids)]).encode()


def read_id_list(data: bytes, where: str) -> tuple[list[IdCell], list[str]]:
    """Reads a table ``setting,ratio,seed,id``; its lines may have any order.

    Args:
        data: The file.
        where: Its path, for messages.

    Returns:
        The cells in order, and every reason to refuse them.
    """
    try:
        found = _lines(data, where)
    except InputError as error:
        return [], [str(error)]
    reasons = []
    cells = []
    seeds: dict[tuple[str, float], set[int]] = defaultdict(set)
    for (setting, ratio, seed), ids in found.items():
        cell = IdCell(setting, ratio, seed, tuple(sorted(ids)))
        if len(set(ids)) < len(ids):
            reasons.append(f"{where}: {cell}: an id is there twice")
        seeds[setting, ratio].add(seed)
        cells.append(cell)
    for (setting, ratio), own in sorted(seeds.items()):
        if len(own) < FEWEST_SEEDS:
            reasons.append(f"{where}: {setting}, ratio {ratio:g}: {len(own)} seeds; accepted: "
                           f"{FEWEST_SEEDS} or more")  # fmt: skip
    return sorted(cells), reasons


def _lines(data: bytes, where: str) -> dict[tuple[str, float, int], list[int]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8", where=where) from None
    found: dict[tuple[str, float, int], list[int]] = defaultdict(list)
    named: dict[tuple[str, str, str], tuple[str, float, int]] = {}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = [name.strip().lower() for name in next(reader, [])]
        if head != list(COLUMNS):
            raise InputError("the first line names other columns", where=where,
                             accepted=",".join(COLUMNS))  # fmt: skip
        for row in filter(None, reader):
            if len(row) != len(COLUMNS):
                raise InputError(f"{len(row)} values", where=f"{where}: line {reader.line_num}",
                                 accepted=f"{len(COLUMNS)}")  # fmt: skip
            *cell, sample = row
            slot = cell[0], cell[1], cell[2]
            if slot not in named:
                named[slot] = _cell(*slot, f"{where}: line {reader.line_num}")
            if len(named) > _MOST_CELLS:
                raise InputError(f"more than {_MOST_CELLS} cells", where=where)
            found[named[slot]].append(_number(sample, f"{where}: line {reader.line_num}"))
    except csv.Error as error:
        raise InputError(f"is no table ({error})", where=f"{where}: line {reader.line_num}",
                         accepted=f"columns {', '.join(COLUMNS)}") from None  # fmt: skip
    if not found:
        raise InputError("holds no id", where=where, accepted="a line for each kept sample")
    return dict(found)


def _cell(setting: str, ratio: str, seed: str, where: str) -> tuple[str, float, int]:
    setting = setting.strip()
    if not is_line(setting):
        raise InputError(f"setting {setting[:80]!r}", where=where,
                         accepted="a setting of a board: clean, symmetric:0.4, ...")  # fmt: skip
    try:
        share = float(ratio)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise InputError(f"ratio {ratio[:40]!r}", where=where, accepted="a number between 0 and 1")
    return setting, share, _number(seed, where)


def _number(text: str, where: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) < _LARGEST_ID):
        raise InputError(f"{text[:40]!r}", where=where, accepted="a whole number from 0")
    return int(text)
