"""Rows that a grid adds beside methods with ``+align``: what the same clean samples buy
otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.bench.runs.cell import Cell
from prunebench.record import setting_name
from prunebench.registry import ALIGN

#: Methods by the name that the field ``controls`` takes.
CONTROLS = {
    "reference": ("full+reference", "glister", "rho-loss", "cld", "infobatch+reference"),
}


def missing(controls: str | None, methods: Sequence[str]) -> list[str]:
    """The controls that a block asks for and does not list; none without ``+align``.

    Args:
        controls: A name of ``CONTROLS``, or None.
        methods: Those of the block.
    """
    if controls is None or not any(name.endswith(ALIGN) for name in methods):
        return []
    return [name for name in CONTROLS[controls] if name not in methods]


def row_of(cell: Cell) -> tuple[object, ...]:
    """A task and a method: what is listed for the one in any block is not added again."""
    spec, recipe = cell.spec, cell.spec.recipe
    task = spec.dataset.name, spec.dataset.identity, setting_name(spec.content), spec.criterion.name
    how = recipe.name, recipe.model, recipe.epochs, spec.method.name
    return *task, *how
