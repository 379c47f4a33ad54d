"""Texts of two tables: subsets of one network under several, and whether their lead stays."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence

from prunebench.leaderboard.board.labels import noise_order, setting_word
from prunebench.leaderboard.inference.compare import Comparison
from prunebench.leaderboard.inference.series import Cell
from prunebench.leaderboard.inference.transfer import Carried, Transfer, TransferCell, member
from prunebench.leaderboard.render.row_text import interval, number
from prunebench.leaderboard.stats import Family, MeanInterval, PairedDifference
from prunebench.untrusted import spreadsheet

LEAD = "does the lead over random stay?"
#: File of the first table of every pair of networks, and how it begins.
TRANSFER_FILE = "transfer.csv"
TRANSFER_HEADS = ("dataset", "selected_with", "trained_with", "method", "noise", "ratio", "n")
DIGITS = 1


def title(found: Transfer) -> str:
    """Of the first table, without the data set."""
    return f"selected with {found.scored}, trained with {', '.join(found.networks)}"


def cell_heads(found: Transfer) -> list[str]:
    """Columns of the first table behind the row's name."""
    heads = [setting_word(one.cell[0] for one in found.cells), "ratio"]
    for network in found.networks:
        heads += [network, f"{network}: minus random", f"{network}: minus full"]
        if _own(found, network):
            heads.append(f"{network}: selected with itself")
    return heads


def cell_rows(found: Transfer) -> list[tuple[str, list[str]]]:
    """Name and texts of every row below ``cell_heads``; full training and random choice first, and
    settings in the order of the board's other tables."""
    order = sorted({one.cell for one in found.cells},
                   key=lambda cell: (noise_order(cell[0]), cell[1]))  # fmt: skip
    rows = [(label, cell) for label in ("full", "random") for cell in order
            if any(name == label for name, _ in found.baselines)]  # fmt: skip
    lines = [(label, _baseline(found, label, cell)) for label, cell in rows]
    by_slot = {(one.method, one.cell, one.network): one for one in found.cells}
    for method in dict.fromkeys(one.method for one in found.cells):
        for cell in order:
            if any((method, cell, network) in by_slot for network in found.networks):
                texts = [cell[0], f"{cell[1]:g}"]
                for network in found.networks:
                    one = by_slot.get((method, cell, network))
                    texts += _cell(one, _own(found, network))
                lines.append((method, texts))
    return lines


def _baseline(found: Transfer, label: str, cell: Cell) -> list[str]:
    texts = [cell[0], f"{cell[1]:g}"]
    for network in found.networks:
        means = found.baselines.get((label, network), {})
        # Full training is a row of every ratio.
        texts += [_mean(means.get(cell)), "-", "-", *["-"] * _own(found, network)]
    return texts


def _cell(one: TransferCell | None, own: bool) -> list[str]:
    if one is None:
        return ["-"] * (3 + own)
    texts = [_mean(one.accuracy), _points(one.random), _points(one.full)]
    return [*texts, _mean(one.own)] if own else texts


def _own(found: Transfer, network: str) -> bool:
    return any(one.network == network and one.own is not None for one in found.cells)


def _mean(found: MeanInterval | None) -> str:
    if found is None:
        return "-"
    spread = "" if found.half_width is None else f" ±{number(found.half_width, DIGITS)}"
    return number(found.mean, DIGITS) + spread


def _points(found: PairedDifference | None) -> str:
    if found is None:
        return "-"
    spread = "" if found.half_width is None else f" ±{number(found.half_width, DIGITS)}"
    return number(found.mean, DIGITS, signed=True) + spread


def cell_lines(found: Transfer, words: str) -> list[str]:
    """How to read the first table; ``words`` name its metric."""
    return [
        f"Every subset was chosen by the scoring run of {found.scored}: in every seed the same "
        f"samples for every network. Cells: {words} in percent, mean over seeds; minus random and "
        "full: paired differences by seed to the rows of the same network, in points; ± half of "
        "the 95 % t interval over seeds (3 or more)",
        "Costs: the scoring run is charged in samples of the scoring network, whichever network "
        "trains; it is shared by all of them",
    ]


def lead_heads(found: Transfer) -> list[str]:
    """Columns of the second table behind the row's name."""
    heads = ["trained with", f"lead with {found.scored}"] if found.home else ["trained with"]
    heads.append("lead with it")
    if found.home:
        heads += ["change of the lead"]
    if any(one.against_own for one in found.carried):
        heads.append("minus selected with it")
    return [*heads, "the lead"] if found.home else heads


