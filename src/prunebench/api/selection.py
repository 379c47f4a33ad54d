"""Subsets and suspicious labels from a scoring run on data of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.utils.data import Subset as TorchSubset

from prunebench.api.own_data import OwnData, task
from prunebench.api.own_model import Model
from prunebench.api.own_texts import are_texts
from prunebench.api.runs import resolve_own
from prunebench.bench.grids.progress import ShareLine
from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.choosing import choose, label_issues
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import InputError
from prunebench.files import write_atomic

#: Samples of the training split that stand in for a test split, which nobody reads here.
_UNREAD = 1000


@dataclass(frozen=True, eq=False)
class Selection:
    """What a static method keeps of a data set.

    Attributes:
        indices: int64 [k], rows of the data as they were given, ascending.
        scores: float64 [N] by row, or None where the method has none.
        weights: float32 [k], a factor on the loss of each of ``indices`` as the method gives it
            (``Pruning`` scales them to mean 1), or None for 1.
        method: Its name.
        data: What it was chosen from.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float64] | None
    weights: NDArray[np.float32] | None
    method: str
    data: Any

    def subset(self) -> TorchSubset[Any]:
        """The samples kept, as a ``torch.utils.data.Subset`` of the data that were given.

        Raises:
            InputError: The data are no data set of samples by number.
        """
        if isinstance(self.data, (str, tuple, list, OwnData)):
            raise InputError("the data are no torch Dataset", where="Selection.subset",
                             accepted="indices, to take rows of arrays")  # fmt: skip
        return TorchSubset(self.data, self.indices.tolist())

    def to_csv(self, path: str | Path) -> None:
        """Writes the column ``id``, a file for the method ``ids:FILE``, and ``weight`` where there
        are weights."""
        table = pd.DataFrame({"id": self.indices})
        if self.weights is not None:
            table["weight"] = self.weights
        write_atomic(Path(path), table.to_csv(index=False, lineterminator="\n").encode())

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"<Selection of {len(self)} samples by {self.method}>"


def select(
    data: Any,
    *,
    method: str = "dual",
    ratio: float = 0.5,
    model: str | Model | None = None,
    head: str | None = None,
    seed: int = 0,
    recipe: str | Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    out: str | Path = "results/select",
    **given: Any,
) -> Selection:
    """Chooses a subset with a static method, after the scoring run that it needs.

    Args:
        data: ``(X, y)``, a map-style ``Dataset``, what ``task`` returned, or a data set's name.
        method: A static method.
        ratio: Share of the samples to leave out.
        model: As of ``run``; likewise ``head``, ``recipe``, ``params`` and ``given``.
        seed: Of the scoring run and of ties.
        out: Results folder; a scoring run that it holds is not repeated.

    Raises:
        InputError: No static method, or anything that cannot be run.
    """
    cell, store, options, chosen = _opened(
        data, out, method=method, ratio=ratio, model=model, head=head, seed=seed, recipe=recipe,
        params=params, **given,
    )  # fmt: skip
    with ShareLine(f"{method} chooses", "quiet" if options.quiet else "auto") as line:
        found = choose(cell, store, options, line)
    return Selection(found.ids, found.scores, found.weights, method, chosen)


def find_label_issues(
    data: Any,
    *,
    model: str | Model | None = None,
    head: str | None = None,
    seed: int = 0,
    recipe: str | Mapping[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
    out: str | Path = "results/issues",
    **given: Any,
) -> pd.DataFrame:
    """Ranks labels by how little a network trained on them comes to believe them; see
    ``bench.runs.choosing.label_issues``.

    Args:
        data: As of ``select``; likewise the other arguments.
        model: As of ``run``.
        head: As of ``run``.
        seed: Of the run.
        recipe: As of ``run``.
        class_names: C names for the labels of data that have none.
        out: Results folder; a run that it holds is not repeated.
        given: As of ``run``.

    Returns:
        A row a sample, the most suspicious first: ``id`` (row of the data), ``given_label`` and
        ``predicted_label`` (class names), ``label_quality`` in 0..1 (low is suspicious),
        ``is_label_issue`` (the two labels differ), ``score`` (how the quality was computed).
    """
    cell, store, options, _ = _opened(data, out, method="random", ratio=0.5, model=model,
                                      head=head, seed=seed, recipe=recipe,
                                      class_names=class_names, **given)  # fmt: skip
    return label_issues(cell, store, options)


def _opened(
    data: Any, out: str | Path, class_names: Sequence[str] | None = None, **fields: Any
) -> tuple[Cell, Store, ExecutionOptions, Any]:
    """A cell whose training split is all of the data."""
    chosen: Any = data
    if not isinstance(data, (str, OwnData)):
        data = task(data, _beginning(data), class_names=class_names)
    elif class_names is not None:
        raise InputError("the data have class names", where="class_names",
                         accepted="with arrays or a Dataset")  # fmt: skip
    fields = {"noise": "clean", "reference_size": 0, **fields}
    cell, options = resolve_own(data, out, **fields)
    return cell, Store.open(Path(out)), options, chosen


def _beginning(data: Any) -> Any:
    pair = isinstance(data, (tuple, list)) and len(data) == 2
    if pair and (hasattr(data[0], "shape") or are_texts(data)):
        return tuple(part[:_UNREAD] for part in data)
    return TorchSubset(data, list(range(min(_UNREAD, len(data)))))
