"""MLflow mirror of the records: a writer thread and a rebuild. MLflow is imported on first use."""

from prunebench.bench.tracking.background import BackgroundMirror, MirrorSummary
from prunebench.bench.tracking.client import TrackingError
from prunebench.bench.tracking.mirror import Mirror
from prunebench.bench.tracking.sync import SyncReport, default_experiment, sync

__all__ = [
    "BackgroundMirror",
    "Mirror",
    "MirrorSummary",
    "SyncReport",
    "TrackingError",
    "default_experiment",
    "sync",
]
