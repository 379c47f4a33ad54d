"""A run's artifacts as CSV text."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from prunebench.bench.store import Store
from prunebench.errors import InputError
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
        return _csv({"index": np.arange(len(table["predicted"])), **table})
    samples = _load(_bytes(store, key, "samples.npz", record.status), key)
    if what == "visits":
        return _csv({"id": samples["id"], "epochs": samples["visits"]})
    name = {"scores": "score", "kept": "kept"}[what]
    if name not in samples:
        method = record.spec["method"]["name"]
        raise InputError(f"{method} leaves no {what}", where=key,
                         accepted="visits, epochs, classes, predictions")  # fmt: skip
    if what == "kept":
        return _csv({"id": samples["kept"]})
    return _csv({"id": samples["id"], "score": samples["score"]})


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
