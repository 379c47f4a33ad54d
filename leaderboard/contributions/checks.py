"""What is looked at in the records of a submission: on their own, and beside a board."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Day
from datetime import timedelta

from prunebench.errors import InputError, spelled
from prunebench.leaderboard.audit import NO_FULL, AuditFinding, audit
from prunebench.leaderboard.board.collect import (
    FULL,
    WITH_REFERENCE,
    Run,
    collect,
    difference,
    evidence_only,
)
from prunebench.leaderboard.board.designs import Design, content_of, group_by_design, words_of
from prunebench.leaderboard.board.labels import RowId, kind_of, noise_order, row_id, row_labels
from prunebench.leaderboard.contributed import is_line
from prunebench.leaderboard.contributions.card import (
    FEWEST_SEEDS,
    Card,
    contributed_methods,
    hardware,
    last_run,
    method_cards,
)
from prunebench.leaderboard.contributions.folder import shortened
from prunebench.leaderboard.filters import leaves
from prunebench.record import Record, canonical, setting_name

#: Findings of an audit beside errors that refuse a submission; the others are told.
_REFUSED = ("missing", "incomplete", "plug-in")
_MOST_FIELDS = 6
#: How far an accuracy times the test images may be from a whole number: rounding, no more.
_WHOLE = 1e-4
_Slot = tuple[str, int]


@dataclass(frozen=True)
class Merged:
    """A board with the runs of a submission.

    Attributes:
        records: All its records.
        brought: Those that the submission adds.
        superseded: Records of earlier versions that leave it, by method and version.
        reasons: Why the submission is refused; empty where it is not.
        notes: What a maintainer should know beside that.
    """

    records: tuple[Record, ...]
    brought: tuple[Record, ...]
    superseded: Mapping[tuple[str, str], tuple[Record, ...]]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


def own_faults(
    records: Sequence[Record], planned: Iterable[Record] = ()
) -> tuple[list[str], list[str]]:
    """Reasons to refuse records whatever board they are for, and notes.

    Args:
        records: Whole ones, shapes checked.
        planned: Cells that grids asked for.
    """
    odd = sorted({name for r in records for name in _names(r) if not is_line(name)})
    reasons = [f"the name {spelled(name)[:80]!r} holds signs of markup or cannot be shown"
               for name in odd]  # fmt: skip
    other = [f"record {r.key}: {what}; accepted: runs that are rows of a board"
             for r in records if (what := evidence_only(r.spec))]  # fmt: skip
    found = audit(records, planned=planned)
    refused = [f for f in found if _refuses(f)]
    reasons += shortened(other) + shortened([_said(f) for f in refused])
    if not any(f.level == "error" for f in found):
        reasons += shortened(_few_seeds(records))
    return reasons, shortened([_said(f) for f in found if not _refuses(f) and f.detail != NO_FULL])


def count_faults(records: Iterable[Record]) -> list[str]:
    """Accuracies that no number of test images gives."""
    reasons = []
    for record in records:
        accuracy, size = record.metrics.get("test_accuracy"), record.info.get("test_size")
        if accuracy is not None and isinstance(size, int) and size > 0:
            right = accuracy * size
            if abs(right - round(right)) > _WHOLE:
                reasons.append(f"record {record.key}: {100 * accuracy:.4f} % is no whole number of "
                               f"{size} test images")  # fmt: skip
    return shortened(reasons)


def card_faults(card: Card, records: Sequence[Record], today: Day) -> list[str]:
    """In what a card is not that of its records.

    Args:
        card: The card.
        records: The records.
        today: Day after which nothing can have been made; days of other places may be one ahead.
    """
    reasons = []
    if max(card.date, card.ran) > today + timedelta(days=1):
        reasons.append(f"card: made {card.date}, last run {card.ran}; today is {today}")
    if card.ran != (last := last_run(records, card.ran)):
        reasons.append(f"card: last run {card.ran}; the records say {last}")
    made = sorted({str(r.environment.get("prunebench") or card.prunebench) for r in records})
    if made and numbers_of(card.prunebench) < max(map(numbers_of, made)):
        reasons.append(f"card: by prunebench {card.prunebench}; the records are by "
                       f"{spelled(', '.join(made))}")  # fmt: skip
    if card.runs != len(records):
        reasons.append(f"card: {card.runs} runs, {len(records)} records are there")
    said = {(m.name, m.version): m.source for m in card.methods}
    have = {(m.name, m.version): m.source for m in method_cards(records, {})}
    for name, version in sorted(have.keys() - said.keys()):
        reasons.append(f"card: does not name {name} version {version}, which the records hold")
    for name, version in sorted(said.keys() - have.keys()):
        reasons.append(f"card: names {name} version {version}, of which no record is")
    for slot in sorted(said.keys() & have.keys()):
        if said[slot] != have[slot]:
            reasons.append(f"card: {slot[0]} by {said[slot] or 'prunebench'}, the records name "
                           f"{spelled(have[slot]) or 'prunebench'}")  # fmt: skip
    if list(card.hardware) != hardware(records):
        reasons.append(f"card: hardware {', '.join(card.hardware) or 'none'}; the records say "
                       f"{', '.join(hardware(records))}")  # fmt: skip
    return reasons


def merged(
    board: Sequence[Record], records: Sequence[Record], add: bool = False, supersede: bool = False
) -> Merged:
    """A board with the runs of a submission, and every reason why that cannot be.

    Runs of full training and the controls that the board has already stay the board's own; runs of
    the methods that the submission is about may not contradict the board.

    Args:
        board: Records of the board; none makes a new one.
        records: Those of the submission, without faults of their own.
        add: Whether it may bring designs and ratios that the board lacks.
        supersede: Whether newer versions of methods take the place of earlier ones.
    """
    brought, reasons, notes = _new(board, records)
    if board and not add:
        beside = {r.key for r in brought if _method(r)[0] in (FULL, WITH_REFERENCE)}
        brought = [r for r in brought if r.key not in beside]
        if beside:
            notes.append(f"{len(beside)} runs of full training are left out: the board asks for "
                         "none of them")  # fmt: skip
    kept, old, faults = _versions(board, brought, supersede)
    reasons += faults
    together = (*kept, *brought)
    if not brought:
        return Merged(tuple(board), (), {}, tuple(reasons), tuple(notes))
    if board and not add:
        reasons += _other_cells(kept, brought)
    known = {_said(f) for f in audit(list(board)) if _refuses(f)} if board else set()
    if not reasons:
        found = [_said(f) for f in audit(list(together))
                 if _refuses(f) and f.detail != NO_FULL]  # fmt: skip
        reasons += shortened([text for text in found if text not in known])
    return Merged(together, tuple(brought), old, tuple(reasons), tuple(notes))


def numbers_of(version: str) -> list[int]:
    """The numbers of a version, for an order."""
    return [int(part) for part in re.findall(r"\d{1,9}", version)]


def _names(record: Record) -> list[str]:
    spec, label = record.spec, record.info.get("label")
    recipe = spec.get("recipe") or {}
    named = [record.dataset, spec["dataset"]["name"], spec["method"]["name"], setting_name(spec)]
    named += [str(spec["method"].get("version", "1"))]
    named += [str(recipe.get(part, "-")) for part in ("name", "model")]
    return [*named, *([str(label)] if label else [])]


def _refuses(finding: AuditFinding) -> bool:
    bad = finding.level == "error" or finding.what in _REFUSED
    return bad and finding.detail != NO_FULL


def _said(finding: AuditFinding) -> str:
    return spelled(f"{finding.what}: {finding.where}: {finding.detail}")


def _few_seeds(records: Sequence[Record]) -> list[str]:
    """Rows with fewer seeds than every cell needs."""
    about = {name for name, _ in contributed_methods(records)}
    seeds: dict[tuple[str, float, str, RowId], set[int]] = defaultdict(set)
    runs = [run for run in collect(records).runs if run.accuracy is not None]
    labels = row_labels(runs)
    for design in group_by_design(runs):
        for run in design.runs:
            if run.method in about:
                seeds[design.label, run.ratio, run.noise, row_id(run)].add(run.seed)
    return [
        f"seeds: {board}, ratio {ratio:g}, {noise}, {labels[row]}: {len(own)}; accepted: "
        f"{FEWEST_SEEDS} or more"
        for (board, ratio, noise, row), own in sorted(seeds.items())
        if len(own) < FEWEST_SEEDS
    ]


def _new(
    board: Sequence[Record], records: Sequence[Record]
) -> tuple[list[Record], list[str], list[str]]:
    """Records that the board lacks; contradictions; and what is told of those it has."""
    have = {record.key: record for record in board}
    about = {name for name, _ in contributed_methods(records)}
    new, contradicted, same, away = [], [], 0, []
    for record in records:
        ours = have.get(record.key)
        what = difference(ours, record) if ours else ""
        if ours is None:
            new.append(record)
        elif not what:
            same += 1
        elif record.spec["method"]["name"] in about:
            contradicted.append(f"record {record.key} ({_cell(record)}): the board has another "
                                f"result: {what}; leave the row out, or run it again")  # fmt: skip
        else:
            away.append(abs((record.metrics.get("test_accuracy") or 0.0)
                            - (ours.metrics.get("test_accuracy") or 0.0)))  # fmt: skip
    reasons, notes = shortened(contradicted), []
    if not any(r.spec["method"]["name"] in about for r in new):
        reasons.append("nothing new: the board has every run of the methods that it is about")
    if same:
        notes.append(f"{same} runs are on the board already, with the same results")
    if away:
        notes.append(f"{len(away)} runs of full training and controls stay the board's own; those "
                     f"handed in are up to {100 * max(away):.1f} points away")  # fmt: skip
    return new, reasons, notes


def _cell(record: Record) -> str:
    spec = record.spec
    return spelled(f"{spec['method']['name']}, {setting_name(spec)}, ratio {spec['ratio']:g}, "
                   f"seed {spec['seed']}")  # fmt: skip


def _versions(
    board: Sequence[Record], brought: Sequence[Record], supersede: bool
) -> tuple[list[Record], dict[tuple[str, str], tuple[Record, ...]], list[str]]:
    """The board's records that stay, those that leave, and versions that do not fit."""
    designs = {canonical(content_of(r.spec)) for r in brought}
    new = dict(contributed_methods(brought)) if brought else {}
    old: dict[tuple[str, str], list[Record]] = defaultdict(list)
    kept = []
    for record in board:
        name, version = _method(record)
        if new.get(name, version) != version and canonical(content_of(record.spec)) in designs:
            old[name, version].append(record)
        else:
            kept.append(record)
    reasons = []
    for name, version in sorted(old):
        line = f"{name} version {new[name]}: the board has version {version}"
        if not _newer(new[name], version):
            reasons.append(line)
        elif not supersede:
            reasons.append(f"{line}; --supersede takes its runs out and keeps them readable")
    return kept, {slot: tuple(own) for slot, own in sorted(old.items())}, reasons


