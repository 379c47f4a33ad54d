"""Data sets and label noise: what a data set of your own needs. Importing this package registers
every built-in source."""

from prunebench.datasets import sources as sources
from prunebench.datasets.digests import channel_stats, content_digest
from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.locate import DataFile
from prunebench.datasets.source import DataSource, Origin, Outline, RawData, register_dataset

__all__ = [
    "DataFile",
    "DataSource",
    "ImageFiles",
    "Origin",
    "Outline",
    "RawData",
    "channel_stats",
    "content_digest",
    "register_dataset",
]
