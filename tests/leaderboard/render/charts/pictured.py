"""A planted board that has every picture: costs with scoring runs, ratios, noise, and modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from tests.leaderboard.findings import planted

BASES = [f"method-{k}" for k in range(9)]
ROWS = ["full", "short-full", "random-dynamic", *BASES, "method-1+align", "method-2+align"]
LEAD = {name: 0.4 * place - 3 for place, name in enumerate(ROWS)}
NOISES = ("clean", "symmetric:0.2")
RATIOS = (0.3, 0.5, 0.7)
#: Trained in the scoring run of some rows, as a share of full training.
SCORED = {"method-3": 0.2, "method-7": 0.5}


def pictured(
    rows: Sequence[str] = ROWS, noises: Sequence[str] = NOISES, ratios: Sequence[float] = RATIOS,
    seeds: int = 3,
) -> Board:  # fmt: skip
    """The board, whose rows lie further up the later they stand."""
    size = {"num_samples": 1000, "full_epochs": 10}
    lead = {name: 0.4 * place - 3 for place, name in enumerate(rows)}
    found = []
    for record in planted.records(lead, rows, noises, seeds, ratios):
        scored = SCORED.get(record.spec["method"]["name"])
        more = {} if scored is None else {"proxy_trained": round(10_000 * scored)}
        found.append(replace(record, ledger={**record.ledger, **size, **more}).sealed())
    return build(found)
