"""A run's artifacts as CSV text."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from prunebench.bench.store import Store
from prunebench.errors import InputError
from prunebench.record import Record
from prunebench.untrusted import check_zip_bytes


def export_csv(store: Store, key: str, what: str) -> str:
    """One artifact of a recorded run.

    Args:
        store: The results folder.
        key: The run.
        what: ``scores``, ``kept``, ``visits``, ``epochs``, ``classes`` or ``predictions``.

    Raises:
        InputError: No such record, or a run that has no such thing.
    """
    record = store.get(key)
    if record is None:
        raise InputError(f"no record {key!r}", where=str(store.root))
    if what in ("epochs", "classes"):
        return _bytes(store, key, f"{what}.csv", record.status).decode()
    if what == "predictions":
        table = _load(_bytes(store, key, "predictions.npz", record.status), key)
        ids = table.pop("id", np.arange(len(table["predicted"])))
        return _csv({id_column(record, test=True): ids, **table})
    samples = _load(_bytes(store, key, "samples.npz", record.status), key)
    sample = id_column(record)
    if what == "visits":
        return _csv({sample: samples["id"], "epochs": samples["visits"]})
    name = {"scores": "score", "kept": "kept"}[what]
    if name not in samples:
        method = record.spec["method"]["name"]
        raise InputError(f"{method} leaves no {what}", where=key,
                         accepted="visits, epochs, classes, predictions")  # fmt: skip
    if what == "kept":
        return _csv({sample: samples["kept"]})
    return _csv({sample: samples["id"], "score": samples["score"]})


def id_column(record: Record, test: bool = False) -> str:
    """Name of the column of sample ids: ``id`` (``index`` of test samples) for rows of the
    original split, or ``limited_row`` where an earlier version counted the rows that the option
    ``limit`` left."""
    option, size = ("test_limit", "test") if test else ("limit", "train")
    limited = record.spec["dataset"]["params"].get(option) is not None
    tuning = test and record.spec["role"] == "tune"
    if limited and not tuning and f"original_{size}_size" not in record.info:
        return "limited_row"
    return "index" if test else "id"


def _bytes(store: Store, key: str, name: str, status: str) -> bytes:
    record = store.get(key)
    if record is None or name not in record.artifacts:
        raise InputError(f"the run ended as {status!r} and has no {name}", where=key)
    return store.artifact(key, name)


def _load(data: bytes, where: str) -> dict[str, np.ndarray[Any, Any]]:
    check_zip_bytes(data, where)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # damaged archives raise half a dozen types
        raise InputError(f"unreadable artifact ({error})", where=where) from None


def _csv(columns: dict[str, np.ndarray[Any, Any]]) -> str:
    text: str = pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")
    return text
