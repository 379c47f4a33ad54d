"""Optimisers and schedules, at the address that users outside this package import them from."""

from prunebench.bench.train.optimizers import LARS, one_cycle, one_cycle_momentum

__all__ = ["LARS", "one_cycle", "one_cycle_momentum"]
