"""What the filters of the first page search: every row of every board, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prunebench.leaderboard.board.labels import noise_order
from prunebench.leaderboard.site.addresses import INDEX, RUNS, board_page, method_page, relative
from prunebench.leaderboard.site.entries import BoardEntry
from prunebench.leaderboard.site.model import MethodAbout

#: Kinds of methods in the words of readers.
KINDS = {"static": "static", "dynamic": "dynamic", "batch": "batch-level",
         "baseline": "control", "oracle": "oracle"}  # fmt: skip


def kind_words(kind: str, about: MethodAbout | None = None) -> str:
    """A kind of method in words: of the records, else of the card."""
    return KINDS.get(kind or (about.kind if about else ""), "unknown")


def search_data(
    entries: Sequence[BoardEntry], methods: Sequence[str], known: Mapping[str, MethodAbout]
) -> dict[str, Any]:
    """Names once, and rows that refer to them by place.

    Returns:
        JSON values. ``rows`` holds, in this order: board, method, label, design, data set, ratio,
        rank, mean, difference, link, kind, whether it needs clean labels, hardware, cells (noise,
        accuracy, difference). ``cards`` holds method, kind and whether it needs clean labels of
        what is known beside them.
    """
    noises = sorted({c.noise for e in entries for r in e.rows for c in r.cells}, key=noise_order)
    datasets = sorted({name for entry in entries for name in entry.datasets})
    hardware = sorted({name for e in entries for r in e.rows for name in r.hardware})
    kinds = [*KINDS.values(), "unknown"]
    number = _numbers(methods)
    rows = []
    for place, entry in enumerate(entries):
        for row in entry.rows:
            about = known.get(row.method)
            link = relative(INDEX, board_page(entry.name, RUNS), row.anchor)
            rows.append([
                place, number(row.method), row.label, row.design, datasets.index(row.dataset),
                f"{row.ratio:g}", row.rank if row.complete else "incomplete", row.mean,
                row.difference, link, kinds.index(kind_words(row.kind, about)),
                int(bool(row.clean_labels)), [hardware.index(name) for name in row.hardware],
                [[noises.index(c.noise), c.accuracy, c.difference] for c in row.cells],
            ])  # fmt: skip
    return {
        "boards": [entry.name for entry in entries],
        "methods": [
            [name, relative(INDEX, method_page(name)), about.year if about else None,
             about.title if about else ""]
            for name, about in ((name, known.get(name)) for name in methods)
        ],
        "datasets": datasets,
        "noises": noises,
        "hardware": hardware,
        "kinds": kinds,
        "ratios": [f"{ratio:g}" for ratio in
                   sorted({row.ratio for entry in entries for row in entry.rows})],
        "rows": rows,
        "cards": [
            [number(name), kinds.index(kind_words("", known[name])),
             int(bool(known[name].clean_data))]
            for name in methods if name in known
        ],
    }  # fmt: skip


def _numbers(names: Sequence[str]) -> Callable[[str], int]:
    places = {name: place for place, name in enumerate(names)}
    return lambda name: places[name]
