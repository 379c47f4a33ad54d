"""Per-epoch columns of runs, averaged over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunebench.leaderboard.board.collect import Run
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.stats import mean_interval

FILE = "epochs.csv"


def tables_of(material: Material, runs: Iterable[Run]) -> list[pd.DataFrame]:
    """Per-epoch tables of the runs that count and are available, without stubs."""
    counted = [run for run in runs if run.accuracy is not None]
    frames = ((run, material.table(run, FILE)) for run in counted)
    return [without_stub(frame, run.record.spec.get("budget", "samples"))
            for run, frame in frames if frame is not None]  # fmt: skip


def without_stub(frame: pd.DataFrame, budget: str) -> pd.DataFrame:
    """The table without a last epoch that the budget cut to less than half of its plan: its
    figures are those of a few samples. Files that do not hold the plan are measured by the epoch
    before.

    Args:
        frame: One row per epoch.
        budget: Only ``samples`` cuts an epoch.
    """
    if budget != "samples" or len(frame) < 2 or "trained" not in frame:
        return frame
    trained = pd.to_numeric(frame["trained"], errors="coerce")
    planned = pd.to_numeric(frame["planned"], errors="coerce") if "planned" in frame else (
        trained.shift())  # fmt: skip
    return frame.iloc[:-1] if trained.iloc[-1] < planned.iloc[-1] / 2 else frame


def curve(
    frames: Iterable[pd.DataFrame], column: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Epochs from 1, mean and half-width of the 95 % t interval [n] over seeds.

    Epochs that only some seeds reached or have a value in are left out, for their mean would
    be over other runs; the half-width is NaN below three seeds. None where nothing is left.
    """
    columns = [pd.to_numeric(f[column], errors="coerce").to_numpy(np.float64)
               for f in frames if column in f]  # fmt: skip
    if not columns:
        return None
    length = min(map(len, columns))
    values = np.stack([c[:length] for c in columns])
    known = np.isfinite(values).all(axis=0)
    if not known.any():
        return None
    found = [mean_interval(v) for v in values[:, known].T]
    half = [math.nan if m.half_width is None else m.half_width for m in found]
    means = np.array([m.mean for m in found], dtype=np.float64)
    x = np.flatnonzero(known).astype(np.float64) + 1
    return x, means, np.array(half, dtype=np.float64)
