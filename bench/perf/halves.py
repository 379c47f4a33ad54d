"""Wall time of whole cells at half the samples over that of full training."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prunebench.bench.perf.result import Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn
from prunebench.bench.perf.workload import HALVES, Settings
from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.bench.runs.worker_context import WorkerContext

#: A network so small that everything beside it weighs as much as it can.
_RECIPE = {"model": "cnn", "model_params": {"width": 16, "depth": 3, "stride": 2}, "lr": 0.1,
           "batch_size": 128, "augment": "crop_flip", "eval_every": 10}  # fmt: skip


def halves(s: Settings) -> Result:
    """Whole cells from the specification to the stored record, arrays in memory."""
    s.raw  # noqa: B018 - loaded before the clock runs
    with tempfile.TemporaryDirectory(prefix="prunebench-perf-") as folder:
        number = iter(range(10**9))

        def cell(method: str, ratio: float) -> None:
            made_cell = resolve_cell(
                dataset="synthetic", dataset_params=s.data, noise="symmetric:0.4", method=method,
                ratio=ratio, seed=0, reference={"size": s.reference},
                recipe_params={**_RECIPE, "epochs": s.epochs},
            )  # fmt: skip
            store = Store.open(Path(folder) / str(next(number)))
            record, _ = run_cell(made_cell, store, context=WorkerContext(device=str(s.device)))
            assert record.status in ("done", "diverged"), record.reason
            wanted = round((1 - ratio) * s.n * s.epochs)
            assert record.ledger["trained"] == wanted, record.ledger

        contenders = {"full": lambda: cell("full", 0.0)}
        contenders |= {name: lambda n=name: cell(n, 0.5) for name in HALVES}  # type: ignore[misc]
        times = in_turn(contenders, s.repeats, s.device)
    figures = [
        figure(f"{name} / full", times.ratio(name, "full"), "share", Goal(0.53, False))
        for name in HALVES
    ]
    what = (
        f"cells of {s.epochs} epochs of {s.n:,} images of 3 x {s.side} x {s.side} at ratio 0.5, "
        f"{s.reference:,} reference images, evaluated every 10th epoch and at the end"
    )
    note = "random: a static subset, which needs no evidence; other static methods train alike"
    return made("halves", what, times, figures, [note])