def lead_facts(found: Transfer, one: Carried) -> list[tuple[str, Comparison | None]]:
    """Texts below ``lead_heads`` but the first and the last, with what is behind them."""
    away = (_tested(one.away, found.leads, member(one.method, one.network)), one.away)
    facts = [away]
    if found.home:
        home = _tested(one.home, found.leads, member(one.row, found.scored)), one.home
        change = _tested(one.change, found.changes, member(one.method, one.network)), one.change
        facts = [home, away, change]
    if any(other.against_own for other in found.carried):
        facts.append((_tested(one.against_own, None, ""), one.against_own))
    return facts


def lead_cells(found: Transfer, one: Carried) -> list[str]:
    """Texts below ``lead_heads``."""
    texts = [text for text, _ in lead_facts(found, one)]
    return [one.network, *texts, *[one.verdict or "-"] * found.home]


def _tested(found: Comparison | None, tested: Family | None, name: str) -> str:
    if found is None:
        return "-"
    pooled = found.pooled
    mark = ""
    if tested is not None and name in tested.rejected:
        mark = "*" if pooled.mean > 0 else "†"
    return interval(pooled.mean, pooled.low, pooled.high, DIGITS) + mark


def lead_lines(found: Transfer) -> list[str]:
    """What is tested, and how many leads stay."""
    lines = []
    verdicts = Counter(one.verdict for one in found.carried if one.verdict)
    if verdicts:
        said = ", ".join(f"{count} {text}" for text, count in sorted(verdicts.items()))
        lines.append(f"Of {sum(verdicts.values())} pairs of method and network: {said}")
    lines.append(
        "Lead: the method minus random under the same network, paired by seed over all noise "
        "settings and ratios, in points with 95 % intervals for new seeds that are not corrected "
        "for their number"
    )
    partial = sum(one.partial for one in found.carried)
    if partial:
        lines.append(
            "Both leads of a pair are over the runs (noise, ratio, seed) that both networks have: "
            f"{partial} of {len(found.carried)} leave out runs that one of the two lacks"
        )
    if found.home:
        lines.append(
            f"The lead stays where both intervals lie above 0; smaller or larger where that of its "
            f"change does not hold 0. No lead to keep: the interval with {found.scored} holds 0; "
            "behind already: it lies below 0; turns into a loss: that with the other network does. "
            "Too few seeds: there is no interval. An interval that is a point, of differences that "
            "are equal in every seed, decides nothing where the sign-flip cannot. "
            "No longer shown is not a proof of no lead: the interval holds 0, and with few seeds "
            "it is wide"
        )
    for tested in (found.leads, found.changes):
        if tested is not None:
            lines.append(
                f"* above, † below 0 by the paired sign-flip over (noise, seed) units; "
                f"{tested.footer}"
                + ": with so few seeds not even the clearest outcome could reach it"
                * any(one.refused for one in tested.members)
            )
    return lines


def _pair(found: PairedDifference | None) -> tuple[float | None, float | None]:
    return (None, None) if found is None else (found.mean, found.half_width)


def scored_rows(found: Sequence[Transfer], metric: str = "accuracy") -> str:
    """All cells of the first tables as CSV: six decimals, empty where there is no value.

    Args:
        found: The tables.
        metric: What the columns called accuracy hold; a column names any other than accuracy.
    """
    named = [] if metric == "accuracy" else [metric]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        (*TRANSFER_HEADS, "accuracy", "half_width", "minus_random", "minus_random_half_width",
         "minus_full", "minus_full_half_width", "accuracy_selected_itself", "minus_selected_itself",
         "minus_selected_itself_half_width", *["metric"] * len(named))
    )  # fmt: skip
    for one in found:
        for cell in one.cells:
            noise, ratio = cell.cell
            names = (one.dataset, one.scored, cell.network, cell.method, noise)
            values = [cell.accuracy.mean, cell.accuracy.half_width]
            values += [*_pair(cell.random), *_pair(cell.full)]
            values += [cell.own.mean if cell.own else None, *_pair(cell.against_own)]
            texts = ["" if value is None else number(value, 6) for value in values]
            writer.writerow([*map(spreadsheet, names), f"{ratio:g}", cell.accuracy.n, *texts,
                             *named])  # fmt: skip
    return out.getvalue()
