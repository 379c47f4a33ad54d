"""Results from Python: recorded runs as data frames, and their boards."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunebench.api.frames import board_frame
from prunebench.bench.reports.boards import figure_files, gather, make_board, texts
from prunebench.bench.results.store import Store
from prunebench.bench.runs.export import export_csv
from prunebench.errors import InputError, nearest
from prunebench.leaderboard.board.model import Board as Tables
from prunebench.leaderboard.board.scored_with import scored_with
from prunebench.leaderboard.bundle import is_bundle
from prunebench.leaderboard.contributed import known_history
from prunebench.leaderboard.filters import named_value
from prunebench.leaderboard.headline import HEADLINES
from prunebench.leaderboard.protocol_file import ProtocolFile, read_protocol
from prunebench.record import Record, setting_name
from prunebench.untrusted import user_path

#: Height of a board in a notebook, in pixels.
_HEIGHT = 640
#: Columns by which the rows of ``Results.records`` are ordered.
_ORDER = ["dataset", "noise", "ratio", "method", "seed", "key"]


@dataclass(frozen=True)
class Run:
    """One recorded run.

    Attributes:
        record: What was run, how it ended, metrics and costs.
        folder: The results folder.
    """

    record: Record
    folder: Path

    @property
    def key(self) -> str:
        """Of the run."""
        return self.record.key

    @property
    def accuracy(self) -> float | None:
        """Share of the test split that is classified right at the end; None without one."""
        return self.record.metrics.get("test_accuracy")

    @property
    def epochs(self) -> pd.DataFrame:
        """A row per epoch: samples trained, learning rate, losses, noise among the kept."""
        return self._table("epochs")

    @property
    def scores(self) -> pd.DataFrame:
        """Columns ``id`` (row of the original training split) and ``score``."""
        return self._table("scores")

    @property
    def visits(self) -> pd.DataFrame:
        """Columns ``id`` and ``epochs``: how many epochs trained on each sample; ``outside`` (0 or
        1) where open-set noise put in images."""
        return self._table("visits")

    @property
    def predictions(self) -> pd.DataFrame:
        """Columns ``index`` (row of the original test split), ``predicted`` and ``name``."""
        return self._table("predictions")

    @property
    def kept(self) -> NDArray[np.int64]:
        """int64 [k], ids of the samples that a static method kept, ascending."""
        return np.sort(self._table("kept").iloc[:, 0].to_numpy(np.int64))

    @property
    def kept_weights(self) -> NDArray[np.float32] | None:
        """float32 [k], the weights of ``kept`` as the method gave them; None where it gave none."""
        table = self._table("kept")
        if "weight" not in table:
            return None
        return table.sort_values(table.columns[0])["weight"].to_numpy(np.float32)

    def _table(self, what: str) -> pd.DataFrame:
        """A table of the run.

        Raises:
            InputError: The run has none; the line says what it has.
        """
        return pd.read_csv(io.StringIO(export_csv(Store(self.folder), self.key, what)))

    def __repr__(self) -> str:
        accuracy = "" if self.accuracy is None else f", accuracy {self.accuracy:.4f}"
        return f"<Run {self.key} {self.record.status}{accuracy}>"


@dataclass(frozen=True)
class Results:
    """The runs of some results folders or bundles.

    Attributes:
        sources: Folders and bundles.
        all: The records in order of key.
        notes: What was found beside them (doubles, records that cannot be read).
    """

    sources: tuple[Path, ...]
    all: tuple[Record, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def records(self) -> pd.DataFrame:
        """One row a run; nested fields are columns such as ``metrics.test_accuracy``. ``noise`` is
        the setting as boards name it; ``imbalance`` and ``corrupt`` are there where some run has
        one of them, ``scored_with`` where another recipe's scoring run chose a subset."""
        parts = [
            name for name in ("imbalance", "corrupt") if any(r.spec.get(name) for r in self.all)
        ]
        frame = pd.DataFrame([_flat(record, parts) for record in self.all])
        return frame.sort_values(_ORDER, ignore_index=True) if len(frame) else frame

    def run(self, key: str) -> Run:
        """One of the runs.

        Raises:
            InputError: No run has the key, or only a bundle of records does.
        """
        for record in self.all:
            if record.key == key:
                for source in self.sources:
                    if not is_bundle(source) and (source / "records" / f"{key}.json").is_file():
                        return Run(record, source)
                raise InputError(
                    "comes from a bundle of records, which has no artifacts", where=key,
                    accepted="a results folder",
                )  # fmt: skip
        raise InputError(f"no run {key!r}", where="Results.run",
                         accepted=nearest(key, [record.key for record in self.all]))  # fmt: skip

    def epochs(self) -> pd.DataFrame:
        """The rows per epoch of all runs that have them, with the run's ``key``."""
        return self._joined(lambda run: run.epochs, "epochs.csv")

    def scores(self, key: str) -> pd.DataFrame:
        """As of ``Run.scores``."""
        return self.run(key).scores

    def _joined(self, table: Callable[[Run], pd.DataFrame], artifact: str) -> pd.DataFrame:
        parts = [
            table(self.run(record.key)).assign(key=record.key)
            for record in self.all
            if artifact in record.artifacts
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"key": []})

    def __len__(self) -> int:
        return len(self.all)

    def __repr__(self) -> str:
        return f"<Results of {len(self.all)} runs in {', '.join(map(str, self.sources))}>"