def _method(record: Record) -> tuple[str, str]:
    method = record.spec["method"]
    return method["name"], str(method.get("version", ""))


def _newer(version: str, than: str) -> bool:
    """Whether a version follows another; those of ``base+align`` and ``score@sampler`` have two
    numbers, none of which may be smaller."""
    ours, theirs = numbers_of(version), numbers_of(than)
    alike = len(ours) == len(theirs) and ours != theirs
    return alike and all(a >= b for a, b in zip(ours, theirs, strict=True))


def _other_cells(board: Sequence[Record], brought: Sequence[Record]) -> list[str]:
    """Designs, ratios and (setting, seed) cells of new runs that the board lacks, and cells of the
    board that they lack."""
    try:
        runs = collect([*board, *brought]).runs
    except InputError as error:
        return [str(error)]
    new = {record.key for record in brought}
    designs = group_by_design(runs)
    ours = [d for d in designs if any(_counts(r) and r.record.key not in new for r in d.runs)]
    reasons = []
    for design in designs:
        theirs = [r for r in design.runs if r.record.key in new and not r.carried]
        if theirs and design not in ours:
            reasons.append(f"{_unlike(design, ours)}; --add makes tables of their own")
        elif theirs:
            own = [r for r in design.runs if r.record.key not in new]
            reasons += _cells(design.label, own, theirs)
    return shortened(reasons)


