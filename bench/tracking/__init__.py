"""MLflow mirror of the records: a live writer thread and a rebuild. MLflow loads on first use."""

from prunebench.bench.tracking.live import MirrorSummary, Tracking
from prunebench.bench.tracking.mirror import Mirror, TrackingError
from prunebench.bench.tracking.sync import SyncReport, default_experiment, sync

__all__ = [
    "Mirror",
    "MirrorSummary",
    "SyncReport",
    "Tracking",
    "TrackingError",
    "default_experiment",
    "sync",
]
