"""Texts of one's own, from Python to the lines of a file that every worker can read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from prunebench.errors import InputError


def are_texts(data: Any) -> bool:
    """Whether samples and labels are given whose samples are texts."""
    pair = isinstance(data, (tuple, list)) and len(data) == 2
    samples = data[0] if pair else None
    if isinstance(samples, np.ndarray):
        return samples.dtype.kind in "UT" or (samples.ndim == 1 and samples.size > 0
                                              and isinstance(samples[0], str))  # fmt: skip
    if samples is None or isinstance(samples, (str, Tensor)) or not hasattr(samples, "__iter__"):
        return False
    return isinstance(next(iter(samples), None), str)  # one element: the data may be large


def text_lines(
    train: Any, test: Any, labels: Any, noisy_labels: Any, others: Mapping[str, Any]
) -> tuple[bytes, int]:
    """The JSON lines of a file that ``text:`` reads without further options.

    Args:
        train: Texts and labels.
        test: Likewise.
        labels: In place of those of ``train``; None for those.
        noisy_labels: What people gave to the training texts; None for none.
        others: Further arguments, none of which may be given.

    Returns:
        The bytes, and how many texts they hold.

    Raises:
        InputError: Texts and labels of different numbers, a sample that is no text, a label that is
            no name and no whole number, or an argument that texts do not take.
    """
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise InputError("texts do not take it", where=f"task: {given[0]}",
                         accepted="labels, noisy_labels, name")  # fmt: skip
    if not are_texts(test):
        raise InputError("no texts", where="task: test", accepted="(texts, labels), as train")
    rows = []
    for split, (texts, own) in (("train", train), ("test", test)):
        where, train_split = f"task: {split}", split == "train"
        columns = {"text": _list(texts, where)}
        columns["label"] = _list(labels if train_split and labels is not None else own, where)
        if train_split and noisy_labels is not None:
            columns["human"] = _list(noisy_labels, where)
        for name, values in columns.items():
            if len(values) != len(columns["text"]):
                raise InputError(f"{len(values)} of {name} for {len(columns['text'])} texts",
                                 where=where, accepted="one for each")  # fmt: skip
        for number in range(len(columns["text"])):
            row = {name: values[number] for name, values in columns.items()}
            for name, value in row.items():
                fits = isinstance(value, str) or (name != "text" and type(value) is int)
                if not fits:
                    raise InputError(f"{name} {value!r:.80}", where=where,
                                     accepted="texts, and names or whole numbers")  # fmt: skip
            rows.append({**row, "split": split})
    return "".join(json.dumps(row) + "\n" for row in rows).encode(), len(rows)


def _list(values: Any, where: str) -> list[Any]:
    """Values as Python's own: numbers of numpy and torch become numbers."""
    if isinstance(values, Tensor):
        values = values.cpu()
    plain = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(plain, Iterable):
        raise InputError(f"{plain!r:.80} is no list", where=where, accepted="one for each text")
    single = (np.generic, Tensor)
    return [v.item() if isinstance(v, single) and v.ndim == 0 else v for v in plain]