def _counts(run: Run) -> bool:
    return not run.carried and kind_of(run) == "method"


def _cells(board: str, ours: Sequence[Run], theirs: Sequence[Run]) -> list[str]:
    asked: dict[float, set[_Slot]] = defaultdict(set)
    for run in filter(_counts, ours):
        asked[run.ratio].add((run.noise, run.seed))
    labels = row_labels([*ours, *theirs])
    rows: dict[tuple[float, RowId], set[_Slot]] = defaultdict(set)
    for run in [*ours, *theirs]:
        rows[run.ratio, row_id(run)].add((run.noise, run.seed))
    reasons = []
    for ratio, row in sorted({(run.ratio, row_id(run)) for run in theirs}):
        where = f"{board}, ratio {ratio:g}, {labels[row]}"
        if ratio not in asked:
            known = ", ".join(f"{other:g}" for other in sorted(asked))
            reasons.append(f"{where}: the board has the ratios {known}")
            continue
        if beyond := rows[ratio, row] - asked[ratio]:
            reasons.append(f"{where}: the board has no {_slots(beyond)}")
        if lacking := asked[ratio] - rows[ratio, row]:
            reasons.append(f"{where}: lacks {_slots(lacking)}")
    return reasons


def _slots(slots: Iterable[_Slot]) -> str:
    ordered = sorted(slots, key=lambda slot: (noise_order(slot[0]), slot[1]))
    shown = ", ".join(f"{noise} seed {seed}" for noise, seed in ordered[:4])
    return shown + f" and {len(ordered) - 4} more cells" * (len(ordered) > 4)


def _unlike(design: Design, board: Sequence[Design]) -> str:
    """In what a design differs from the nearest one of a board."""
    mine = dict(leaves(design.content))
    best: list[str] | None = None
    for other in board:
        theirs = dict(leaves(other.content))
        found = [
            f"{words_of(path, mine.get(path))} (board: {words_of(path, theirs.get(path))})"
            for path in sorted(mine.keys() | theirs.keys())
            if mine.get(path) != theirs.get(path)
        ]
        best = found if best is None or len(found) < len(best) else best
    shown = ", ".join((best or [])[:_MOST_FIELDS])
    return f"{design.label}: the board has no such runs: {shown}"
