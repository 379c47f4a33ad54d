"""Evidence once: what one full-data run shows to every static method.

A recorder watches a run without touching it; the folder it leaves is read by all methods and
ratios of that (data set, noise, seed, recipe).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from prunebench.bench.inputs.strong import strong_batches
from prunebench.bench.results.manifest import Damaged, to_json, write_manifest
from prunebench.bench.runs.view_files import ViewFiles
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.epoch_steps import batch_numbers, end_rates
from prunebench.bench.train.setup import Callback, RunView
from prunebench.datasets.task import Task
from prunebench.errors import InputError
from prunebench.methods.base import EvidenceSpec, ReferenceView, Snapshot, StrongView
from prunebench.progress import stage
from prunebench.record import file_digest
from prunebench.rng import Streams

#: Signals of the tables, which cost nothing more, and those that need passes after each epoch.
TABLE_SIGNALS = frozenset({"p_target", "correct", "runner_up", "logit_margin", "divergence"})
LOSSES = ("loss", "reference_loss")
SIGNAL_NAMES = (*sorted(TABLE_SIGNALS), *LOSSES)


class Recorder(Callback):
    """Callback of a full-data run; a pure read in eval mode, with streams of its own.

    Rows of signals are kept until the run ends. Views, which are as wide as the network's output
    and features, go to files at the epoch that takes them.

    Args:
        need: What is recorded.
        files: Where views wait for the end of the run.

    Attributes:
        rows: Rows by signal, each [N], or [R] for ``reference_loss``; none of these where there
            is no reference set.
        views: Digest by array of every view so far.
        scoring: Samples that were passed through the network for them.

    Raises:
        InputError: A signal that no run has.
    """

    def __init__(self, need: EvidenceSpec, files: ViewFiles) -> None:
        unknown = need.signals - set(SIGNAL_NAMES)
        if unknown:
            raise InputError(
                f"unknown evidence signals {sorted(unknown)}", accepted=", ".join(SIGNAL_NAMES)
            )
        self.need, self.signals, self.files = need, need.signals & TABLE_SIGNALS, files
        self.rows: dict[str, list[Tensor]] = {name: [] for name in sorted(need.signals)}
        self.views: dict[str, str] = {}
        self.scoring = 0

    def epoch_end(self, run: RunView) -> None:
        """Takes a row of every signal, and views where they are due."""
        for name in sorted(self.signals):
            value = run.sample_tables.signal(name)
            self.rows[name].append((value > 0.5 if name == "correct" else value).cpu().clone())
        self._losses(run)
        if run.epoch in self.need.snapshots:
            self._unaugmented(run, f"snapshot-{run.epoch}", run.sample_ids)
        # Others may need the rest of this run where there is no such view.
        if run.epoch in self.need.strong and run.inputs.image:
            stream = run.stream("evidence-strong")
            logits, features = run.forward(
                run.inputs,
                lambda rows: strong_batches(run.inputs, rows, stream),
                run.sample_ids,
                True,
            )
            assert features is not None
            self._add(f"strong-{run.epoch}-confidence", logits.softmax(1).max(1).values)
            self._add(f"strong-{run.epoch}-features", features)
            self.scoring += len(run.sample_ids)
        reference = run.setup.task.reference
        if run.epoch in self.need.reference and reference is not None:
            sample_ids = reference.sample_ids.to(run.sample_ids.device)
            self._unaugmented(run, f"reference-{run.epoch}", sample_ids)

    def _losses(self, run: RunView) -> None:
        """Takes a row of the losses of the training samples and of the reference set."""
        reference = run.setup.task.reference
        if "loss" in self.rows:
            self._loss(run, "loss", run.sample_ids, run.labels)
        if "reference_loss" in self.rows and reference is not None:
            device = run.sample_ids.device
            sample_ids, labels = reference.sample_ids.to(device), reference.labels.to(device)
            self._loss(run, "reference_loss", sample_ids, labels)

    def _loss(self, run: RunView, name: str, sample_ids: Tensor, labels: Tensor) -> None:
        self.rows[name].append(unaugmented_losses(run, sample_ids, labels).cpu())
        self.scoring += len(sample_ids)

    def _unaugmented(self, run: RunView, view: str, sample_ids: Tensor) -> None:
        """Logits and features of samples in eval mode."""
        logits, features = run.forward(
            run.inputs, lambda ids: run.inputs.unaugmented_batches(ids).batch, sample_ids, True
        )
        assert features is not None
        self._add(f"{view}-logits", logits)
        self._add(f"{view}-features", features)
        self.scoring += len(sample_ids)

    def _add(self, name: str, values: Tensor) -> None:
        self.views[name] = self.files.add(name, values)

    def state_dict(self) -> dict[str, Tensor]:
        """Rows so far, and the digests of the views."""
        state = {f"row.{n}": torch.stack(rows) for n, rows in self.rows.items() if rows}
        for name, digest in self.views.items():
            state[f"file.{name}"] = torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8)
        return state | {"scoring": torch.tensor(self.scoring)}

    def load_state_dict(self, state: Mapping[str, Tensor], epoch: int) -> None:
        """Restores them. A name becomes that of a file, and a run that was begun for another need
        lacks some of the rows, so that they must be those of this need.

        Raises:
            DamagedCheckpoint: The file of a view is missing or was changed.
            FolderError: A view of an earlier version's checkpoint cannot be written to a file.
        """
        rows = {f"row.{name}" for name in self.rows if epoch}
        if "row.reference_loss" not in state:  # there is no such set
            rows.discard("row.reference_loss")
        views = {
            (f"{kind}-{number}", part)
            for kind, numbers, first in (
                ("snapshot", self.need.snapshots, "logits"),
                ("strong", self.need.strong, "confidence"),
                ("reference", self.need.reference, "logits"),
            )
            for number in numbers
            if number <= epoch
            for part in (first, "features")
        }
        for kind in ("strong-", "reference-"):  # the data may have no such view, no such set
            if not any(f".{kind}" in name for name in state):
                views = {(view, part) for view, part in views if not view.startswith(kind)}
        # Earlier versions kept the views themselves.
        inside = {f"view.{view}.{part}": f"{view}-{part}" for view, part in views}
        beside = {f"file.{name}": name for name in inside.values()}
        found = inside if any(name in state for name in inside) else beside
        if state.keys() != rows | found.keys() | {"scoring"}:
            raise ValueError("evidence that is not what this run takes")
        self.scoring = int(state["scoring"])
        for name in rows:
            if len(state[name]) != epoch:
                raise ValueError("evidence of another number of epochs")
            self.rows[name.removeprefix("row.")] = list(state[name])
        for entry, name in found.items():
            if found is inside:
                self._add(name, state[entry])
            else:
                self.views[name] = bytes(state[entry].tolist()).hex()
                self.files.check(name, self.views[name])

    def write(self, folder: Path, run: RunView, entries: Mapping[str, Any]) -> None:
        """Writes arrays and a manifest with their digests into an empty folder.

        Raises:
            DamagedCheckpoint: The file of a view is missing or was changed.
        """
        arrays: dict[str, np.ndarray[Any, Any]] = {
            "ids": run.setup.task.raw.train_ids(run.sample_ids.cpu()).numpy()
        }
        for name, rows in self.rows.items():
            if not rows:
                continue  # there is no reference set
            value = torch.stack(rows).numpy()
            arrays[name] = np.packbits(value, axis=1) if name == "correct" else value
        files: dict[str, str] = {}
        for name, array in arrays.items():
            path = folder / f"{name}.npy"
            np.save(path, array, allow_pickle=False)
            files[path.name] = file_digest(path)
        for name, digest in self.views.items():
            self.files.copy(name, digest, folder)
            files[f"{name}.npy"] = digest
        manifest = {
            **entries,
            "needs": to_json(self.need),
            "epochs": run.epoch,
            "trained_per_epoch": (run.ledger.trained + run.ledger.strong) // run.epoch,
            "scoring": self.scoring,
            "files": files,
        }
        write_manifest(folder, manifest)


def unaugmented_losses(run: RunView, sample_ids: Tensor, labels: Tensor) -> Tensor:
    """float32 [n]: plain cross-entropy of samples in eval mode on the unaugmented view.

    Args:
        run: The run.
        sample_ids: int64 [n].
        labels: int64 [n].
    """
    logits, _ = run.forward(
        run.inputs, lambda ids: run.inputs.unaugmented_batches(ids).batch, sample_ids
    )
    return F.cross_entropy(logits.float(), labels, reduction="none")


class RecordedEvidence:
    """Evidence as a static method reads it; see ``methods.base.Evidence``.

    Args:
        task: The task whose training split the rows belong to.
        warmup: Tw of the recipe.
        folders: One verified folder per repeat.
        ssl: Self-supervised features of the original training split, or None.
        oracle: Whether clean labels may be read.
        recipe: Of the scoring run; its schedule gives the learning rates.
        until: Epochs of signals that the method declared, and is charged for; None for all.
        streams: Of the scoring run; they give the order of its samples.
    """

    def __init__(
        self,
        task: Task,
        epochs: int,
        warmup: int,
        folders: list[Path],
        ssl: Tensor | None = None,
        oracle: bool = False,
        recipe: Recipe | None = None,
        until: int | None = None,
        streams: Streams | None = None,
    ) -> None:
        self._task, self.warmup, self.epochs = task, warmup, epochs
        self._recipe, self._until, self._streams = recipe, until, streams
        self._folders, self._ssl, self._oracle = folders, ssl, oracle
        self.labels = task.train.labels
        self.ids = task.raw.train_ids(task.train.sample_ids)
        self.original_size = task.raw.original_size
        self.num_classes = task.raw.num_classes
        for folder in folders:
            found = self._array(folder, "ids")
            # Earlier versions wrote rows of the limited split; both name the same samples here.
            if not any(np.array_equal(found, ids) for ids in (self.ids, task.train.sample_ids)):
                raise Damaged(f"{folder}: recorded for another training split")

    def _array(self, folder: Path, name: str) -> np.ndarray[Any, Any]:
        path = folder / f"{name}.npy"
        if not path.is_file():
            raise KeyError(f"evidence {name!r} was not declared in needs()")
        with stage("reading"):
            array: np.ndarray[Any, Any] = np.load(path, allow_pickle=False)
        return array

    def _tensor(self, name: str, repeat: int = 0) -> Tensor:
        return torch.from_numpy(self._array(self._folders[repeat], name))

    def _rows(self, name: str) -> Tensor:
        """A signal in the epochs that were declared."""
        return self._tensor(name)[: self._until]

    @property
    def clean_labels(self) -> Tensor:
        """int64 [N], oracles only."""
        if not self._oracle:
            raise PermissionError("clean labels are for oracles; declare `oracle = True`")
        return self._task.clean_labels

    @property
    def p_target(self) -> Tensor:
        """float32 [E, N]."""
        return self._rows("p_target")

    @property
    def correct(self) -> Tensor:
        """bool [E, N]."""
        packed = self._array(self._folders[0], "correct")[: self._until]
        bits = np.unpackbits(packed, axis=1, count=len(self.ids))
        return torch.from_numpy(bits.astype(bool))

    @property
    def runner_up(self) -> Tensor:
        """float32 [E, N]."""
        return self._rows("runner_up")

    @property
    def logit_margin(self) -> Tensor:
        """float32 [E, N]."""
        return self._rows("logit_margin")

    @property
    def divergence(self) -> Tensor:
        """float32 [E, N]; the first row is NaN."""
        return self._rows("divergence")

    @property
    def loss(self) -> Tensor:
        """float32 [E, N]."""
        return self._rows("loss")

    @property
    def reference_loss(self) -> Tensor:
        """float32 [E, R]."""
        return self._rows("reference_loss")

    @property
    def reference_labels(self) -> Tensor:
        """int64 [R]."""
        if self._task.reference is None:
            raise KeyError("no clean reference set was held out")
        return self._task.reference.labels

    @property
    def learning_rates(self) -> Tensor:
        """float64 [E]; they follow from the recipe, so that nothing is recorded for them."""
        if self._recipe is None:
            raise KeyError("no recipe of a scoring run is known")
        rates = end_rates(self._recipe, len(self._task.train))
        return torch.tensor(rates, dtype=torch.float64)

    def batches(self, epoch: int) -> Tensor:
        """int64 [N]; as the learning rates, it is not recorded but follows from the run."""
        if self._recipe is None or self._streams is None:
            raise KeyError("no recipe of a scoring run is known")
        if not 0 <= epoch < self.epochs:
            raise KeyError(f"epoch {epoch} of a scoring run of {self.epochs}")
        order = self._streams.get("order", epoch)
        return batch_numbers(self._recipe, self._task.train.sample_ids, order)

    @property
    def ssl_features(self) -> Tensor:
        """float32 [N, D]."""
        if self._ssl is None:
            raise KeyError("ssl features were not declared in needs()")
        return self._ssl[self._task.train.sample_ids]

    def reference(self, epoch: int) -> ReferenceView:
        """Eval-mode outputs on the clean reference set."""
        name, split = f"reference-{epoch}", self._task.reference
        if split is None:
            raise KeyError("no clean reference set was held out")
        outputs = self._tensor(f"{name}-logits"), self._tensor(f"{name}-features")
        return ReferenceView(*outputs, split.labels)

    def snapshot(self, epoch: int, repeat: int = 0) -> Snapshot:
        """Eval-mode outputs on the unaugmented view."""
        name = f"snapshot-{epoch}"
        return Snapshot(
            self._tensor(f"{name}-logits", repeat), self._tensor(f"{name}-features", repeat)
        )

    def strong(self, epoch: int) -> StrongView:
        """Eval-mode outputs on one strong view."""
        name = f"strong-{epoch}"
        return StrongView(self._tensor(f"{name}-confidence"), self._tensor(f"{name}-features"))
