"""prunebench: a benchmark harness for data pruning under label noise."""

__version__ = "0.1.0"
