"""Endings of a method's name that put another score in place of its own: ``base+align``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from prunebench.methods.align import ALIGN_CARD, ALIGN_OPTIONS, ALIGN_VERSION, Alignment
from prunebench.methods.base import Card, Scorer
from prunebench.methods.bls import BLS_CARD, BLS_OPTIONS, BLS_VERSION, BatchLoss
from prunebench.options import Option, Value
from prunebench.registry import ALIGN, BLS


@dataclass(frozen=True)
class Suffix:
    """A scorer that any score-based pruner takes, and how it shows in names and cards.

    Attributes:
        name: Ending of the method's name, reserved by ``registry.SUFFIXES``.
        version: Raise it whenever results change; part of the method's version.
        scorer: Built with the pruner's own scorer and ``options``.
        options: By name, each with a prefix of the scorer's own.
        card: Of the scorer alone.
        score: The score, in words.
        clean_data: What clean labels it uses under its defaults; empty for none.
        full_at: Options at which a pruner with a fixed threshold prunes nothing by this score.
    """

    name: str
    version: int
    scorer: Callable[..., Scorer]
    options: Mapping[str, Option]
    card: Card
    score: str
    clean_data: str
    full_at: Mapping[str, Value]

    def card_over(self, base: Card) -> Card:
        """The card of a method with this score."""
        own = self.card
        return replace(
            base,
            title=f"{base.title} + {own.title}" if base.title else own.title,
            paper="; ".join(p for p in (own.paper, base.paper) if p),
            cost="; ".join(c for c in (base.cost, own.cost) if c != "none") or "none",
            side=f"of the {self.score}: " + (base.side or own.side),
            year=own.year,
        )


SUFFIXES: Mapping[str, Suffix] = {
    suffix.name: suffix
    for suffix in (
        Suffix(
            ALIGN, ALIGN_VERSION, Alignment, ALIGN_OPTIONS, ALIGN_CARD, "alignment score",
            "reference set", {"align.threshold": -1.0},  # no correlation lies below
        ),
        Suffix(BLS, BLS_VERSION, BatchLoss, BLS_OPTIONS, BLS_CARD, "batch-loss score", "", {}),
    )
}  # fmt: skip
