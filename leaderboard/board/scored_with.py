"""Rows whose subset another recipe's scoring run chose: what it is called, what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunebench.leaderboard.board.designs import content_of, order_of, words_of
from prunebench.leaderboard.filters import leaves
from prunebench.record import Record

_MOST = 3
#: Methods that train a small network of their own first, whatever the recipe's is.
_SMALL_NETWORK = ("airbench-proxy",)


def scoring_recipe(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a specification's scoring run as part of a design; empty where it is that of
    the run itself."""
    if not spec.get("scoring_recipe"):
        return {}
    found: dict[str, Any] = content_of({"recipe": spec.get("scoring_recipe")}).get("recipe", {})
    return found


def scored_with(spec: Mapping[str, Any]) -> str:
    """In what the recipe of the scoring run differs from the run's own, as words: its network, or
    its name, or else its fields.

    Returns:
        ``cnn``, ``width 8, 5 epochs``; empty where one recipe does both.
    """
    scoring = scoring_recipe(spec)
    if not scoring:
        return ""
    recipe = spec.get("recipe") or {}
    for name in ("model", "name"):
        if scoring.get(name) != recipe.get(name):
            return str(scoring.get(name))
    own = dict(leaves({"recipe": scoring}))
    trained = dict(leaves(content_of({"recipe": recipe})))
    differing = [path for path in own.keys() | trained.keys() if own.get(path) != trained.get(path)]
    listed = sorted(differing, key=order_of)[:_MOST]
    return ", ".join(words_of(path, own.get(path)) for path in listed)


def scoring_samples(record: Record) -> float | None:
    """Samples of the scoring run that a run rests on, forward-only passes at a third.

    Returns:
        Zero where it rests on none; None where they passed another network than the trained one,
        whose samples they cannot be added to.
    """
    ledger, spec = record.ledger, record.spec
    samples = ledger.get("proxy_trained", 0) + ledger.get("proxy_scoring", 0) / 3
    model, own = (
        (recipe.get("model"), recipe.get("model_params") or {})
        for recipe in (spec.get("scoring_recipe") or spec["recipe"], spec["recipe"])
    )
    small = spec["method"]["name"].partition("+")[0] in _SMALL_NETWORK
    return None if samples and (small or model != own) else samples
