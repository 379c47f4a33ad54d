"""The time that training a self-supervised encoder takes, from its first steps."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise

import torch

from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.self_supervised import BATCH, Encoder
from prunebench.bench.train.trainer import guarded
from prunebench.datasets.source import RawData
from prunebench.rng import Streams

_FEW, _STEPS = 16, 3


def encoder_seconds(
    raw: RawData, recipe: Recipe, device: torch.device, limit_s: float = 2.0
) -> float:
    """Seconds per view of training an encoder; 0 where there are no images.

    Args:
        raw: The data set, or one of its shape.
        recipe: Of the encoder.
        device: Where to train.
        limit_s: Seconds that a step of the usual size may take; slower ones are judged by smaller
            batches.
    """
    if not raw.images:
        return 0.0
    each = 0.0
    for batch in (_FEW, BATCH):
        if each * 2 * batch > limit_s:
            break
        streams = Streams(0, "calibration", "self-supervised")
        encoder = Encoder(raw, recipe, streams, device, batch=batch)
        times = [time.perf_counter()]
        with guarded(device):
            for _ in encoder.steps():
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                times.append(time.perf_counter())
                if encoder.step == _STEPS:
                    break
        encoder.close()
        taken = [b - a for a, b in pairwise(times)]
        each = statistics.median(taken[1:] or taken) / (2 * encoder.batch)  # the first warms up
    return each
