"""What a run left behind, and what it trained on, as CSV text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunebench.bench.results.store import Store
from prunebench.errors import InputError
from prunebench.leaderboard.board.check_record import check_shape
from prunebench.record import Record
from prunebench.untrusted import spreadsheet, unpack_npz

Arrays = dict[str, NDArray[Any]]

#: What can be exported, with one line on each. Those of a run's artifacts need no data set.
WHATS = {
    "scores": "a score for every training sample",
    "kept": "ids of the samples that a static method kept, and weights where it gave them",
    "visits": "how many epochs trained on each sample",
    "epochs": "a line per epoch",
    "classes": "a line per class",
    "predictions": "the predicted class of every test sample",
    "training": "what the run trained on: every sample's split, label, whether it is flipped, "
                "from outside, corrupted, kept and how often trained; needs the data set",
}  # fmt: skip
#: Columns of 0 and 1 in ``samples.npz``, where images are from outside or corrupted.
MARKS = ("outside", "corrupted")


def export_csv(store: Store, key: str, what: str, data: Mapping[str, Any] | None = None) -> str:
    """One table of a recorded run.

    Args:
        store: The results folder.
        key: The run.
        what: One of ``WHATS``.
        data: Options that open the run's data set on this machine, for ``training``.

    Raises:
        InputError: No such record, a run that has no such thing, or a damaged artifact; the line
            names it.
    """
    record = store.get(key)
    if record is None:
        raise InputError(f"no record {key!r}", where=str(store.root),
                         accepted="a key that `prunebench list` shows")  # fmt: skip
    check_shape(record)
    if what in ("epochs", "classes"):
        return _guarded(_artifact(store, record, f"{what}.csv"), f"{key}: {what}.csv")
    if what == "predictions":
        return _csv(_predictions(store, record))
    samples = _samples(store, record)
    if what == "training":
        return _csv(_training(record, samples, data or {}))
    sample = id_column(record)
    if what == "visits":
        marks = {mark: samples[mark] for mark in MARKS if mark in samples}
        return _csv({sample: samples["id"], "epochs": samples["visits"], **marks})
    name = {"scores": "score", "kept": "kept"}[what]
    if name not in samples:
        method = record.spec["method"]["name"]
        raise InputError(f"{method} leaves no {what}", where=key,
                         accepted=", ".join(holdings(store, record)))  # fmt: skip
    if what == "kept":
        weights = {"weight": samples["kept_weight"]} if "kept_weight" in samples else {}
        return _csv({sample: samples["kept"], **weights})
    return _csv({sample: samples["id"], "score": samples["score"]})


def ids_file(text: str, name: str) -> bytes:
    """The first column of a table in the form that a file's name asks for.

    Args:
        text: CSV of ``export_csv``, with ids in its first column.
        name: Ends in ``.npy`` (int64 [k]), ``.json`` (an object with the list ``indices``, which
            ``datasets.Dataset.select`` and ``torch.utils.data.Subset`` take), or anything else for
            CSV.
    """
    ids = [int(line.partition(",")[0]) for line in text.splitlines()[1:]]
    if name.endswith(".json"):
        return json.dumps({"indices": ids}).encode()
    if name.endswith(".npy"):
        data = io.BytesIO()
        np.save(data, np.array(ids, dtype=np.int64), allow_pickle=False)
        return data.getvalue()
    return text.encode()


def holdings(store: Store, record: Record) -> dict[str, str]:
    """What of ``WHATS`` a run holds."""
    tables = {"epochs.csv": "epochs", "classes.csv": "classes", "predictions.npz": "predictions"}
    found = {what for name, what in tables.items() if name in record.artifacts}
    if "samples.npz" in record.artifacts:
        samples = _samples(store, record)
        found |= {"visits", "training", *(["kept"] if "kept" in samples else [])}
        found |= {"scores"} if "score" in samples else set()
    return {what: line for what, line in WHATS.items() if what in found}


def id_column(record: Record, test: bool = False) -> str:
    """Name of the column of sample ids: ``id`` (``index`` of test samples) for rows of the
    original split, or ``limited_row`` where an earlier version counted the rows that the option
    ``limit`` left."""
    option, size = ("test_limit", "test") if test else ("limit", "train")
    limited = (record.spec["dataset"].get("params") or {}).get(option) is not None
    tuning = test and record.spec.get("role") == "tune"
    if limited and not tuning and f"original_{size}_size" not in record.info:
        return "limited_row"
    return "index" if test else "id"


def _predictions(store: Store, record: Record) -> Arrays:
    """Test samples with the predicted class and its name."""
    table = _load(store, record, "predictions.npz")
    where = f"{record.key}: predictions.npz"
    predicted = _vector(table, "predicted", where, whole=True)
    ids = table.get("id")
    ids = np.arange(len(predicted)) if ids is None else _vector(table, "id", where, whole=True)
    found = {id_column(record, test=True): _long(ids, predicted, where), "predicted": predicted}
    names = _class_names(store, record)
    if len(predicted) and len(names) > predicted.max() and predicted.min() >= 0:
        found["name"] = np.array(names, dtype=object)[predicted]
    return found


def _class_names(store: Store, record: Record) -> list[str]:
    if "classes.csv" not in record.artifacts:
        return []
    text = _guarded(_artifact(store, record, "classes.csv"), f"{record.key}: classes.csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    ordered = [row.get("class") for row in rows] == [str(n) for n in range(len(rows))]
    return [row.get("name") or "" for row in rows] if ordered else []


def _samples(store: Store, record: Record) -> Arrays:
    """The run's arrays by sample; those that belong together are equally long."""
    arrays, where = _load(store, record, "samples.npz"), f"{record.key}: samples.npz"
    ids = _vector(arrays, "id", where, whole=True)
    found = {"id": ids, "visits": _long(_vector(arrays, "visits", where, whole=True), ids, where)}
    if "score" in arrays:
        found["score"] = _long(_vector(arrays, "score", where), ids, where)
    for mark in MARKS:
        if mark in arrays:
            found[mark] = _long(_vector(_as_numbers(arrays, mark), mark, where, whole=True), ids,
                                where)  # fmt: skip
    if "kept" in arrays:
        found["kept"] = _vector(arrays, "kept", where, whole=True)
    if "kept_weight" in arrays and "kept" in found:
        found["kept_weight"] = _long(_vector(arrays, "kept_weight", where), found["kept"], where)
    return found


