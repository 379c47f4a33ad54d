"""The first page of MLflow for a results folder: a table of runs with the main columns."""

from __future__ import annotations

import json
from typing import Any

#: Name of the shared view, and the tag in which MLflow's pages look for it.
VIEW = "prunebench"
EXPERIMENT_TAG = f"mlflow.sharedViewState.{VIEW}"
COLUMNS = (
    "metrics.`final/test_acc`", "tags.`method`", "tags.`noise`", "tags.`ratio`", "tags.`seed`",
    "tags.`status`",
)  # fmt: skip
#: Pixels: all up to the ratio fit beside the panel that MLflow opens on a first visit.
_WIDTHS = {
    "attributes.`Run Name`": 150, "runDateAndNestInfo": 120,
    **dict(zip(COLUMNS, (105, 110, 125, 70, 60, 70), strict=True)), "duration": 80,
}  # fmt: skip


def experiment_tags() -> dict[str, str]:
    """Tags that make an experiment a table of trained models with our columns."""
    state = {
        "selectedColumns": list(COLUMNS),
        "columnOrder": list(_WIDTHS),
        "columnWidths": _WIDTHS,
        "viewMaximized": True,
        "runListHidden": False,
    }
    return {"mlflow.experimentKind": "custom_model_development", EXPERIMENT_TAG: json.dumps(state)}


def table_page(client: Any, name: str) -> str:
    """Path and fragment of the table of runs below a server's address.

    Experiments of earlier versions get the view first. Where none has the name, as in a folder that
    was renamed, another of ours is shown.

    Args:
        client: MLflow's client of the store.
        name: Name of the experiment to show.
    """
    ours = [one for one in client.search_experiments() if one.experiment_id != "0"]
    ours.sort(key=lambda one: (one.name != name, one.name.endswith("/tuning"), one.name))
    for experiment in ours:
        for tag, value in experiment_tags().items():
            if experiment.tags.get(tag) != value:
                client.set_experiment_tag(experiment.experiment_id, tag, value)
    if not ours:
        return "/#/experiments"
    query = f"workflowType=machine_learning&viewStateShareKey={VIEW}"
    return f"/#/experiments/{ours[0].experiment_id}/runs?{query}"
