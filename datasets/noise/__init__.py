"""Label noise: exact injection, its rules, and its name on the command line."""

from prunebench.datasets.noise.inject import Noise, inject
from prunebench.datasets.noise.names import NoiseSpec, parse_noise

__all__ = ["Noise", "NoiseSpec", "inject", "parse_noise"]
