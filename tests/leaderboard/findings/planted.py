"""Boards whose outcome is known: rows that lie where a test puts them, with noise by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.record import Record
from tests.support.records import RECIPE, record

ROWS = ("full", "short-full", "random-dynamic", "infobatch", "infobatch+align", "big-loss")
KINDS = {"full": "baseline", "short-full": "baseline", "random": "static", "big-loss": "batch"}
NOISES = ("clean", "symmetric:0.2", "symmetric:0.4", "pairflip:0.2")
TESTED = 10_000


def records(
    lead: Mapping[str, float] | None = None,
    rows: Iterable[str] = ROWS,
    noises: Iterable[str] = NOISES,
    seeds: int = 3,
    ratios: Iterable[float] = (0.5,),
    draw: int = 0,
    sd: float = 0.3,
    missing: Iterable[str] = (),
) -> list[Record]:
    """Records of a grid; every row lies at 90 % plus its lead in points, and each run beside it by
    ``sd`` points, half of the variance shared by the rows of a seed.

    Args:
        lead: Points above the others, by row.
        missing: Rows that lack their last seed.
    """
    rng = np.random.default_rng(draw)
    found = []
    for noise in noises:
        for seed in range(seeds):
            shared = rng.normal(0, sd)
            for row in rows:
                for ratio in (0.0,) if row == "full" else tuple(ratios):
                    points = 90 + (lead or {}).get(row, 0.0) + shared + rng.normal(0, sd)
                    if row in missing and seed == seeds - 1:
                        continue
                    hits = round(TESTED * points / 100)
                    info = {"kind": KINDS.get(row, "dynamic"), "test_size": TESTED, "metrics": 2}
                    found.append(record(row, noise, seed, ratio, hits / TESTED, info=info))
    return found


def board(lead: Mapping[str, float] | None = None, protocol: ProtocolFile | None = None,
          **how: object) -> Board:  # fmt: skip
    """The board of ``records``."""
    return build(records(lead, **how), protocol)  # type: ignore[arg-type]


def moved(one: Record, **changes: Any) -> Record:
    """A record of the same run with another specification, metrics, status or information."""
    own = one.spec
    usual = {"info": one.info, "metrics": one.metrics, "status": one.status}
    return record(own["method"]["name"], own["noise"]["name"], own["seed"], own["ratio"],
                  one.metrics["test_accuracy"], **{**usual, **changes})  # fmt: skip


def scored(
    leads: Mapping[tuple[str, str], float],
    noises: Iterable[str] = NOISES,
    seeds: int = 4,
    draw: int = 0,
    sd: float = 0.3,
) -> list[Record]:
    """Records of subsets that ``mlp`` chose.

    Args:
        leads: Points above random choice, by (network, method).
        noises, seeds, draw, sd: As of ``records``.
    """
    methods = list(dict.fromkeys(method for _, method in leads))
    found = []
    for number, network in enumerate(dict.fromkeys(network for network, _ in leads)):
        own = {method: leads[network, method] for method in methods}
        recipe = {"recipe": {**RECIPE, "model": network}}
        chosen = recipe if network == "mlp" else {**recipe, "scoring_recipe": RECIPE}
        for one in records(own, ("full", "random", *methods), noises, seeds,
                           draw=draw + number, sd=sd):  # fmt: skip
            name = one.spec["method"]["name"]
            found.append(moved(one, spec=chosen if name in methods else recipe))
    return found
