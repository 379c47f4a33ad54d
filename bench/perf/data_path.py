"""The data path: gather, crop, flip and normalise, beside a DataLoader over PIL images."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader

from prunebench.bench.inputs.view import Inputs
from prunebench.bench.perf.contenders import Pictures
from prunebench.bench.perf.result import Figure, Goal, Result, figure, made
from prunebench.bench.perf.timing import in_turn
from prunebench.bench.perf.workload import Settings, tensor

#: Batches of one turn.
_BATCHES = 20


def data_path(s: Settings) -> Result:
    """An epoch's batches without training."""
    raw, count = s.raw, min(s.n, _BATCHES * s.batch)
    loader = DataLoader(Pictures(raw, count), batch_size=s.batch, shuffle=True, num_workers=0)
    pixels = tensor(raw.train_x)
    inputs = Inputs(pixels, raw, augment="crop_flip", pad=4, device=s.device)
    labels, stream = raw.train_y.to(s.device), s.stream("augment")

    def theirs() -> int:
        return sum(len(x.to(s.device)) for x, _ in loader)

    def ours() -> int:
        rows = torch.randperm(len(pixels), device=s.device)[:count]
        epoch, seen = inputs.augmented_batches(rows, stream), 0
        for start in range(0, count, s.batch):
            stop = min(start + s.batch, count)
            seen += len(epoch.batch(start, stop)) * (len(labels[rows[start:stop]]) > 0)
        return seen

    assert theirs() == ours() == count
    times = in_turn({"PIL and DataLoader": theirs, "ours": ours}, s.repeats, s.device, {"ours": 10})
    ratio = times.ratio("PIL and DataLoader", "ours")
    figures = [figure("PIL and DataLoader / ours", ratio, goal=Goal(20))]
    figures += [Figure(name, count / times.median(name), "img/s") for name in times.taken]
    what = f"{count:,} images of 3 x {s.side} x {s.side}, crop, flip and normalise, batch {s.batch}"
    return made("data-path", what, times, figures, ["both in one process, num_workers=0"])
