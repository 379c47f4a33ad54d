"""Data sets and label noise: importing this package registers every built-in source."""

from prunebench.datasets import sources as sources
