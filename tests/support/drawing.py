"""Boards and drawings for tests of figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prunebench.leaderboard.figures import Material
from prunebench.leaderboard.figures.registry import drawings
from prunebench.leaderboard.figures.style import Drawn
from prunebench.record import Record

KINDS = {"random": "static", "small-loss": "static", "full": "baseline", "short-full": "baseline"}

METHODS = ("full", "short-full", "random", "small-loss", "infobatch", "infobatch+align")


def kinded(records: list[Record]) -> list[Record]:
    """The same with the kind of method and a ledger that knows a full run's size."""
    ledger = {"num_samples": 100, "full_epochs": 10, "trained": 500, "proxy_trained": 0}
    found = []
    for r in records:
        name = r.spec["method"]["name"]
        more = {"proxy_trained": 1000, "proxy_scoring": 300} if name == "small-loss" else {}
        kind = KINDS.get(name, "dynamic")
        found.append(
            replace(
                r, info={**r.info, "kind": kind}, ledger={**r.ledger, **ledger, **more}
            ).sealed()
        )
    return found


def draw(name: str, material: Material) -> list[Any]:
    return [found for _, found in drawings(material, [name])]


def one(name: str, material: Material) -> Drawn:
    (found,) = draw(name, material)
    assert isinstance(found, Drawn), found
    return found


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def panels(drawn: Drawn) -> list[Any]:
    return [axes for axes in drawn.figure.axes if axes.get_visible()]
