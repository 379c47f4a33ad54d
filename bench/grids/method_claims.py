"""What records say of their method, beside what running it here would say; nothing is run."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from prunebench.bench.reports.installed import counted, sources_of
from prunebench.bench.runs.scoring_runs import evidence_needs
from prunebench.bench.spec.run_spec import RunSpec, clean_labels
from prunebench.errors import InputError, shown, spelled
from prunebench.leaderboard.board.collect import FULL
from prunebench.methods.compose import list_methods, resolve_method
from prunebench.record import Record


def claim_faults(records: Sequence[Record]) -> list[str]:
    """Records that say of a method that is here what it is not: its kind, whether it is an oracle,
    and what clean labels it uses."""
    return counted((line, record.key) for record in records for line in _of_one(record))


def _of_one(record: Record) -> list[str]:
    if sources_of(record).get("method"):
        return []
    try:
        spec = RunSpec.model_validate(record.spec)
        info = resolve_method(spec.method.name)
    except (ValidationError, InputError):
        return []  # another reason of the records says so
    if info.target.argument:
        return []
    try:
        pruner = info.build(spec.method.params)
        reads = "reference set" * evidence_needs(pruner, spec).reads_reference
    except InputError as error:
        return [str(error)]
    used = clean_labels(pruner.clean_data or reads, spec.role, spec.validation.labels, spec.tuned)
    facts = {"clean_labels_used": used, "oracle": info.oracle, "kind": info.kind}
    return [f"{spelled(spec.method.name)}: {name} {shown(record.info.get(name))}; accepted: "
            f"{shown(value)}, as it is here"
            for name, value in facts.items() if record.info.get(name) != value]  # fmt: skip


def posing_faults(records: Sequence[Record], board: Sequence[Record] = ()) -> list[str]:
    """Records whose row reads like that of another method, prunebench's or the board's.

    Args:
        records: Of a submission.
        board: Of the board, without them.
    """
    rows = _rows(board)
    return counted(
        (line, record.key)
        for record in records
        for line in _posing(_row(record), record.spec["method"]["name"], rows)
    )


def label_faults(label: str, board: Sequence[Record]) -> list[str]:
    """The same for the one row of a list of ids, which no method of the board has yet."""
    return _posing(label, "", _rows(board))


def _posing(row: str, method: str, rows: dict[str, str]) -> list[str]:
    if not row.isascii():
        return [f"row {spelled(row)}: other letters than those of ASCII can look like them"]
    owner = rows.get(_folded(row))
    alike = owner is not None and owner != method
    return [f"row {spelled(row)} of {spelled(method or 'a list')} reads like one of "
            f"{spelled(owner or '')}, another method"] * alike  # fmt: skip


def _rows(board: Iterable[Record]) -> dict[str, str]:
    """Names of rows as ``_folded`` has them, with the method of each."""
    names = {_folded(_row(record)): str(record.spec["method"]["name"]) for record in board}
    own = {_folded(info.name): info.name for info in list_methods()}
    return {**names, **own, "fulltraining": FULL}


def _row(record: Record) -> str:
    return str(record.info.get("label") or record.spec["method"]["name"])


def _folded(name: str) -> str:
    return re.sub(r"[\s_.-]+", "", unicodedata.normalize("NFKC", name).casefold())
