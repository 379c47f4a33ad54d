"""Evidence once: what one full-data run shows to every static method.

A recorder watches a run without touching it; the folder it leaves is read by all methods and
ratios of that (data set, noise, seed, recipe).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunebench.bench.inputs.strong import strong_batches
from prunebench.bench.train.trainer import Trainer
from prunebench.datasets.task import Task
from prunebench.errors import InputError
from prunebench.files import read_at_most
from prunebench.methods.base import EvidenceSpec, Snapshot, StrongView
from prunebench.record import content_key, file_digest

MANIFEST = "manifest.json"
_LONGEST = 1 << 24
#: Values of an array that are looked at together.
_AT_ONCE = 1 << 20
#: By so much a sum of float32 may lie above 1.
_ROUNDING = 1e-5
SIGNAL_NAMES = ("p_target", "correct")
_UNSEALED: tuple[set[str], ...] = (
    {"key", "spec", "needs", "epochs", "trained_per_epoch", "scoring", "files"},
    {"key", "needs", "trained", "files"},
)


def merge(needs: Iterable[EvidenceSpec]) -> EvidenceSpec:
    """The union of what several methods need from one run."""
    signals: set[str] = set()
    snapshots: set[int] = set()
    strong: set[int] = set()
    repeats, ssl = 1, False
    for need in needs:
        signals |= need.signals
        snapshots |= set(need.snapshots)
        strong |= set(need.strong)
        repeats, ssl = max(repeats, need.repeats), ssl or need.ssl
    return EvidenceSpec(
        frozenset(signals), tuple(sorted(snapshots)), tuple(sorted(strong)), repeats, ssl
    )


def to_json(need: EvidenceSpec) -> dict[str, Any]:
    """Plain values for job payloads and manifests."""
    return {
        "signals": sorted(need.signals),
        "snapshots": list(need.snapshots),
        "strong": list(need.strong),
    }


def from_json(value: Mapping[str, Any]) -> EvidenceSpec:
    """Inverse of ``to_json``.

    Raises:
        KeyError, TypeError: It is no such value.
    """
    epochs = (*value["snapshots"], *value["strong"])
    if not all(type(n) is int for n in epochs) or not all(map(str.isidentifier, value["signals"])):
        raise TypeError("needs are names of signals and numbers of epochs")
    return EvidenceSpec(
        frozenset(value["signals"]), tuple(value["snapshots"]), tuple(value["strong"])
    )


def covers(have: EvidenceSpec, need: EvidenceSpec) -> bool:
    """Whether recorded evidence serves a need."""
    return (
        need.signals <= have.signals
        and set(need.snapshots) <= set(have.snapshots)
        and set(need.strong) <= set(have.strong)
    )


class Recorder:
    """Observer of a full-data run; a pure read in eval mode, with streams of its own."""

    def __init__(self, need: EvidenceSpec) -> None:
        unknown = need.signals - set(SIGNAL_NAMES)
        if unknown:
            raise InputError(
                f"unknown evidence signals {sorted(unknown)}", accepted=", ".join(SIGNAL_NAMES)
            )
        self.need, self.signals = need, need.signals
        self.rows: dict[str, list[Tensor]] = {name: [] for name in sorted(need.signals)}
        self.views: dict[str, dict[str, Tensor]] = {}
        self.scoring = 0

    def epoch_end(self, trainer: Trainer) -> None:
        """Takes a row of every signal, and snapshots where they are due."""
        for name, rows in self.rows.items():
            value = trainer.tables.signal(name)
            rows.append((value > 0.5 if name == "correct" else value).cpu().clone())
        if trainer.epoch in self.need.snapshots:
            logits, features = trainer.forward(
                trainer.inputs,
                lambda ids: trainer.inputs.unaugmented_batches(ids).batch,
                trainer.sample_ids,
                True,
            )
            assert features is not None
            self.views[f"snapshot-{trainer.epoch}"] = {
                "logits": logits.cpu(),
                "features": features.cpu(),
            }
            self.scoring += len(trainer.sample_ids)
        if trainer.epoch in self.need.strong:
            stream = trainer.stream("evidence-strong")
            logits, features = trainer.forward(
                trainer.inputs,
                lambda rows: strong_batches(trainer.inputs, rows, stream),
                trainer.sample_ids,
                True,
            )
            assert features is not None
            self.views[f"strong-{trainer.epoch}"] = {
                "confidence": logits.softmax(1).max(1).values.cpu(),
                "features": features.cpu(),
            }
            self.scoring += len(trainer.sample_ids)

    def state_dict(self) -> dict[str, Tensor]:
        """Rows and views so far."""
        state = {f"row.{n}": torch.stack(rows) for n, rows in self.rows.items() if rows}
        for view, parts in self.views.items():
            state |= {f"view.{view}.{part}": value for part, value in parts.items()}
        return state | {"scoring": torch.tensor(self.scoring)}

    def load_state_dict(self, state: Mapping[str, Tensor], epoch: int) -> None:
        """Restores them. A name becomes that of a file, and a run that was begun for another need
        lacks some of the rows, so that they must be those of this need."""
        rows = {f"row.{name}" for name in self.rows if epoch}
        views = {
            f"view.{kind}-{number}.{part}"
            for kind, numbers, first in (
                ("snapshot", self.need.snapshots, "logits"),
                ("strong", self.need.strong, "confidence"),
            )
            for number in numbers
            if number <= epoch
            for part in (first, "features")
        }
        if state.keys() != rows | views | {"scoring"}:
            raise ValueError("evidence that is not what this run takes")
        self.scoring = int(state["scoring"])
        for name in rows:
            if len(state[name]) != epoch:
                raise ValueError("evidence of another number of epochs")
            self.rows[name.removeprefix("row.")] = list(state[name])
        for name in views:
            view, _, part = name.removeprefix("view.").rpartition(".")
            self.views.setdefault(view, {})[part] = state[name]

    def write(self, folder: Path, trainer: Trainer, facts: Mapping[str, Any]) -> None:
        """Writes arrays and a manifest with their digests into an empty folder."""
        arrays: dict[str, np.ndarray[Any, Any]] = {
            "ids": trainer.setup.task.raw.train_ids(trainer.sample_ids.cpu()).numpy()
        }
        for name, rows in self.rows.items():
            value = torch.stack(rows).numpy()
            arrays[name] = np.packbits(value, axis=1) if name == "correct" else value
        for view, parts in self.views.items():
            arrays |= {f"{view}-{part}": value.numpy() for part, value in parts.items()}
        files: dict[str, str] = {}
        for name, array in arrays.items():
            path = folder / f"{name}.npy"
            np.save(path, array, allow_pickle=False)
            files[path.name] = file_digest(path)
        manifest = {
            **facts,
            "needs": to_json(self.need),
            "epochs": trainer.epoch,
            "trained_per_epoch": (trainer.ledger.trained + trainer.ledger.strong) // trainer.epoch,
            "scoring": self.scoring,
            "files": files,
        }
        write_manifest(folder, manifest)


class Damaged(Exception):
    """An evidence folder that is torn or was changed; it is quarantined and redone."""


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes ``manifest.json`` with a digest of itself."""
    sealed = {**manifest, "digest": content_key(dict(manifest))}
    (folder / MANIFEST).write_text(json.dumps(sealed, sort_keys=True, indent=1))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of an evidence folder, or None where there is none.

    Raises:
        Damaged: It cannot be read, was changed, or is that of another run.
    """
    try:
        manifest = json.loads(read_at_most(folder / MANIFEST, _LONGEST))
        digest = manifest.pop("digest", None)
        from_json(manifest["needs"])
        assert isinstance(manifest["files"], dict)
        if manifest["key"] != folder.name:
            raise Damaged(f"{folder}: belongs to {manifest['key']}")
        # Manifests of earlier versions have no digest, and these entries.
        if digest != content_key(manifest) and (digest or manifest.keys() not in _UNSEALED):
            raise Damaged(f"{folder}: the manifest was changed since it was written")
    except FileNotFoundError:
        if os.path.lexists(folder):
            raise Damaged(f"{folder}: no manifest") from None
        return None
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, OSError,
            RecursionError) as error:  # fmt: skip
        raise Damaged(f"{folder}: unreadable manifest ({error})") from None
    return dict(manifest)


def verify(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Checks every file of a folder against its digest.

    Raises:
        Damaged: A file is missing or differs.
    """
    for name, digest in manifest["files"].items():
        path = folder / name
        try:
            # A device or a fifo would never end or never begin.
            whole = path.name == name and path.is_file() and file_digest(path) == digest
        except (OSError, ValueError):
            whole = False
        if not whole:
            raise Damaged(f"{path}: missing or changed since it was recorded")


