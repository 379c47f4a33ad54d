"""What a maintainer does with a submission: looks at it, and puts it into a board's folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from prunebench import __version__
from prunebench.bench.grids.driver import run_cells
from prunebench.bench.grids.id_cells import board_cells, id_cells, list_label
from prunebench.bench.grids.method_claims import claim_faults, posing_faults
from prunebench.bench.reports.boards import load_records
from prunebench.bench.reports.installed import plugin_faults, version_faults
from prunebench.bench.results.store import Store
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import spelled
from prunebench.leaderboard.bundle import pack
from prunebench.leaderboard.contributed import (
    HISTORY,
    SUPERSEDED,
    Contribution,
    History,
    Superseded,
    is_line,
    read_history,
)
from prunebench.leaderboard.contributions.card import RECORDS, contributed_methods, hardware
from prunebench.leaderboard.contributions.checks import (
    Merged,
    card_faults,
    count_faults,
    merged,
    numbers_of,
    own_faults,
)
from prunebench.leaderboard.contributions.folder import Submission, read_submission
from prunebench.leaderboard.contributions.id_list import IdCell
from prunebench.record import Record

#: Share of the usual wrong labels below which a list of ids is told to hold few of them.
_FEW_WRONG = 0.05


@dataclass
class Examined:
    """A submission beside a board.

    Attributes:
        submission: What its folder holds; None where that cannot be told.
        board: Records of the board.
        history: Submissions that it has.
        reasons: Why it is refused; empty where it is not.
        notes: What a maintainer should know.
        merged: The board with its records; None for a list of ids that is not trained yet.
        wanted: Cells of a list of ids, with runs of the board that say how they are trained.
        state: ``board_state`` when it was read.
    """

    submission: Submission | None
    board: list[Record]
    history: History
    reasons: list[str]
    notes: list[str]
    merged: Merged | None
    wanted: Mapping[IdCell, Record]
    state: str

    @property
    def repeatable(self) -> list[Record]:
        """Runs of the submission's own methods that would be new."""
        if self.merged is None:
            return []
        about = {name for name, _ in contributed_methods(self.merged.brought)}
        return [r for r in self.merged.brought if r.spec["method"]["name"] in about]


def board_state(board: Path) -> str:
    """A digest of what a board's folder says of its runs."""
    digest = hashlib.sha256()
    for name in (RECORDS, HISTORY):
        path = board / name
        digest.update(hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest())
    return digest.hexdigest()


def examine(
    folder: Path, board: Path, plugins: Sequence[str], add: bool, supersede: bool,
    recipe: str | None,
) -> Examined:  # fmt: skip
    """Looks at a submission without running anything.

    Args:
        folder: Its folder.
        board: Folder of the board; it need not exist.
        plugins: Plug-in files that the maintainer gave, loaded.
        add: As of ``merged``, with ``supersede``.
        recipe: As of ``board_cells``.

    Raises:
        InputError: No such folder, or a damaged board.
    """
    submission, reasons = read_submission(folder)
    whole = not reasons
    state = board_state(board)
    there = load_records(board / RECORDS) if (board / RECORDS).is_file() else []
    history = read_history(board).finished(record.key for record in there)
    found = Examined(submission, there, history, reasons, [], None, {}, state)
    if submission is None:
        return found
    card = submission.card
    before = next(
        (c for c in history.contributions if c.submission.casefold() == card.name.casefold()), None
    )
    if before is not None:
        reasons.append(f"a submission {card.name} was accepted on {before.date.isoformat()}")
    if card.board and card.board != board.resolve().name:
        found.notes.append(f"the card names the board {card.board}")
    today = datetime.now(UTC).date()
    if numbers_of(card.prunebench) > numbers_of(__version__):
        reasons.append(f"card: by prunebench {card.prunebench}; this one is {__version__}")
    reasons += plugin_faults(card, plugins)
    if card.is_list:
        if card.runs != len(submission.cells):
            reasons.append(f"card: {card.runs} cells, {len(submission.cells)} are there")
        wanted, faults = board_cells(submission.cells, found.board, card.dataset, recipe)
        label = list_label(card.methods[0].name, found.board)
        found.wanted, found.reasons = wanted, [*reasons, *label, *faults]
        return found
    own, notes = own_faults(submission.records)
    if whole:  # else a card is not that of the records which are left
        reasons += card_faults(card, submission.records, today)
    reasons += [*own, *count_faults(submission.records), *version_faults(submission.records),
                *claim_faults(submission.records),
                *posing_faults(submission.records, found.board)]  # fmt: skip
    found.notes += notes
    if submission.records:
        found.merged = merged(found.board, submission.records, add, supersede)
        reasons += [reason for reason in found.merged.reasons if reason not in reasons]
        found.notes += found.merged.notes
    return found


