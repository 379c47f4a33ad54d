"""MLflow's client: quiet, page by page, and errors on one line without passwords."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from typing import Any

from prunebench.errors import error_line

_PAGE = 1000
_PASSWORD = re.compile(r"(://[^/@:\s]*:)[^/@\s]*@")
_LOGGERS = ("mlflow", "alembic", "sqlalchemy", "urllib3")
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
}


class TrackingError(RuntimeError):
    """The tracking store cannot be used; one line that says why."""


def without_password(text: str) -> str:
    """A text in which no address shows its password."""
    return _PASSWORD.sub(r"\1***@", text)


def one_line(error: BaseException) -> str:
    """The start of an error's message, on one line."""
    return without_password(error_line(error))[:300]


def quiet_mlflow() -> Any:
    """The client's class of MLflow, which prints nothing and does not wait for a server for
    minutes."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    from mlflow.tracking import MlflowClient

    for name in _LOGGERS:  # importing mlflow configures its own logger
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient


def quiet_client(uri: str) -> Any:
    """MLflow's client of a store. It makes the schema of a database that has none, in place."""
    return quiet_mlflow()(tracking_uri=uri, registry_uri=uri)


def all_pages(search: Any, *args: Any) -> Iterator[Any]:
    """Everything that a search of MLflow's client finds, page by page."""
    token = None
    while True:
        page = search(*args, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
