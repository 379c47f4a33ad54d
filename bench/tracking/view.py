"""How MLflow's pages show a results folder first: a table of runs with the columns that count."""

from __future__ import annotations

import json

#: Name of the shared view, and the tag in which MLflow's pages look for it.
VIEW = "prunebench"
_TAG = f"mlflow.sharedViewState.{VIEW}"
COLUMNS = (
    "metrics.`final/test_acc`", "tags.`method`", "tags.`noise`", "tags.`ratio`", "tags.`seed`",
    "tags.`status`",
)  # fmt: skip


def experiment_tags() -> dict[str, str]:
    """Tags that make an experiment a table of trained models with our columns."""
    state = {"selectedColumns": list(COLUMNS), "viewMaximized": True, "runListHidden": False}
    return {"mlflow.experimentKind": "custom_model_development", _TAG: json.dumps(state)}


def page(experiment_id: str) -> str:
    """Path and fragment of that table below a server's address."""
    query = f"workflowType=machine_learning&viewStateShareKey={VIEW}"
    return f"/#/experiments/{experiment_id}/runs?{query}"
