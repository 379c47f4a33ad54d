"""Texts of one's own, from Python to the lines of a file that every worker can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
        columns = {"text": _list(texts), "label": _list(own)}
        if split == "train":
            columns |= {"label": columns["label"] if labels is None else _list(labels)}
            columns |= {} if noisy_labels is None else {"human": _list(noisy_labels)}
        for name, values in columns.items():
            if len(values) != len(columns["text"]):
                raise InputError(f"{len(values)} of {name} for {len(columns['text'])} texts",
                                 where=f"task: {split}", accepted="one for each")  # fmt: skip
        for number in range(len(columns["text"])):
            row = {name: values[number] for name, values in columns.items()}
            for name, value in row.items():
                fits = isinstance(value, str) or (name != "text" and type(value) is int)
                if not fits:
                    raise InputError(f"{name} {value!r:.80}", where=f"task: {split}",
                                     accepted="texts, and names or whole numbers")  # fmt: skip
            rows.append({**row, "split": split})
    return "".join(json.dumps(row) + "\n" for row in rows).encode(), len(rows)


def _list(values: Any) -> list[Any]:
    if isinstance(values, Tensor):
        values = values.cpu()
    return list(values.tolist() if hasattr(values, "tolist") else values)
