"""``ids:FILE``: trains on exactly the samples that a file names."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.errors import InputError
from prunebench.files import read_at_most
from prunebench.methods.base import Card, Evidence, Subset, register_method
from prunebench.methods.interfaces import kept_count
from prunebench.methods.precomputed import FromFile
from prunebench.options import Option
from prunebench.parquet import read_columns
from prunebench.rng import Stream
from prunebench.untrusted import read_npy, read_npz, user_path
from prunebench.userfiles import read_table

_FORMATS = (
    ".csv or .parquet with a column id, .npy, .npz with an array ids, or .json (a list, or indices)"
)
#: Bytes of a .json file at most.
_LONGEST = 1 << 28


def read_ids(path: str | Path, original: int) -> Tensor:
    """Reads original ids; nothing in the file is executed.

    Args:
        path: ``.csv`` with a header and a column ``id``; ``.npy``; ``.npz`` with an array ``ids``;
            ``.json`` with a list, or with a list under ``indices``; ``.parquet`` with a column
            ``id``, which ``leaderboard --publish --with-ids`` writes.
        original: Rows of the original training split, limited or not.

    Returns:
        int64 [k], ascending, k >= 1.

    Raises:
        InputError: The file is missing, damaged or of another format, or holds no id, one twice,
            or one that the split does not have.
    """
    file, where = Path(path), str(path)
    if not path or not user_path(file, "ids.path").is_file():
        raise InputError(f"no such file: {where!r}", where="ids.path", accepted=_FORMATS)
    try:
        values = _read(file, original)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"cannot be read ({type(error).__name__}: {error})", where=where, accepted=_FORMATS
        ) from None
    if values.ndim != 1 or values.dtype.kind not in "iu" or not len(values):
        raise InputError(
            f"{values.dtype} of shape {values.shape}", where=where, accepted="whole numbers, one "
            "or more",
        )  # fmt: skip
    outside = values[(values < 0) | (values >= original)]
    if len(outside):
        raise InputError(
            f"id {outside[0]}", where=where,
            accepted=f"0 to {original - 1}, rows of the original training split",
        )  # fmt: skip
    ids, counts = np.unique(values.astype(np.int64), return_counts=True)
    if counts.max() > 1:
        raise InputError(
            f"id {ids[counts.argmax()]} is there {counts.max()} times", where=where,
            accepted="every id once",
        )  # fmt: skip
    return torch.from_numpy(ids)


def _read(file: Path, original: int) -> NDArray[Any]:
    if file.suffix == ".npy":
        return read_npy(file)
    if file.suffix == ".npz":
        arrays = read_npz(file, ("ids",))
        if "ids" not in arrays:
            raise InputError("lacks the array 'ids'", where=str(file), accepted=_FORMATS)
        return arrays["ids"]
    if file.suffix == ".json":
        found = json.loads(read_at_most(file, _LONGEST))
        values = found.get("indices") if isinstance(found, dict) else found
        if not isinstance(values, list) or not all(type(value) is int for value in values):
            raise InputError("no list of whole numbers", where=str(file), accepted=_FORMATS)
        return np.array(values, dtype=np.int64)
    if file.suffix == ".parquet":
        return read_columns(file, ("id",), original)["id"]
    if file.suffix == ".csv":
        texts = read_table(file, ("id",))["id"]
        for row, text in enumerate(texts, 1):
            if not text.strip().isdecimal():
                raise InputError(
                    f"id {text[:80]!r} in row {row}", where=str(file), accepted="a whole number"
                )
        return np.array([int(text) for text in texts], dtype=np.int64)
    raise InputError(f"suffix {file.suffix!r}", where=str(file), accepted=_FORMATS)


def matching_ratio(kept: int, total: int) -> float:
    """The shortest ratio at which exactly ``kept`` of ``total`` samples are kept."""
    exact = 1 - Fraction(kept, total)
    for digits in range(1, 18):
        ratio = round(float(exact), digits)
        if kept_count(total, ratio) == kept:
            return ratio
    return float(exact)


@register_method("ids")
class Ids(FromFile):
    """Keeps the training samples whose original ids a file names."""

    options = {"path": Option("", f"file of ids: {_FORMATS}")}
    card = Card("Ids from a file", side="as given")
    formats = _FORMATS

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """These samples.

        Raises:
            InputError: One is held out or left out by ``limit``, or the ratio stands for another
                number of samples.
        """
        ids, own = read_ids(self.path, evidence.original_size), evidence.ids
        kept = torch.isin(own, ids)
        count, total = int(kept.sum()), len(own)
        if count < len(ids):
            lacking = ids[~torch.isin(ids, own)]
            raise InputError(
                f"{len(lacking)} of {len(ids)} ids are no training samples, {int(lacking[0])} the "
                "first", where=self.path,
                accepted="ids that are neither held out (reference, validation) nor left out by "
                "the option limit; reference size 0 holds out none",
            )  # fmt: skip
        if count != k:
            raise InputError(
                f"the file names {count} of {total} samples, {k} are kept at this ratio",
                where="ratio", accepted=f"{matching_ratio(count, total):g}",
            )  # fmt: skip
        return Subset(kept.nonzero().flatten())