def check_content(folder: Path, manifest: Mapping[str, Any], task: Task, epochs: int) -> None:
    """Checks that the arrays of a folder have the types, shapes and kinds of numbers that their
    readers count on; headers first.

    Args:
        folder: The folder.
        manifest: Its manifest.
        task: What it must have been recorded on.
        epochs: How many epochs of signals are needed.

    Raises:
        Damaged: One has not, or the ids are those of another training split; the file is named.
    """
    n = len(task.train)
    shapes: dict[str, tuple[str, tuple[int | None, ...]]] = {"ids": ("int64", (n,))}
    need = from_json(manifest["needs"])
    for name in need.signals:
        wide = (n + 7) // 8 if name == "correct" else n
        shapes[name] = ("uint8" if name == "correct" else "float32", (None, wide))
    for epoch in need.snapshots:
        shapes[f"snapshot-{epoch}-logits"] = ("float32", (n, task.raw.num_classes))
        shapes[f"snapshot-{epoch}-features"] = ("float32", (n, None))
    for epoch in need.strong:
        shapes[f"strong-{epoch}-confidence"] = ("float32", (n,))
        shapes[f"strong-{epoch}-features"] = ("float32", (n, None))
    found = {name: read_array(folder / f"{name}.npy", *want) for name, want in shapes.items()}
    for name in need.signals:
        if len(found[name]) != manifest.get("epochs") or len(found[name]) < epochs:
            raise Damaged(f"{folder / name}.npy: {len(found[name])} epochs, {epochs} are needed")
    # Earlier versions wrote rows of the limited split; both name the same samples here.
    mine = (task.raw.train_ids(task.train.sample_ids), task.train.sample_ids)
    if not any(np.array_equal(found["ids"], ids) for ids in mine):
        raise Damaged(f"{folder / 'ids.npy'}: recorded for another training split")
    if type(manifest.get("trained_per_epoch")) is not int or manifest["trained_per_epoch"] < 0:
        raise Damaged(f"{folder / MANIFEST}: no number of samples trained")
    for name, array in found.items():
        if array.dtype == np.float32:
            share = name == "p_target" or name.endswith("-confidence")
            check_numbers(folder / f"{name}.npy", array, share)
    # A sample has no probability before the first epoch that visits it.
    if (
        "p_target" in need.signals
        and epochs
        and not np.isfinite(found["p_target"][epochs - 1]).all()
    ):
        raise Damaged(f"{folder / 'p_target.npy'}: values that are not finite")


