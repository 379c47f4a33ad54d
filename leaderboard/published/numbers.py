"""Printed numbers of a paper: as typed rows, checked against each other, and beside ours.

The file ``published/alignprune.csv`` and what is missing from it are described beside it.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from prunebench.errors import InputError
from prunebench.files import read_at_most

FILE = Path(__file__).parent / "alignprune.csv"
COLUMNS = (
    "table", "dataset", "model", "relabel", "method", "align", "noise", "rate", "prune_ratio",
    "mean", "std", "source_note",
)  # fmt: skip

#: The paper's method as this project names it; an ablation's base method is not printed.
METHODS = {
    "full": "full", "static_random": "random", "dynamic_random": "random-dynamic",
    "smalll": "small-loss", "margin": "margin", "forgetting": "forgetting", "grand": "grand",
    "moderate": "moderate", "ssp": "ssp", "prune4rel": "prune4rel", "dyn_unc": "dyn-unc",
    "dual": "dual", "divbs": "divbs", "ies": "ies", "infobatch": "infobatch", "seta": "seta",
    "alignprune_default": "",
}  # fmt: skip
DATASETS = {
    "cifar100n": "cifar100n", "cifar10n": "cifar10n", "imagenet1k": "imagenet", "news": "news",
    "": "",
}  # fmt: skip
_REAL = {"real": "real", "real_aggregate": "real:aggregate", "real_worst": "real:worst"}
_SYNTHETIC = ("symmetric", "asymmetric", "pairflip")
_GAP = "mean_delta"
#: Both a mean and its terms are rounded to one decimal: each can be off by 0.05.
TOLERANCE = 0.1
#: Decimals of printed numbers unless a file says otherwise.
DECIMALS = 1
#: A name that another paper's file may use for a data set, criterion, method or noise.
_NAME = re.compile(r"[a-z0-9][\w.+@:-]{0,99}", re.ASCII)
_NAME_WORDS = "small letters, digits and . + @ : _ -"
_MOST_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Printed:
    """One printed number.

    Attributes:
        table: ``1`` to ``5`` or ``B`` to ``I``.
        dataset: Name as here; empty where the table does not say.
        model: Name as in the file.
        relabel: ``sop+`` or empty.
        method: Name as here, ``+align`` included; ``+align`` alone where the base is not printed.
        noise: As on the command line; empty where it is not stated, or for a mean gap.
        ratio: Nominal share saved; 0 for full training, None where it is not stated.
        value: The number.
        std: Its printed standard deviation, or None.
        metric: ``accuracy`` and ``gap`` (mean of value minus full training) in percent, or what
            the note names: ``train_minutes``, ``mean percent of samples pruned per epoch``.
        note: Source note, options of an ablation among them.
        decimals: With which ``value`` was printed.
    """

    table: str
    dataset: str
    model: str
    relabel: str
    method: str
    noise: str
    ratio: float | None
    value: float
    std: float | None
    metric: str
    note: str
    decimals: int = DECIMALS

    @property
    def options(self) -> dict[str, str]:
        """What an ablation's row varies: ``name=value`` pairs of the note."""
        pairs = (part.strip().partition("=") for part in self.note.split(";"))
        return {name: value for name, equals, value in pairs if equals and name != "metric"}


def read_published(
    path: Path = FILE, any_names: bool = False, decimals: int = DECIMALS
) -> list[Printed]:
    """Reads and validates a file of printed numbers.

    Args:
        path: Of the file.
        any_names: Whether data sets, criteria, methods and noises may have any name of this
            project beside those of the AlignPrune paper, and no data set may be left out.
        decimals: With which its numbers were printed.

    Raises:
        InputError: A column or value that is not accepted, or a number that comes twice; the line
            of the file is named.
    """
    try:
        data = read_at_most(path, _MOST_BYTES)
        if len(data) > _MOST_BYTES:
            raise InputError("is too large for printed numbers", where=str(path))
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise InputError(
                f"columns {', '.join(reader.fieldnames or [])}", where=str(path),
                accepted=", ".join(COLUMNS),
            )  # fmt: skip
        rows, lines = list[Printed](), list[int]()
        for line in reader:
            rows.append(_row(line, f"{path}:{reader.line_num}", any_names, decimals))
            lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read ({error})", where=str(path)) from None
    seen: set[tuple[object, ...]] = set()
    for number, row in zip(lines, rows, strict=True):
        cell = (row.table, row.dataset * any_names, row.model, row.relabel, row.method, row.noise,
                row.ratio, row.metric, row.note)  # fmt: skip
        if cell in seen:
            raise InputError(
                f"table {row.table}, {row.method}, {row.noise}: twice", where=f"{path}:{number}"
            )
        seen.add(cell)
    return rows


def _row(line: dict[str, str], where: str, any_names: bool, decimals: int) -> Printed:
    if None in line or None in line.values():
        raise InputError("wrong number of columns", where=where, accepted=f"{len(COLUMNS)}")
    method = _named(line["method"], METHODS, f"{where}: method", any_names)
    if any_names and not line["dataset"]:
        raise InputError("no data set", where=f"{where}: dataset", accepted="a name as here")
    align = _named(line["align"], {"0": "", "1": "+align"}, f"{where}: align")
    note = line["source_note"]
    metric, ratio = "accuracy", _number(line["prune_ratio"], f"{where}: prune_ratio", 0.0, 1.0)
    if note.startswith("metric="):
        metric = note.removeprefix("metric=").partition(";")[0].partition(" (")[0]
    elif line["noise"] == _GAP:
        metric = "gap"
    low = -100.0 if metric == "gap" else 0.0
    value = _number(line["mean"], f"{where}: mean", low, 100.0)
    if value is None:
        raise InputError("no value", where=f"{where}: mean", accepted="a number")
    return Printed(
        line["table"], _named(line["dataset"], DATASETS, f"{where}: dataset", any_names),
        line["model"],
        _named(line["relabel"], {"": "", "sop+": "sop+"}, f"{where}: relabel", any_names),
        method + align, _noise(line["noise"], line["rate"], where, any_names), ratio, value,
        _number(line["std"], f"{where}: std", 0.0, 100.0), metric, note, decimals,
    )  # fmt: skip


