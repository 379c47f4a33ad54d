"""Hard samples against wrong ones: forgetting events beside wrong labels, and who trains which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.board.labels import noise_order
from prunebench.leaderboard.board.model import Row, Table
from prunebench.leaderboard.inference.series import Cell
from prunebench.leaderboard.report.model import (
    Column,
    Estimate,
    Lacking,
    ReportSection,
    ReportTable,
    Value,
)
from prunebench.leaderboard.report.sample_files import SampleFiles, aligned, auroc
from prunebench.leaderboard.report.tested import Differences, Tested, tested, verdicts
from prunebench.leaderboard.stats import mean_interval
from prunebench.leaderboard.stats.exact import Number, exact

COMMAND = "prunebench grid report-digits"
#: Counts of forgetting events that have a line of their own; the last one holds all above.
BINS = (0, 1, 2, 3, 4)
#: Name of the member that asks whether forgotten samples are wrong more often.
FORGOTTEN = "samples forgotten at least once minus samples never forgotten"
GROUPS = ("easy", "hard", "wrong")


@dataclass(frozen=True)
class Events:
    """Forgetting events of one design and setting, by seed.

    Attributes:
        dataset, noise: Where.
        row: Label of the row whose scores they are.
        counts: By seed, [2, bins]: samples with a right and with a wrong label.
        auroc: By seed, probability that a wrong label has more events than a right one.
        gap: By seed, share of wrong labels among the forgotten minus that among the others, points.
    """

    dataset: str
    noise: str
    row: str
    counts: Mapping[int, NDArray[np.int64]]
    auroc: Mapping[int, float]
    gap: Mapping[int, Number]


@dataclass(frozen=True)
class Trained:
    """How often one row trains easy, hard and wrong samples; 100 is the mean of all samples.

    Attributes:
        table, row, noise: Where.
        shares: Of each of ``GROUPS``, by seed.
    """

    table: Table
    row: Row
    noise: str
    shares: Mapping[str, Mapping[int, Number]]

    @property
    def gap(self) -> dict[int, Number]:
        """Hard minus wrong by seed."""
        hard, wrong = self.shares["hard"], self.shares["wrong"]
        return {seed: exact(hard[seed]) - exact(wrong[seed]) for seed in hard}


@dataclass(frozen=True)
class HardAndWrong:
    """All of it, and what was not there."""

    events: tuple[Events, ...]
    trained: tuple[Trained, ...]
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class _Known:
    """Per sample of one (setting, seed): its id, its forgetting events, whether it is wrong."""

    row: str
    ids: NDArray[Any]
    events: NDArray[np.float64]
    wrong: NDArray[np.bool_]


def measured(files: SampleFiles) -> HardAndWrong:
    """Reads scores of ``forgetting``, wrong labels and visits of the runs of a board."""
    events: list[Events] = []
    trained: list[Trained] = []
    lacking: set[str] = set()
    for _, tables in files.material.groups():
        known: dict[tuple[str, int], _Known] = {}
        for noise, seed in sorted({slot for t in tables for own in t.runs.values() for slot in own},
                                  key=lambda slot: (noise_order(slot[0]), slot[1])):  # fmt: skip
            here = [(label, own[noise, seed]) for t in tables for label, own in t.runs.items()
                    if (noise, seed) in own]  # fmt: skip
            if any((run.record.info.get("noise_rate") or 0) > 0 for _, run in here):
                found = _known(files, here)
                if isinstance(found, str):
                    lacking.add(found)
                else:
                    known[noise, seed] = found
        events += _events(tables[0].dataset, known)
        for table in tables:
            trained += _trained(files, table, known)
    return HardAndWrong(tuple(events), tuple(trained), tuple(sorted(lacking)))


def _known(files: SampleFiles, here: list[tuple[str, Run]]) -> _Known | str:
    counting = [(label, run) for label, run in here if run.record.info.get("score") == "forgetting"]
    if not counting:
        return "no row scores samples by forgetting events"
    label, run = max(counting, key=lambda one: (_counted(one[1]), one[0]))
    samples = files.samples(run)
    if samples is None or "score" not in samples:
        return "the scores of `forgetting` are not at hand (artifacts of its runs)"
    wrong = files.wrong([one for _, one in here])
    if wrong is None:
        return "no run stored which labels are wrong (with its per-sample losses)"
    flags = aligned(samples["id"], *wrong)
    if flags is None:
        return "scores and losses are of other samples"
    return _Known(label, samples["id"], samples["score"].astype(np.float64), flags)


def _counted(run: Run) -> int:
    """Epochs over which forgetting events were counted; 0 for the warm-up."""
    return int(run.params.get("epochs") or 0)


def _events(dataset: str, known: Mapping[tuple[str, int], _Known]) -> list[Events]:
    found = []
    for noise in dict.fromkeys(noise for noise, _ in known):
        own = {seed: one for (name, seed), one in known.items() if name == noise}
        counts, scores, gaps = {}, {}, {}
        for seed, one in own.items():
            place = np.minimum(one.events, BINS[-1]).astype(np.int64)
            counts[seed] = np.stack([np.bincount(place[one.wrong == side], minlength=len(BINS))
                                     for side in (False, True)])  # fmt: skip
            score = auroc(one.events, one.wrong)
            never, forgotten = counts[seed][:, 0], counts[seed][:, 1:].sum(1)
            if score is not None:
                scores[seed] = score
            if never.sum() and forgotten.sum():
                gaps[seed] = 100 * (_share(forgotten) - _share(never))
        found.append(Events(dataset, noise, next(iter(own.values())).row, counts, scores, gaps))
    return found


def _share(counts: NDArray[np.int64]) -> Number:
    """Share of wrong labels of [right, wrong]."""
    return exact(int(counts[1]) / int(counts.sum()))


def _trained(
    files: SampleFiles, table: Table, known: Mapping[tuple[str, int], _Known]
) -> list[Trained]:
    found = []
    for row in (*table.rows, *table.incomplete):
        for noise in table.noises:
            shares: dict[str, dict[int, Number]] = {name: {} for name in GROUPS}
            for (name, seed), run in sorted(table.runs[row.label].items()):
                one = known.get((name, seed))
                if name != noise or one is None or run.accuracy is None or row.kind == "full":
                    continue
                relative = _relative(files, run, one)
                if relative is not None:
                    for group, value in zip(GROUPS, relative, strict=True):
                        shares[group][seed] = value
            if shares["hard"]:
                found.append(Trained(table, row, noise, shares))
    return found


def _relative(files: SampleFiles, run: Run, one: _Known) -> tuple[Number, ...] | None:
    """Mean visits of each group over the mean visits of all, times 100; None where a group is
    empty or the samples are others."""
    samples = files.samples(run)
    visits = None if samples is None else aligned(one.ids, samples["id"], samples["visits"])
    if visits is None or not visits.sum():
        return None
    forgotten = one.events > 0
    groups = (~one.wrong & ~forgotten, ~one.wrong & forgotten, one.wrong)
    if not all(group.any() for group in groups):
        return None
    whole = int(visits.sum()) / len(visits)
    return tuple(100 * int(visits[group].sum()) / int(group.sum()) / whole for group in groups)


def families(found: HardAndWrong, alpha: float) -> tuple[Tested, ...]:
    """Per design: does a row train hard samples more often than wrong ones, and are forgotten
    samples wrong more often? Oracles are not asked."""
    by_design: dict[str, dict[str, dict[Cell, Mapping[int, Number]]]] = defaultdict(dict)
    for one in found.trained:
        if one.row.kind != "oracle":
            own = by_design[one.table.dataset].setdefault(one.row.label, {})
            own[one.noise, one.table.ratio] = one.gap
    made = [tested("hard minus wrong", name, own, alpha) for name, own in by_design.items()]
    return tuple(one for one in made if one is not None)


def event_families(found: HardAndWrong, alpha: float) -> tuple[Tested, ...]:
    """Per design: is the share of wrong labels another among forgotten samples?"""
    by_design: dict[str, dict[Cell, Mapping[int, Number]]] = defaultdict(dict)
    for one in found.events:
        by_design[one.dataset][one.noise, 0.0] = one.gap
    members: list[tuple[str, dict[str, Differences]]] = [
        (name, {FORGOTTEN: own}) for name, own in by_design.items()
    ]
    made = [tested("wrong among the forgotten", name, own, alpha) for name, own in members]
    return tuple(one for one in made if one is not None)


def section(
    found: HardAndWrong, own: tuple[Tested, ...], events: tuple[Tested, ...], count: int
) -> ReportSection:
    """Sentences and both tables.

    Args:
        found: As measured.
        own: Families of rows.
        events: Families of forgetting events.
        count: Families of the report.
    """
    title = "Hard or wrong: does a method tell them apart?"
    about = (
        "Hard: a right label, and at least one forgetting event (right at one visit and wrong at "
        "the next) in the scoring run. Easy: a right label and none. Wrong: a wrong label, "
        "whatever its events. Tested: how often hard samples are trained minus how often wrong "
        "ones are, both as a percentage of the mean of all samples, by seed."
    )
    if not found.events:
        why = "; ".join(found.lacking) or "no wrong labels are known"
        option = ("the method `forgetting` with `epochs` under its `params`, and `losses = []` in "
                  "the grid; packed records have no artifacts")  # fmt: skip
        return ReportSection("hard-and-wrong", title, about,
                             lacking=(Lacking(why, option, COMMAND),))  # fmt: skip
    more, fewer = "More wrong labels", "Fewer wrong labels"
    said = verdicts(events, count, more, fewer, "points of wrong labels")
    said += verdicts(own, count, "Hard samples are trained more often than wrong ones by",
                     "Wrong samples are trained more often than hard ones by", "%")  # fmt: skip
    rows = sorted({one.row for one in found.events})
    notes = (
        f"Events are those that {', '.join(rows)} counted, over the epochs that it was given; a "
        "sample that was never right has none unless the option `never_learned` says otherwise.",
    )
    tables = (_event_table(found.events), _trained_table(found.trained))
    return ReportSection("hard-and-wrong", title, about, tuple(said),
                         tuple(t for t in tables if t.rows), notes=notes)  # fmt: skip


def _event_table(events: tuple[Events, ...]) -> ReportTable:
    columns = (
        Column("setting", "setting"), Column("dataset", "data"), Column("events", "events"),
        Column("seeds", "n", 0), Column("right", "right labels"), Column("wrong", "wrong labels"),
        Column("share_wrong", "wrong among them, %"), Column("auroc", "AUROC of events", 3),
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = []
    for one in events:
        for place, events_of in enumerate(BINS):
            name = f"{events_of}" + " or more" * (place == len(BINS) - 1)
            sizes = [counts[:, place] for counts in one.counts.values()]
            shares = [100 * _share(size) for size in sizes if size.sum()]
            right, wrong = ([int(size[side]) for size in sizes] for side in (0, 1))
            rows.append((
                one.noise, one.dataset, name, len(sizes), sum(right) / len(right),
                sum(wrong) / len(wrong),
                Estimate.of(mean_interval(shares)) if shares else None,
                Estimate.of(mean_interval(list(one.auroc.values())))
                if place == 0 and one.auroc else None,
            ))  # fmt: skip
    return ReportTable(
        "forgetting-events", "Samples by forgetting events: mean number with a right and with a "
        "wrong label, and the share of wrong ones over n seeds with 95 % t intervals; AUROC: "
        "probability that a wrong label has more events than a right one.", columns, tuple(rows),
    )  # fmt: skip


def _trained_table(trained: tuple[Trained, ...]) -> ReportTable:
    columns = (
        Column("method", "method"), Column("dataset", "data"), Column("setting", "setting"),
        Column("ratio", "ratio", 2), Column("seeds", "n", 0), Column("easy", "easy"),
        Column("hard", "hard"), Column("wrong", "wrong"),
        Column("difference", "hard minus wrong", signed=True),
    )  # fmt: skip
    rows: tuple[tuple[Value, ...], ...] = tuple(
        (
            one.row.label, one.table.dataset, one.noise, one.table.ratio, len(one.gap),
            _estimate(one.shares["easy"]), _estimate(one.shares["hard"]),
            _estimate(one.shares["wrong"]), _estimate(one.gap),
        )
        for one in trained
    )  # fmt: skip
    return ReportTable(
        "hard-and-wrong", "How often easy, hard and wrong samples are trained, in % of the mean of "
        "all samples, over n seeds with 95 % t intervals.", columns, rows,
    )  # fmt: skip


def _estimate(values: Mapping[int, Number]) -> Estimate:
    return Estimate.of(mean_interval(list(values.values())))
