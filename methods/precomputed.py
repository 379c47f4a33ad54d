"""``scores:FILE``: keeps samples by scores that were computed elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.methods.base import Card, Evidence, ScorePruner, StaticPruner, register_method
from prunebench.options import Option, Value
from prunebench.parquet import read_columns, read_note
from prunebench.record import canonical
from prunebench.untrusted import read_npy, read_npz, user_path
from prunebench.userfiles import read_table

_FORMATS = (
    ".npy (one score for each row of the original training split), .npz, .csv or .parquet (ids and "
    "scores)"
)

_ARRAYS = ("ids", "scores")
_COLUMNS = ("id", "score")


def read_scores(path: str | Path, original: int) -> tuple[Tensor, Tensor]:
    """Reads scores by original id; nothing in the file is executed.

    Args:
        path: ``.npy`` with one score per row of the original training split; ``.npz`` with arrays
            ``ids`` and ``scores``; ``.csv`` with a header and columns ``id`` and ``score``, read
            as ``userfiles.read_table`` does; ``.parquet`` with these columns.
        original: Rows of the original training split, limited or not.

    Returns:
        ids int64 [M], ascending, and scores float64 [M].

    Raises:
        InputError: The file is missing, damaged, of another format or for another split, or holds
            an id twice.
    """
    file = Path(path)
    where = str(path)
    if not path or not user_path(file, "scores.path").is_file():
        raise InputError(f"no such file: {where!r}", where="scores.path", accepted=_FORMATS)
    try:
        ids, scores = _read(file, original)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"cannot be read ({type(error).__name__}: {error})", where=where, accepted=_FORMATS
        ) from None
    if scores.ndim != 1 or (ids is not None and ids.shape != scores.shape):
        shapes = scores.shape if ids is None else f"{ids.shape} and {scores.shape}"
        raise InputError(f"shapes {shapes}", where=where, accepted=_FORMATS)
    if ids is None:
        if len(scores) != original:
            raise InputError(
                f"{len(scores)} scores", where=where,
                accepted=f"{original}, one for each row of the original training split",
            )  # fmt: skip
        ids = np.arange(len(scores))
    if len(ids) and (ids.min() < 0 or len(np.unique(ids)) != len(ids)):
        raise InputError("ids are negative or not unique", where=where, accepted=_FORMATS)
    if len(ids) and ids.max() >= original:
        raise InputError(
            f"id {ids.max()}", where=where,
            accepted=f"0 to {original - 1}, rows of the original training split",
        )  # fmt: skip
    if np.isnan(scores).any():
        raise InputError("a score is not a number", where=where, accepted="numbers")
    order = np.argsort(ids)
    return torch.from_numpy(ids[order]), torch.from_numpy(scores[order])


def _read(file: Path, original: int) -> tuple[np.ndarray | None, np.ndarray]:
    """Ids (None where score i belongs to id i) and scores."""
    if file.suffix == ".npy":
        scores = read_npy(file)
        return None, scores.astype(np.float64, casting="same_kind")
    if file.suffix == ".npz":
        arrays = read_npz(file, _ARRAYS)
        lacking = [name for name in _ARRAYS if name not in arrays]
        if lacking:
            raise InputError(f"lacks the array {lacking[0]!r}", where=str(file), accepted=_FORMATS)
        return (
            arrays["ids"].astype(np.int64, casting="same_kind"),
            arrays["scores"].astype(np.float64, casting="same_kind"),
        )
    if file.suffix == ".csv":
        table = read_table(file, _COLUMNS)
        return (
            np.array(_parsed(table["id"], int, "id", file), dtype=np.int64),
            np.array(_parsed(table["score"], float, "score", file), dtype=np.float64),
        )
    if file.suffix == ".parquet":
        columns = read_columns(file, _COLUMNS, original)
        return (
            columns["id"].astype(np.int64, casting="same_kind"),
            columns["score"].astype(np.float64, casting="same_kind"),
        )
    raise InputError(f"suffix {file.suffix!r}", where=str(file), accepted=_FORMATS)


def _parsed(texts: list[str], kind: type, name: str, file: Path) -> list[Any]:
    found = []
    for row, text in enumerate(texts, 1):
        try:
            found.append(kind(text))
        except ValueError:
            raise InputError(
                f"{name} {text[:80]!r} of sample {row} in the file", where=str(file),
                accepted="a whole number" if kind is int else "a number",
            ) from None  # fmt: skip
    return found


class FromFile(StaticPruner):
    """A static method that reads what it keeps by from a file, ``name:FILE``.

    Class attribute ``formats``: the accepted files, for messages.
    """

    argument = "path"
    formats: ClassVar[str] = ""
    path: str

    def portable(self) -> dict[str, Value]:
        """Options that identify a result; the file enters by ``identity``."""
        return {name: value for name, value in self.params.items() if name != self.argument}

    def identity(self) -> str:
        """SHA-256 of the file.

        Raises:
            InputError: The file is missing.
        """
        where = f"{self.name}.path"
        if not user_path(self.path, where).is_file():
            raise InputError(f"no such file: {self.path!r}", where=where, accepted=self.formats)
        with Path(self.path).open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    @staticmethod
    def check_data(path: str, data: Mapping[str, Any]) -> None:
        """Refuses a published file whose ids count the samples of another data set.

        Args:
            path: The file; of other formats, and of other origin, nothing is known.
            data: ``datasets.source.data_mark`` of the run's data set.

        Raises:
            InputError: It does; the line names both.
        """
        if Path(path).suffix != ".parquet":
            return
        own = read_note(Path(path)).get("data")
        if own is not None and own != data:
            raise InputError(f"ids of the data set {canonical(own)}", where=path,
                             accepted=canonical(data))  # fmt: skip


@register_method("scores", version=2)
class Scores(FromFile, ScorePruner):
    """Ranks the training split by scores from a file, one per original id."""

    options = {
        "path": Option("", f"file of scores: {_FORMATS}"),
        "side": Option(
            "high", "which scores are kept", choices=("high", "low", "window"),
            search=("high", "low", "window"),
        ),
    }  # fmt: skip
    card = Card("Precomputed scores", side="as given")
    formats = _FORMATS
    side: str

    def scores(self, evidence: Evidence) -> Tensor:
        """float64 [N].

        Raises:
            InputError: A training sample has no score.
        """
        ids, scores = read_scores(self.path, evidence.original_size)
        wanted = evidence.ids
        places = torch.searchsorted(ids, wanted).clamp(max=max(0, len(ids) - 1))
        if len(ids) == 0 or not bool((ids[places] == wanted).all()):
            lacking = len(wanted) if len(ids) == 0 else int((ids[places] != wanted).sum())
            raise InputError(
                f"{lacking} of {len(wanted)} training samples have no score",
                where=self.path,
                accepted="a score for every original id of the training split",
            )
        return scores[places]
