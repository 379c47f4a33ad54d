"""Optimisers and schedules, at the address that users outside this package import them from."""

from prunebench.bench.train.optimizers import LARS
from prunebench.bench.train.optimizers import make_optimizer as make_optimizer
from prunebench.bench.train.optimizers import set_schedule as set_schedule
from prunebench.bench.train.schedules import linear_tail as linear_tail
from prunebench.bench.train.schedules import multi_step as multi_step
from prunebench.bench.train.schedules import one_cycle, one_cycle_momentum
from prunebench.bench.train.schedules import schedule as schedule
from prunebench.bench.train.schedules import warm_cosine as warm_cosine

__all__ = ["LARS", "one_cycle", "one_cycle_momentum"]  # the others are importable, not promised
