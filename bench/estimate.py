"""What a grid would cost, before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunebench.bench.cell import final_record
from prunebench.bench.driver import Running
from prunebench.bench.planning import plan_jobs
from prunebench.bench.spec import Cell
from prunebench.bench.store import Store


def summarise(cells: Sequence[Cell], out: Path, running: Running) -> dict[str, Any]:
    """Counts of cells and shared scoring runs, and how many are recorded already."""
    planned = plan_jobs(cells)
    store = Store(out)
    stood = sum(
        (store.records / f"{job.key}.json").is_file()
        and final_record(store, job.key, running.retry_failed) is not None
        for job in planned.jobs
    )
    return {
        "cells": len(planned.jobs),
        "of these shared scoring runs": len(planned.shared),
        "added for scoring": len(planned.added),
        "recorded already": stood,
        "to run": len(planned.jobs) - stood,
        "full trainings' worth": round(
            sum(1.0 - planned.cells[job.key].spec.ratio for job in planned.jobs), 2
        ),
    }
