"""Statistics of paired comparisons: small closed forms on numpy and scipy."""

from prunebench.leaderboard.stats.intervals import MeanInterval, Proportion, mean_interval, wilson
from prunebench.leaderboard.stats.multiple import Adjusted, benjamini_hochberg, holm
from prunebench.leaderboard.stats.paired import (
    PairedDifference,
    PairedT,
    SignFlip,
    SmallestP,
    paired_difference,
    paired_t,
    sign_flip,
    smallest_p,
)

__all__ = [
    "Adjusted",
    "MeanInterval",
    "PairedDifference",
    "PairedT",
    "Proportion",
    "SignFlip",
    "SmallestP",
    "benjamini_hochberg",
    "holm",
    "mean_interval",
    "paired_difference",
    "paired_t",
    "sign_flip",
    "smallest_p",
    "wilson",
]
