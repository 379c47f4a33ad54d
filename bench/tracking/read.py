"""Records out of an MLflow tracking store, as the mirror wrote them."""

from __future__ import annotations

from prunebench.errors import InputError
from prunebench.record import Record, parse

#: Tag that holds the whole record.
RECORD_TAG = "record_json"
_PAGE = 1000


def mirrored_records(uri: str) -> list[Record]:
    """Every record of a tracking store, in order of key.

    Args:
        uri: Tracking URI, such as ``sqlite:///results/demo/mlflow.db``.

    Raises:
        InputError: The store cannot be read, or holds no records of ours.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(tracking_uri=uri)
        experiments = [e.experiment_id for e in client.search_experiments()]
        found: dict[str, Record] = {}
        token: str | None = None
        while True:
            page = client.search_runs(experiments, "tags.cell_key LIKE '%'", max_results=_PAGE,
                                      page_token=token)  # fmt: skip
            for run in page:
                text = run.data.tags.get(RECORD_TAG)
                if text is not None and "superseded_by" not in run.data.tags:
                    record = parse(text, f"MLflow run {run.info.run_id}")
                    found[record.key] = record
            token = page.token
            if not token:
                break
    except MlflowException as error:
        line = str(error).splitlines()[0]
        raise InputError(f"cannot be read ({line})", where=uri,
                         accepted="an MLflow tracking URI") from None  # fmt: skip
    if not found:
        raise InputError("no mirrored records", where=uri,
                         accepted="a store written by prunebench; `prunebench sync` rebuilds it"
                         )  # fmt: skip
    return [found[key] for key in sorted(found)]
