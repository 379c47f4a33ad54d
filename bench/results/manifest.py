"""The folder of a run's evidence: what it holds, and whether it is whole.

``manifest.json`` names what was recorded and the digest of every file, its own included.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prunebench.datasets.task import Task
from prunebench.files import read_at_most
from prunebench.methods.base import EvidenceSpec
from prunebench.record import content_key, file_digest

MANIFEST = "manifest.json"
_LONGEST = 1 << 24
#: Values of an array that are looked at together.
_AT_ONCE = 1 << 20
#: By so much a sum of float32 may lie above 1.
_ROUNDING = 1e-5
_UNSEALED: tuple[set[str], ...] = (
    {"key", "spec", "needs", "epochs", "trained_per_epoch", "scoring", "files"},
    {"key", "needs", "trained", "files"},
)


class Damaged(Exception):
    """An evidence folder that is torn or was changed; it is quarantined and redone."""


def merge(needs: Iterable[EvidenceSpec]) -> EvidenceSpec:
    """The union of what several methods need from one run."""
    signals: set[str] = set()
    snapshots: set[int] = set()
    strong: set[int] = set()
    reference: set[int] = set()
    repeats, ssl = 1, False
    for need in needs:
        signals |= need.signals
        snapshots |= set(need.snapshots)
        strong |= set(need.strong)
        reference |= set(need.reference)
        repeats, ssl = max(repeats, need.repeats), ssl or need.ssl
    return EvidenceSpec(
        frozenset(signals), tuple(sorted(snapshots)), tuple(sorted(strong)), repeats, ssl,
        reference=tuple(sorted(reference)),
    )  # fmt: skip


def to_json(need: EvidenceSpec) -> dict[str, Any]:
    """Plain values for job payloads and manifests; what is asked for seldom is there only then."""
    return {
        "signals": sorted(need.signals),
        "snapshots": list(need.snapshots),
        "strong": list(need.strong),
        **({"reference": list(need.reference)} if need.reference else {}),
    }


def from_json(value: Mapping[str, Any]) -> EvidenceSpec:
    """Inverse of ``to_json``.

    Raises:
        KeyError, TypeError: It is no such value.
    """
    reference = value.get("reference", [])
    epochs = (*value["snapshots"], *value["strong"], *reference)
    if not all(type(n) is int for n in epochs) or not all(map(str.isidentifier, value["signals"])):
        raise TypeError("needs are names of signals and numbers of epochs")
    return EvidenceSpec(
        frozenset(value["signals"]), tuple(value["snapshots"]), tuple(value["strong"]),
        reference=tuple(reference),
    )  # fmt: skip


def covers(have: EvidenceSpec, need: EvidenceSpec) -> bool:
    """Whether recorded evidence serves a need."""
    return (
        need.signals <= have.signals
        and set(need.snapshots) <= set(have.snapshots)
        and set(need.strong) <= set(have.strong)
        and set(need.reference) <= set(have.reference)
    )


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
    n, held_out = len(task.train), 0 if task.reference is None else len(task.reference)
    shapes: dict[str, tuple[str, tuple[int | None, ...]]] = {"ids": ("int64", (n,))}
    need = from_json(manifest["needs"])
    signals = need.signals - (set() if held_out else {"reference_loss"})
    for name in signals:
        wide = (n + 7) // 8 if name == "correct" else n
        wide = held_out if name == "reference_loss" else wide
        shapes[name] = ("uint8" if name == "correct" else "float32", (None, wide))
    for epoch in need.snapshots:
        shapes[f"snapshot-{epoch}-logits"] = ("float32", (n, task.raw.num_classes))
        shapes[f"snapshot-{epoch}-features"] = ("float32", (n, None))
    for epoch in need.strong if task.raw.images else ():
        shapes[f"strong-{epoch}-confidence"] = ("float32", (n,))
        shapes[f"strong-{epoch}-features"] = ("float32", (n, None))
    for epoch in need.reference if held_out else ():
        shapes[f"reference-{epoch}-logits"] = ("float32", (held_out, task.raw.num_classes))
        shapes[f"reference-{epoch}-features"] = ("float32", (held_out, None))
    found = {name: read_array(folder / f"{name}.npy", *want) for name, want in shapes.items()}
    for name in signals:
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
            share = name in ("p_target", "runner_up") or name.endswith("-confidence")
            check_numbers(folder / f"{name}.npy", array, share, name in signals)
    # A sample has no probability before the first epoch that visits it, and no divergence before
    # the second.
    for name in signals - {"correct", "divergence"}:
        if epochs and not np.isfinite(found[name][epochs - 1]).all():
            raise Damaged(f"{folder / name}.npy: values that are not finite")


def check_numbers(
    path: Path, array: np.ndarray[Any, Any], share: bool = False, by_epoch: bool = False
) -> None:
    """Checks that numbers are finite, and shares within 0 and 1; they may lack in a table by epoch.

    Raises:
        Damaged: Some are not.
    """
    step = max(1, _AT_ONCE // max(1, array[:1].size))
    for start in range(0, len(array), step):
        part = array[start : start + step]
        fits = (part >= 0) & (part <= 1 + _ROUNDING) if share else np.isfinite(part)
        if by_epoch:
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