def train_list(
    found: Examined, data: Mapping[str, Any], options: ExecutionOptions, results: Path
) -> list[str]:
    """Trains the cells of a list of ids and puts their records beside the board's; a second call
    goes on where the first stopped.

    Args:
        found: A submission without reasons against it; its ``merged`` is set.
        data: Options that open the data set here.
        options: How to run the cells.
        results: Results folder for them.

    Returns:
        Why the runs cannot join the board; empty where they can.

    Raises:
        InputError: Other data than the board's, or ids that the data set does not have.
    """
    assert found.submission is not None
    label = found.submission.card.methods[0].name
    store = Store.open(results)
    cells = id_cells(found.wanted, label, data, results)
    report = run_cells(cells, store, options)
    reasons = [f"{o.status}: {report.planned.cells[o.key].shown}: {spelled(o.reason)[:300]}"
               for o in report.outcomes if o.status in ("failed", "killed", "skipped")]  # fmt: skip
    used = found.submission.card.clean_labels_used
    records = [replace(record, info={**record.info, "clean_labels_used": used}).sealed()
               for cell in cells if (record := store.get(cell.spec.key)) is not None]  # fmt: skip
    if len(records) < len(cells) and not reasons:
        reasons.append(
            f"{len(cells) - len(records)} cells have no record; the same command goes on"
        )
    if not reasons:
        found.merged = merged(found.board, records)
        reasons += found.merged.reasons
        found.notes += found.merged.notes
        found.notes += [
            f"{record.key}: {kept:.1%} of its samples have wrong labels, {there:.1%} of all have; "
            f"clean labels used: {used or 'none'}"
            for record in records
            if (kept := record.metrics.get("kept_noise_rate")) is not None
            and kept < _FEW_WRONG * (there := record.info.get("noise_rate") or 0.0)
        ]
    return reasons


def superseded_file(method: str, version: str, submission: str) -> str:
    """Where the runs of an earlier version go: no two of them share a file, on any system."""
    plain = re.sub(r"[^A-Za-z0-9._+@-]", "_", f"{method}-v{version}")[:60].strip("._")
    digest = hashlib.sha256(json.dumps([method, version, submission]).encode()).hexdigest()
    return f"{SUPERSEDED}/{plain or 'runs'}-{digest[:16]}.jsonl.gz"


def contribution(found: Examined, checked: str, today: date) -> tuple[History, dict[str, bytes]]:
    """The history of a board with an accepted submission, and the files of what it took the place
    of, by relative name.

    Args:
        found: The submission, without reasons against it.
        checked: What was run again, in words.
        today: The day.
    """
    assert found.submission is not None
    assert found.merged is not None
    card, joined = found.submission.card, found.merged
    files, old = {}, []
    for (method, version), records in joined.superseded.items():
        name = superseded_file(method, version, card.name)
        files[name] = pack(records)
        old.append(Superseded(method=method, version=version, file=name, runs=len(records)))
    one = Contribution(
        version=found.history.version + 1,
        date=today,
        submission=card.name,
        by=card.by,
        contact=card.contact,
        code=card.code,
        ran=today if card.is_list else card.ran,
        methods=tuple(method.name for method in card.methods),
        keys=tuple(record.key for record in joined.brought),
        hardware=tuple(hardware(joined.brought)),
        checked=checked if is_line(checked) else "see the notes of the maintainers",
        superseded=tuple(old),
    )
    return found.history.with_one(one), files
