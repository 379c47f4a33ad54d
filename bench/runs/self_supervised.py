"""Self-supervised features of a data set: found, or an encoder is trained once and shared by every
noise, ratio and seed; where the setting changes the training images, by the runs of its split."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunebench.bench.results.atomic import folder_errors
from prunebench.bench.results.claims import Busy, Claim, Claims
from prunebench.bench.results.environment import device_class, tf32_operations
from prunebench.bench.results.manifest import (
    Damaged,
    check_numbers,
    read_array,
    read_manifest,
    verify,
    write_manifest,
)
from prunebench.bench.results.store import Store
from prunebench.bench.runs import checkpoint_file
from prunebench.bench.runs.checkpoint_file import (
    Content,
    DamagedCheckpoint,
    load_optimizer,
    optimizer_parts,
)
from prunebench.bench.runs.failure import out_of_memory
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train import stopping
from prunebench.bench.train.generators import generator_states
from prunebench.bench.train.self_supervised import Encoder
from prunebench.bench.train.step import StepGenerator
from prunebench.datasets.task import Task
from prunebench.errors import FolderError, InputError, SkipCell, error_line
from prunebench.record import OPENSET, content_key, file_digest
from prunebench.rng import Streams

VERSION = 1
_NOTE = "another device, precision or form of the step gives features that differ a little"
_LONGEST = 500


@dataclass(frozen=True)
class Features:
    """Features of a data set.

    Attributes:
        rows: float32 [N_original, D].
        trained: Samples trained for them.
        made: How, where it was not in the form that a CPU has by default.
    """

    rows: Tensor
    trained: int
    made: Mapping[str, str] = field(default_factory=dict)


def encoder_key(spec: RunSpec) -> str:
    """Key of a data set's encoder: content, architecture and schedule, nothing else; see
    ``needs_own_encoder`` for the settings where the training split is in it too."""
    recipe = spec.evidence_recipe
    return content_key(
        {
            "self_supervised": VERSION,
            "dataset": spec.dataset.model_dump(mode="json"),
            "model": recipe.model,
            "model_params": recipe.model_params,
            "epochs": recipe.epochs,
            "augment": recipe.augment,
            **({} if recipe.normalise == "dataset" else {"normalise": recipe.normalise}),
            **({"compat": recipe.compat} if recipe.compat else {}),
            **(_split(spec) if needs_own_encoder(spec) else {}),
        }
    )


def needs_own_encoder(spec: RunSpec) -> bool:
    """Whether training images are dropped, corrupted or from outside. The encoder is then trained
    on the training split alone, and otherwise on the images of the whole original split."""
    return bool(spec.imbalance or spec.corrupt) or spec.noise.rule == OPENSET


def _split(spec: RunSpec) -> dict[str, Any]:
    """What decides the training split and its images."""
    outside = spec.noise.rule == OPENSET
    names = ("corrupt", "imbalance", "reference", "validation", "seed", *["noise"] * outside)
    return {"streams": spec.setting, **{name: spec.content.get(name) for name in names}}


def ssl_features(
    spec: RunSpec,
    store: Store,
    task: Task,
    device: torch.device,
    options: ExecutionOptions = ExecutionOptions(),
    report: Callable[[int, int], None] = lambda trained, total: None,
) -> StepGenerator[Features]:
    """Finds or trains the features of a data set, giving way after every step.

    Args:
        spec: The run that needs them: its data set, and the recipe of the encoder.
        store: The results folder.
        task: The data.
        device: Where the encoder is trained.
        options: How.
        report: Takes the samples trained so far, and how many there are to be.

    Raises:
        Busy: Another process, or another run of this one, is training the encoder.
        SkipCell: The data are no images.
        Stopped: This process was asked to end; the training is saved.
    """
    if not task.raw.images:
        raise SkipCell("self-supervised features need images")
    key = encoder_key(spec)
    found = _find(store, key, len(task.raw.train_x))
    if found is not None:
        return found
    with folder_errors(store.claims):
        claim = Claims(store.claims).acquire(key)
    if claim is None:
        raise Busy(f"the self-supervised encoder {key} is being trained elsewhere")
    with claim:
        found = _find(store, key, len(task.raw.train_x))
        if found is not None:
            return found
        run = _EncoderRun(key, spec, store, task, device, options, claim, report)
        return (yield from run.run())


class _EncoderRun:
    """The training of an encoder under its claim; arguments as of ``ssl_features``."""

    def __init__(
        self,
        key: str,
        spec: RunSpec,
        store: Store,
        task: Task,
        device: torch.device,
        options: ExecutionOptions,
        claim: Claim,
        report: Callable[[int, int], None],
    ) -> None:
        self.key, self.spec, self.store, self.task = key, spec, store, task
        self.device, self.options, self.claim, self.report = device, options, claim, report
        # What was begun on a card does not go on in the precision of a CPU, nor the reverse.
        self.name = f"{key}+{device.type}"
        self.folder = store.checkpoint_path(key)
        self.resumed = False

    def run(self) -> StepGenerator[Features]:
        """Trains and stores; what fails after it went on from a checkpoint is trained afresh."""
        try:
            return (yield from self._train())
        except (Busy, FolderError, InputError, SkipCell):
            raise
        except Exception as error:
            if not self.resumed or out_of_memory(error):
                raise
            reason = f"did not go on from its checkpoint ({error_line(error)})"
        self.store.set_aside(self.folder, reason)
        return (yield from self._train())

    def _train(self) -> StepGenerator[Features]:
        encoder = self._begin()
        try:
            with stopping.deferred():
                yield from self._steps(encoder)
                rows = yield from encoder.embed()
                if self.resumed and not bool(rows.isfinite().all()):
                    raise ValueError("features that are not finite")
                return self._publish(rows, encoder)
        finally:
            encoder.close()

    def _begin(self) -> Encoder:
        """An encoder at its last checkpoint, or at its start."""
        encoder = self._new()
        try:
            self.resumed = checkpoint_file.restore(
                self.folder, self.name, lambda content: _load(encoder, content)
            )
        except DamagedCheckpoint as error:
            self.store.set_aside(self.folder, str(error))
            encoder.close()
            self.resumed, encoder = False, self._new()
        return encoder

    def _new(self) -> Encoder:
        streams = Streams(0, self.spec.data_salt, "self-supervised")
        return Encoder(
            self.task.raw, self.spec.evidence_recipe, streams, self.device, self.options,
            sample_ids=self.task.train.sample_ids if needs_own_encoder(self.spec) else None,
        )  # fmt: skip

    def _steps(self, encoder: Encoder) -> StepGenerator[None]:
        """Trains to the end, with checkpoints; a stop that is asked for saves."""
        saved = time.monotonic()
        for wait in encoder.steps():
            asked = stopping.asked()
            due = encoder.epoch_over and time.monotonic() - saved >= self.options.checkpoint_s
            if asked or due:
                entries = {"step": encoder.step}
                data = checkpoint_file.encode(self.name, _parts(encoder), entries)
                checkpoint_file.write(self.folder, data)
                saved = time.monotonic()
            if asked:
                raise stopping.Stopped
            self.report(encoder.trained, encoder.trained_at_end)
            yield wait

    def _publish(self, rows: Tensor, encoder: Encoder) -> Features:
        if not self.claim.valid():
            raise Busy(f"{self.key} was taken over while this process was stopped")
        made: dict[str, str] = {}
        if encoder.on_device:
            made = {
                "device": device_class(self.device),
                "precision": "bf16" if encoder.half else "fp32",
                "steps": encoder.not_captured_because or "captured",
            }
        if self.device.type == "cuda":
            made["tf32"] = tf32_operations()
        final = self.store.evidence_path(self.key)
        with folder_errors(final), self.store.temporary_folder("evidence") as work:
            np.save(work / "features.npy", rows.numpy(), allow_pickle=False)
            manifest: dict[str, Any] = {
                "key": self.key,
                "needs": {"signals": [], "snapshots": [], "strong": []},
                "trained": encoder.trained,
                "files": {"features.npy": file_digest(work / "features.npy")},
            }
            if made:
                manifest |= {"made": made, "note": _NOTE}
            write_manifest(work, manifest)
            self.store.publish_folder(work, final)
        self.store.remove_checkpoint(self.key)
        return Features(rows, encoder.trained, made)


def _parts(encoder: Encoder) -> checkpoint_file.Parts:
    return {
        "model": encoder.net.state_dict(),
        "projector": encoder.projector.state_dict(),
        "generators": generator_states(encoder.device),
        **optimizer_parts(encoder.optimizer),
    }


def _load(encoder: Encoder, content: Content) -> None:
    step, generators = content.entries["step"], content.part("generators")
    if type(step) is not int or not 0 <= step <= encoder.count:
        raise ValueError("a step that no training has")
    if encoder.device.type not in generators:
        raise ValueError("no states of the generators")
    encoder.net.load_state_dict(content.part("model"))
    encoder.projector.load_state_dict(content.part("projector"))
    load_optimizer(encoder.optimizer, content)
    encoder.step, encoder.generators = step, generators


def _find(store: Store, key: str, rows: int) -> Features | None:
    """The features of an encoder, or None; damaged ones are set aside."""
    folder = store.evidence_path(key)
    found = _read(store, folder, rows)
    if found is not None:
        store.remove_checkpoint(key)  # of a process that was killed after it had published
    return found


def _read(store: Store, folder: Path, rows: int) -> Features | None:
    try:
        manifest = read_manifest(folder)
        if manifest is None:
            return None
        verify(folder, manifest)
        path = folder / "features.npy"
        check_numbers(path, read_array(path, "float32", (rows, None)))
        if type(manifest.get("trained")) is not int or manifest["trained"] < 0:
            raise Damaged(f"{folder}: no number of samples trained")
        made = manifest.get("made", {})
        texts = [*made, *made.values()] if isinstance(made, dict) else [None]
        if not all(isinstance(text, str) and len(text) <= _LONGEST for text in texts):
            raise Damaged(f"{folder}: no short texts on how it was made")
    except Damaged as error:
        store.set_aside(folder, str(error))
        return None
    features = np.load(folder / "features.npy", allow_pickle=False)
    return Features(torch.from_numpy(features), int(manifest["trained"]), made)
