"""What an author of a method or of a criterion imports.

A pruner decides which samples are trained and with which weights. It never trains, never sees
clean labels or the test set, and draws randomness only from the stream that it is given.
"""

from prunebench.methods.criterion import Criterion, register_criterion
from prunebench.methods.interfaces import (
    Batch,
    Evidence,
    EvidenceSpec,
    Plan,
    Progress,
    ReferenceView,
    Snapshot,
    StrongView,
    Subset,
    Tables,
    TrainView,
    kept_count,
    pruning_epochs,
)
from prunebench.methods.pruner import (
    BatchPruner,
    Card,
    DynamicPruner,
    Pruner,
    StaticPruner,
    register_method,
)
from prunebench.methods.sampler import Sampler, Scored, register_sampler
from prunebench.methods.score_based import LastLoss, ScoreBasedPruner, Scorer
from prunebench.methods.score_pruner import ScorePruner

__all__ = [
    "Batch",
    "BatchPruner",
    "Card",
    "Criterion",
    "DynamicPruner",
    "Evidence",
    "EvidenceSpec",
    "LastLoss",
    "Plan",
    "Progress",
    "Pruner",
    "ReferenceView",
    "Sampler",
    "ScoreBasedPruner",
    "ScorePruner",
    "Scored",
    "Scorer",
    "Snapshot",
    "StaticPruner",
    "StrongView",
    "Subset",
    "Tables",
    "TrainView",
    "kept_count",
    "pruning_epochs",
    "register_criterion",
    "register_method",
    "register_sampler",
]