def _flat(record: Record, settings: Sequence[str]) -> dict[str, Any]:
    spec = record.spec
    row: dict[str, Any] = {
        "key": record.key,
        "status": record.status,
        "reason": record.reason,
        "dataset": record.dataset,
        "noise": setting_name(spec),
        **{name: named_value(record, name) for name in settings},
        "method": spec["method"]["name"],
        "label": record.info.get("label", spec["method"]["name"]),
        "ratio": spec["ratio"],
        "seed": spec["seed"],
        "budget": spec["budget"],
        "criterion": spec["criterion"]["name"],
        "recipe": spec["recipe"]["name"],
    }
    if scorer := scored_with(spec):
        row["scored_with"] = scorer
    parts: dict[str, Mapping[str, Any]] = {
        "param": spec["method"].get("params", {}), "metrics": record.metrics,
        "ledger": record.ledger, "timing": record.timing,
    }  # fmt: skip
    for name, values in parts.items():
        row |= {f"{name}.{field}": value for field, value in values.items()}
    return row


def load_results(*sources: str | Path) -> Results:
    """The runs of results folders and of bundles of records (``records.jsonl.gz``).

    Args:
        sources: One or more.

    Raises:
        InputError: None is given, or one is no such folder or file.
    """
    if not sources:
        raise InputError("no folder", where="load_results", accepted="one results folder or more")
    paths = tuple(user_path(source, "load_results") for source in sources)
    for path in paths:
        if not (is_bundle(path) or (path / "records").is_dir()):
            raise InputError("no results", where=str(path),
                             accepted="a results folder, or a bundle of records")  # fmt: skip
    notes: list[str] = []
    faults: list[InputError] = []
    records = gather(paths, notes, faults)
    return Results(paths, tuple(records), (*notes, *map(str, faults)))


@dataclass(frozen=True)
class Figure:
    """A drawn figure; a notebook shows it.

    Attributes:
        name: File name.
        svg: Its source.
    """

    name: str
    svg: str

    def save(self, path: str | Path) -> None:
        """Writes the SVG file."""
        Path(path).write_text(self.svg, encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Figure {self.name}>"


@dataclass(frozen=True)
class Board:
    """A leaderboard; a notebook shows its page.

    Attributes:
        tables: What was computed: tables, tests, summaries.
        sources: Folders that hold the artifacts of its runs, for figures.
    """

    tables: Tables
    sources: tuple[Path, ...] = ()
    _texts: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def _text(self, name: str) -> str:
        if not self._texts:
            self._texts.update(texts(self.tables))
        return self._texts[name]

    @property
    def markdown(self) -> str:
        """As ``prunebench leaderboard`` writes it."""
        return self._text("leaderboard.md")

    def to_frame(self) -> pd.DataFrame:
        """A row per row of a table and setting, under the column names of the CSV file: numbers in
        full precision, flags as booleans, ``seeds`` and ``keys`` as tuples, and ``metric``."""
        return board_frame(self.tables)

    def figure(self, kind: str) -> Figure:
        """The first figure of a kind, drawn with matplotlib.

        Args:
            kind: One of ``FIGURES``, or the beginning of a file's name.

        Raises:
            InputError: There is none; the line says which there are, or why it was left out.
        """
        folders = [source for source in self.sources if not is_bundle(source)]
        from prunebench.leaderboard.figures import FIGURES

        # Drawing all figures takes seconds: only those whose files can have this name.
        only = [name for name in FIGURES if name.startswith(kind) or kind.startswith(name)]
        files, left_out = figure_files(self.tables, folders, False, only or None, ("svg",))
        names = sorted(name.removeprefix("figures/") for name in files if name.endswith(".svg"))
        found = next((name for name in names if name.startswith(kind)), None)
        if found is None:
            why = next((line for line in left_out if kind in line), f"no figure {kind!r}")
            raise InputError(why, where="Board.figure", accepted=", ".join(names or FIGURES))
        return Figure(found, files[f"figures/{found}"].decode())

    def __repr__(self) -> str:
        return f"<Board of {self.tables.used} runs>"

    def _repr_html_(self) -> str:
        page = html.escape(self._text("leaderboard.html"), quote=True)
        return f'<iframe srcdoc="{page}" width="100%" height="{_HEIGHT}" frameborder="0"></iframe>'


def leaderboard(
    results: Results | str | Path | Sequence[str | Path],
    protocol: str | Path | ProtocolFile | None = None,
    metric: str | None = None,
) -> Board:
    """The board of recorded runs.

    Args:
        results: Of ``load_results`` or ``grid``, or folders.
        protocol: A protocol file (TOML) or what it holds; the default protocol where left out.
        metric: What the board is about in place of the protocol's: ``accuracy``, ``balanced``,
            ``worst-class`` or ``worst-group``.

    Raises:
        InputError: No runs, runs that do not fit into one table, or an unknown metric.
    """
    if isinstance(results, (str, Path)):
        results = load_results(results)
    elif not isinstance(results, Results):
        results = load_results(*results)
    chosen = read_protocol(Path(protocol)) if isinstance(protocol, (str, Path)) else protocol
    if metric is not None:
        if metric not in HEADLINES:
            raise InputError(f"unknown metric {metric!r}", where="leaderboard",
                             accepted=nearest(metric, HEADLINES))  # fmt: skip
        chosen = (chosen or ProtocolFile()).model_copy(update={"metric": metric})
    beside = [source.parent for source in results.sources if is_bundle(source)]
    tables = make_board(results.all, chosen, align_shown=True, history=known_history(beside))
    return Board(tables, results.sources)
