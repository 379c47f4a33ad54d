"""What MLflow holds, read with its own client."""

from __future__ import annotations

from pathlib import Path

from prunebench.bench.tracking.mirror import default_uri
from prunebench.bench.tracking.sync import default_experiment


def mirrored(root: Path) -> dict[str, str]:
    """Record digest by key of the current runs of a results folder, each key once."""
    from mlflow.tracking import MlflowClient

    uri = default_uri(root)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(default_experiment(root))
    assert experiment is not None
    runs, token = [], None
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            break
    assert all(run.info.status != "RUNNING" for run in runs)
    tags = [run.data.tags for run in runs]
    live = [t for t in tags if "superseded_by" not in t and "orphaned" not in t]
    assert len({tag["cell_key"] for tag in live}) == len(live)
    return {tag["cell_key"]: tag["record_digest"] for tag in live}
