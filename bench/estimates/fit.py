"""How long a cell will take, from cells done on this device and from the speed measured on it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from prunebench.bench.estimates.costs import cell_cost, under_noise
from prunebench.bench.estimates.rates import FORWARD, Rates, kind_of, rates_from_records
from prunebench.bench.estimates.summary import outline_of, seconds_of
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell

#: Seconds of a cell beyond its samples, where no record says it: data, capture, evaluation.
_BESIDE_S = 10.0
#: What `perf.cuda` times, beside the batch size.
_MODEL = "resnet18"


def expected_seconds(
    cell: Cell, store: Store, device: torch.device, threads: int, speeds: Mapping[str, float]
) -> float | None:
    """Seconds of a cell that runs alone; None where nothing is known of its kind.

    Args:
        cell: The cell.
        store: Its results folder; records of its kind on this class of device count first.
        device: Where it will run.
        threads: Of its process.
        speeds: Images per second of the timed ResNet-18 by precision.
    """
    kind = kind_of(cell.spec)
    rates = rates_from_records(store.scan().records, [kind], device, threads).get(kind)
    recipe = cell.spec.recipe
    speed = speeds.get(recipe.precision)
    if rates is None and speed and recipe.model == _MODEL:
        each = 1 / speed
        rates = Rates(each, 0.0, each * FORWARD, each, _BESIDE_S)
    outline, _ = outline_of(cell.spec.dataset.name, cell.data)
    if rates is None or outline is None:
        return None
    return seconds_of(cell_cost(cell, under_noise(outline, cell.spec)), rates)