def check_numbers(path: Path, array: np.ndarray[Any, Any], share: bool = False) -> None:
    """Checks that numbers are finite, or shares within 0 and 1, which may lack in a table by epoch.

    Raises:
        Damaged: Some are not.
    """
    step = max(1, _AT_ONCE // max(1, array[:1].size))
    for start in range(0, len(array), step):
        part = array[start : start + step]
        fits = (part >= 0) & (part <= 1 + _ROUNDING) if share else np.isfinite(part)
        if share and part.ndim == 2:
            fits |= np.isnan(part)
        if not fits.all():
            raise Damaged(f"{path}: values that are {'no shares' if share else 'not finite'}")


def read_array(path: Path, kind: str, shape: tuple[int | None, ...]) -> np.ndarray[Any, Any]:
    """An array of a file, mapped into memory; nothing of it is read yet.

    Args:
        path: The file.
        kind: Its type.
        shape: Its shape; None stands for any length from 1.

    Raises:
        Damaged: It is no such array; the file is named.
    """
    try:
        array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        fits = len(array.shape) == len(shape) and all(
            size >= 1 if want is None else size == want
            for size, want in zip(array.shape, shape, strict=True)
        )
        kinds = str(array.dtype)
    except Exception as error:  # damaged headers raise half a dozen types
        raise Damaged(f"{path}: no readable array ({type(error).__name__})") from None
    if kinds != kind or not fits:
        wanted = " x ".join("?" if size is None else str(size) for size in shape)
        raise Damaged(f"{path}: {kinds} of shape {array.shape}, where {kind} {wanted} belongs")
    return array


class RecordedEvidence:
    """Evidence as a static method reads it; see ``methods.base.Evidence``.

    Args:
        task: The task whose training split the rows belong to.
        warmup: Tw of the recipe.
        folders: One verified folder per repeat.
        ssl: Self-supervised features of the original training split, or None.
        oracle: Whether clean labels may be read.
    """

    def __init__(
        self,
        task: Task,
        epochs: int,
        warmup: int,
        folders: list[Path],
        ssl: Tensor | None = None,
        oracle: bool = False,
    ) -> None:
        self._task, self.warmup, self.epochs = task, warmup, epochs
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
        array: np.ndarray[Any, Any] = np.load(path, allow_pickle=False)
        return array

    def _tensor(self, name: str, repeat: int = 0) -> Tensor:
        return torch.from_numpy(self._array(self._folders[repeat], name))

    @property
    def clean_labels(self) -> Tensor:
        """int64 [N], oracles only."""
        if not self._oracle:
            raise PermissionError("clean labels are for oracles; declare `oracle = True`")
        return self._task.clean_labels

    @property
    def p_target(self) -> Tensor:
        """float32 [E, N]."""
        return self._tensor("p_target")

    @property
    def correct(self) -> Tensor:
        """bool [E, N]."""
        packed = self._array(self._folders[0], "correct")
        bits = np.unpackbits(packed, axis=1, count=len(self.ids))
        return torch.from_numpy(bits.astype(bool))

    @property
    def ssl_features(self) -> Tensor:
        """float32 [N, D]."""
        if self._ssl is None:
            raise KeyError("ssl features were not declared in needs()")
        return self._ssl[self._task.train.sample_ids]

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