def _named(text: str, known: dict[str, str], where: str, any_names: bool = False) -> str:
    if any_names and text not in known:
        if not _NAME.fullmatch(text):
            raise InputError(f"{text!r}", where=where, accepted=f"a name: {_NAME_WORDS}")
        return text
    if text not in known:
        raise InputError(f"{text!r}", where=where, accepted=", ".join(map(repr, known)))
    return known[text]


def _noise(kind: str, rate: str, where: str, any_names: bool) -> str:
    if kind in _SYNTHETIC or (any_names and rate):
        _named(kind, {}, f"{where}: noise", any_names=True)
        if _number(rate, f"{where}: rate", 0.0, 1.0) is None:
            raise InputError("no rate", where=f"{where}: rate", accepted="above 0, below 1")
        return f"{kind}:{float(rate):g}"
    if rate:
        raise InputError(f"{rate!r}", where=f"{where}: rate", accepted=f"none for {kind!r}")
    known = {**_REAL, "clean": "clean", "": "", _GAP: ""}
    return _named(kind, known, f"{where}: noise", any_names)


def _number(text: str, where: str, low: float, high: float) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InputError(f"{text!r}", where=where, accepted=f"a number, {low:g} to {high:g}")
    return value


def gap_errors(rows: Sequence[Printed]) -> dict[tuple[str, str, str, float | None], float]:
    """Printed mean gaps against the cells they are means of.

    Args:
        rows: All rows of a file.

    Returns:
        (table, model, method, ratio) -> printed minus recomputed gap in percentage points, for
        every row of a table that has all cells which its full-training row has. The model is
        ``all`` where the gap is a mean over models and not over noises; its key then ends on the
        noise in place of the method's own name: ``infobatch clean``.
    """
    full = {(r.table, r.model, r.noise): r.value for r in rows if r.method == "full"}
    found: dict[tuple[str, str, str, float | None], float] = {}
    for gap in rows:
        if gap.metric != "gap":
            continue
        mean_over_models = gap.model == "all"
        block = gap.note.partition(" ")[0]
        cells = {
            (r.model, r.noise): r.value
            for r in rows
            if (r.table, r.method, r.ratio, r.metric) == (gap.table, gap.method, gap.ratio,
                                                          "accuracy")
            and (r.noise.startswith(block) if mean_over_models else r.model == gap.model)
        }  # fmt: skip
        wanted = {
            (model, noise)
            for table, model, noise in full
            if table == gap.table
            and (noise.startswith(block) if mean_over_models else model == gap.model)
        }
        if set(cells) != wanted:
            continue
        again = fmean(value - full[(gap.table, *cell)] for cell, value in cells.items())
        name = f"{gap.method} {block}" if mean_over_models else gap.method
        found[gap.table, gap.model, name, gap.ratio] = gap.value - again
    return found


def disagreements(rows: Iterable[Printed], table: str, other: str) -> tuple[int, list[Printed]]:
    """Cells that two tables both print: how many, and those of ``table`` that differ."""
    rows = list(rows)

    def cells(name: str) -> dict[tuple[str, str, str, float | None, str], Printed]:
        return {
            (r.dataset, r.method, r.noise, r.ratio, r.metric): r for r in rows if r.table == name
        }

    mine, theirs = cells(table), cells(other)
    both = [key for key in mine if key in theirs]
    return len(both), [mine[key] for key in both if mine[key].value != theirs[key].value]


ABOUT = (
    "Copied from the paper: printed means, another set-up, unpaired, not ranked and not tested; "
    "`prunebench reproduce` names the differences"
)


@dataclass(frozen=True)
class PrintedRow:
    """One printed row.

    Attributes:
        label: Method as named here, with the criterion where it is not cross-entropy.
        values: (mean, standard deviation or None) by noise setting of the table; None where the
            paper prints none.
    """

    label: str
    values: tuple[tuple[float, float | None] | None, ...]


def printed_rows(
    printed: Iterable[Printed], dataset: str, criterion: str, ratio: float, noises: Sequence[str]
) -> tuple[PrintedRow, ...]:
    """The paper's rows for one table of ours.

    Args:
        printed: All printed numbers.
        dataset, criterion: Names of the table's.
        ratio: Its ratio; full training is printed at 0 and is a row of every table.
        noises: Its columns.
    """
    relabel = "" if criterion == "ce" else criterion
    found: dict[str, dict[str, tuple[float, float | None]]] = defaultdict(dict)
    for row in printed:
        if row.metric != "accuracy" or row.options or row.dataset != dataset:
            continue
        if row.relabel != relabel or row.noise not in noises:
            continue
        if row.ratio == ratio or (row.method == "full" and row.ratio == 0):
            found[row.method].setdefault(row.noise, (row.value, row.std))
    order = sorted(found, key=lambda method: (method != "full", method))
    return tuple(
        PrintedRow(method, tuple(found[method].get(noise) for noise in noises)) for method in order
    )
