"""What people read of a submission: a page about it, and the text of a pull request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from prunebench.leaderboard.board.collect import as_run
from prunebench.leaderboard.board.labels import noise_order
from prunebench.leaderboard.contributions.card import CARD, IDS, PAGE, RECORDS, REQUEST, Card
from prunebench.leaderboard.contributions.id_list import IdCell
from prunebench.leaderboard.number_text import number
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.markdown import escape, pipe
from prunebench.leaderboard.stats.exact import mean_of
from prunebench.record import Record


def submission_files(
    card: Card, data: bytes, records: Sequence[Record] = (), cells: Sequence[IdCell] = ()
) -> dict[str, bytes]:
    """Every file of a submission by name.

    Args:
        card: Its card.
        data: The file that the card names.
        records: Its records.
        cells: Its cells, of a list of ids.
    """
    [name] = card.files
    table = _of_cells(cells) if card.is_list else _of_records(records)
    texts = {
        CARD: card.dumps(),
        PAGE: f"# {escape(card.name)}\n\n{_about(card)}\n\n{table}\n",
        REQUEST: _request(card, table),
    }
    return {**{name: text.encode() for name, text in texts.items()}, name: data}


def _about(card: Card) -> str:
    lines = [
        f"- By {escape(card.by)}, {escape(card.contact)}; runs until {card.ran.isoformat()}, "
        f"handed in {card.date.isoformat()}",
        *(f"- {escape(m.name)} version {escape(m.version)}" + _origin(m.source, m.sha256)
          for m in card.methods),
        *[f"- Code: {escape(card.code)}"] * bool(card.code),
        *[f"- {escape(card.note)}"] * bool(card.note),
        *[f"- For the board {escape(card.board)}"] * bool(card.board),
        *[f"- Data set {escape(card.dataset)}; the kept samples alone, to be trained by the "
          "maintainers"] * card.is_list,
        *[f"- Clean labels that chose them: {card.clean_labels or 'not stated'}"] * card.is_list,
        *[f"- {card.runs} runs with prunebench {escape(card.prunebench)} on "
          f"{escape(', '.join(card.hardware))}"] * (not card.is_list),
    ]  # fmt: skip
    return "\n".join(lines)


def _origin(source: str, sha256: str) -> str:
    if not source:
        return ""
    return f", of the plug-in {escape(source)}" + f", SHA-256 `{sha256}`" * bool(sha256)


def _of_records(records: Sequence[Record]) -> str:
    """Mean accuracy of every row and cell, with the seeds behind it."""
    runs = [as_run(record, ProtocolFile()) for record in records]
    found: dict[tuple[str, str, float], dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for run in runs:
        if run.accuracy is not None:
            slot = run.record.dataset, run.method, run.ratio
            found[slot][run.noise].append(run.accuracy)
    noises = sorted({noise for own in found.values() for noise in own}, key=noise_order)
    body = [
        [escape(dataset), escape(method), f"{ratio:g}", *(_mean(own[noise]) for noise in noises)]
        for (dataset, method, ratio), own in sorted(found.items())
    ]
    return pipe(["data set", "method", "ratio", *noises], body)


def _mean(values: Sequence[float]) -> str:
    return f"{number(float(mean_of([values])), 1)} (n = {len(values)})" if values else "-"


def _of_cells(cells: Sequence[IdCell]) -> str:
    counts: dict[tuple[str, float], list[IdCell]] = defaultdict(list)
    for cell in cells:
        counts[cell.setting, cell.ratio].append(cell)
    body = []
    for (setting, ratio), own in sorted(counts.items(), key=lambda item: item[0]):
        sizes = sorted({len(cell.ids) for cell in own})
        body.append([escape(setting), f"{ratio:g}", str(len(own)), ", ".join(map(str, sizes))])
    return pipe(["setting", "ratio", "seeds", "samples kept"], body)


def _request(card: Card, table: str) -> str:
    board = f" for the board {escape(card.board)}" if card.board else ""
    names = ", ".join(f"{escape(m.name)} (version {escape(m.version)})" for m in card.methods)
    file = IDS if card.is_list else RECORDS
    return "\n".join([
        f"# Results of {names}{board}",
        "",
        f"The folder of this submission holds `{CARD}`, `{file}` and `{PAGE}`, as `prunebench "
        "submit` wrote them.",
        "",
        _about(card),
        "",
        table,
        "",
        "- [ ] The runs are my own, and nothing in the files was changed by hand.",
        "- [ ] No option was chosen by test accuracy.",
        "- [ ] The code of the method can be read under the link above, or comes with prunebench.",
        "- [ ] Records, card and name may be published with the board.",
        "",
    ])  # fmt: skip