def _training(record: Record, samples: Arrays, data: Mapping[str, Any]) -> Arrays:
    """The splits of the run's task, made anew from its specification, with the digest of its labels
    compared."""
    from prunebench.bench.runs.rerun import recorded_data
    from prunebench.bench.train.task import (
        holdout_task,
        load_task,
        streams_of,
        with_reference_in_training,
    )
    from prunebench.methods.compose import resolve_method

    spec, opened = recorded_data(record, data)
    task = load_task(spec, opened)
    if record.info.get("label_digest", task.label_digest) != task.label_digest:
        raise InputError("the labels made now are not those of the run", where=record.key,
                         accepted="the version of prunebench that the record names")  # fmt: skip
    if resolve_method(spec.method.name).trains_reference:
        task = with_reference_in_training(task)
    if spec.part != "all":
        task = holdout_task(task, spec.part, streams_of(spec)).task
    named = [("train", task.train), ("reference", task.reference), ("validation", task.validation)]
    splits = [(name, split) for name, split in named if split is not None]
    clean = task.raw.train_y
    label = np.concatenate([split.labels.numpy() for _, split in splits])
    rows = np.concatenate([split.sample_ids.numpy() for _, split in splits])
    ids = np.concatenate([task.raw.train_ids(split.sample_ids).numpy() for _, split in splits])
    splitted = np.repeat([name for name, _ in splits], [len(split) for _, split in splits])
    train = splitted == "train"
    if not np.array_equal(ids[train], samples["id"]):
        raise InputError("the samples made now are not those of the run", where=record.key,
                         accepted="runs of this version, or without limit")  # fmt: skip
    found = {"id": ids, "split": splitted, "label": label}
    if task.raw.clean_known:
        found["flipped"] = (label != clean.numpy()[rows]).astype(np.int8)
    if task.corrupted is not None:
        found["corrupted"] = np.zeros(len(ids), dtype=np.int8)
        found["corrupted"][train] = task.corrupted.numpy()
    if bool(task.outside.any()):
        found["outside"] = (clean.numpy()[rows] < 0).astype(np.int8)
    if "kept" in samples:
        found["kept"] = (train & np.isin(ids, samples["kept"])).astype(np.int8)
    found["epochs"] = np.zeros(len(ids), dtype=np.int64)
    found["epochs"][train] = samples["visits"]
    return found


def _artifact(store: Store, record: Record, name: str) -> bytes:
    if name not in record.artifacts:
        raise InputError(f"the run ended as {record.status!r} and has no {name}", where=record.key)
    return store.artifact(record.key, name)


def _load(store: Store, record: Record, name: str) -> Arrays:
    return unpack_npz(_artifact(store, record, name), f"{record.key}: {name}")


def _as_numbers(arrays: Arrays, name: str) -> Arrays:
    array = arrays[name]
    truths = isinstance(array, np.ndarray) and array.dtype == np.bool_
    return {name: array.astype(np.int8) if truths else array}


def _vector(arrays: Arrays, name: str, where: str, whole: bool = False) -> NDArray[Any]:
    array = arrays.get(name)
    kinds = "iu" if whole else "iuf"
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in kinds:
        raise InputError(
            f"{name!r} is no vector of {'whole ' * whole}numbers", where=where,
            accepted="the artifact as a run wrote it",
        )  # fmt: skip
    return array


def _long(array: NDArray[Any], other: NDArray[Any], where: str) -> NDArray[Any]:
    if len(array) != len(other):
        raise InputError(f"arrays of {len(array)} and {len(other)} samples", where=where,
                         accepted="the artifact as a run wrote it")  # fmt: skip
    return array


def _guarded(data: bytes, where: str) -> str:
    """A table of text whose cells no spreadsheet takes for formulas; numbers stay."""
    try:
        plain = data.decode().replace("\r\n", "\n").replace("\r", "\\r")
        rows = list(csv.reader(io.StringIO(plain), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise InputError("is no table", where=where,
                         accepted="the artifact as a run wrote it") from None  # fmt: skip
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(c) for c in row] for row in rows)
    return text.getvalue()


def _cell(text: str) -> str:
    with suppress(ValueError):
        float(text)
        return text
    return spreadsheet(text)


def _csv(columns: Arrays) -> str:
    text: str = pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")
    return text
