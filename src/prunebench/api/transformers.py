"""A pruner inside the ``Trainer`` of Hugging Face's transformers.

    trainer = PruningTrainer(model, args, pruning=pruning, data_collator=collator)
    trainer.train()

The model takes a batch's entries and returns ``logits`` [B, C]; the labels are the entry
``labels``, as everywhere in transformers.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from prunebench.api.own_samples import Numbered, size_of
from prunebench.api.pruning import Pruning
from prunebench.errors import InputError
from prunebench.files import write_atomic

__all__ = ["PruningTrainer"]

#: The pruner's state in the folder of a checkpoint.
STATE = "pruning.pt"


class PruningTrainer(Trainer):  # type: ignore[misc]
    """Trains what a pruner plans, and stops at its budget.

    Checkpoints hold the pruner's state, those inside an epoch too: give ``resume_from_checkpoint``
    to ``train`` of a trainer around a new pruner, and it goes on with the samples, the weights and
    the random state of the one that was broken off.

    ``TrainingArguments(num_train_epochs=...)`` has to leave room: with ``budget="samples"`` the
    plan may take up to three times the epochs of the pruner. The learning rate falls by these
    epochs, unless it follows ``pruning.progress`` (see ``optimizers=``).

    Args:
        args: Of ``Trainer``; ``train_dataset`` is left out.
        pruning: The pruner, of a data set of dicts.
        fields: Of ``Trainer``.
    """

    def __init__(self, *args: Any, pruning: Pruning, **fields: Any) -> None:
        super().__init__(*args, train_dataset=pruning.dataset, **fields)
        self.pruning = pruning
        self.model_accepts_loss_kwargs = False  # so that it divides by the accumulated batches
        self.args.ignore_data_skip = True  # the sampler gives what is left of an epoch
        self._checkpoint: Path | None = None
        self._state: dict[str, Any] = {}
        self.add_callback(_Epochs(self))

    def train(self, resume_from_checkpoint: str | bool | None = None, **others: Any) -> Any:
        """Trains, from a checkpoint if one is given; arguments as of ``Trainer``.

        Raises:
            InputError: The checkpoint holds no state of a pruner, or that of another one.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = get_last_checkpoint(self.args.output_dir) or True
        self._checkpoint = None
        if resume_from_checkpoint and resume_from_checkpoint is not True:
            self._checkpoint = Path(resume_from_checkpoint)
            self._state = _read(self._checkpoint / STATE)
        return super().train(resume_from_checkpoint, **others)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The plan's samples of this process; Accelerate would cut them up once more, and columns
        that the model does not name would be dropped, the samples' numbers among them."""
        given = self.args
        return DataLoader(
            self.pruning.dataset, batch_size=given.train_batch_size, sampler=self.pruning.sampler,
            collate_fn=self.data_collator, num_workers=given.dataloader_num_workers,
            pin_memory=given.dataloader_pin_memory and torch.cuda.is_available(),
            persistent_workers=given.dataloader_persistent_workers,
        )  # fmt: skip

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, **others: Any
    ) -> Any:
        """The weighted loss of a training batch; evaluation batches are the base class's."""
        if "sample" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, **others)
        inputs = dict(inputs)
        sample, labels = inputs.pop("sample"), inputs.pop("labels")
        outputs = model(**inputs)
        loss = self.pruning.loss(
            self.losses(outputs.logits, labels), sample, logits=outputs.logits, labels=labels
        )
        return (loss, outputs) if return_outputs else loss

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """float [B], cross-entropy of each sample; override it for another loss."""
        return F.cross_entropy(logits.float(), labels, reduction="none")

    def _run_epoch(self, *, train_dataloader: Any, **others: Any) -> None:
        # Lengths were counted once; those of a plan change, and with them the last step of
        # accumulated gradients, and the epoch of a checkpoint.
        batches, each = len(train_dataloader), self.args.gradient_accumulation_steps
        others |= {"steps_in_epoch": batches, "num_update_steps_per_epoch": -(-batches // each)}
        first = others["epoch"] == others["epochs_trained"]
        others["epoch"] = self.pruning.epoch
        others["epochs_trained"] = self.pruning.epoch if first else -1
        if self._checkpoint is not None:
            # A loader draws from the random state once an epoch, when it is begun anew; that of a
            # checkpoint inside an epoch is from later on, see ``_Epochs.on_step_begin``.
            others["resume_from_checkpoint"] = None
        super()._run_epoch(train_dataloader=train_dataloader, **others)

    def resumed(self) -> None:
        """Takes up the pruner's state of the checkpoint."""
        if self._checkpoint is None:
            return
        self.pruning.load_state_dict(self._state)
        if not self.pruning.begun:
            self._checkpoint = None  # the base class loads the random state

    def resume_randomness(self) -> None:
        """Puts back the random state that a checkpoint inside an epoch has."""
        if self._checkpoint is not None:
            self._load_rng_state(str(self._checkpoint))
            self._checkpoint = None

    def save_pruning(self, folder: Path) -> None:
        """Writes the pruner's state to a checkpoint; all processes call it.

        Args:
            folder: Of the checkpoint.
        """
        written = io.BytesIO()
        torch.save(self.pruning.state_dict(gather=True), written)
        if self.args.should_save:
            write_atomic(folder / STATE, written.getvalue())

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Scores what the plan wants scored, and the reference samples, and ends the epoch."""
        pruning, found = self.pruning, None
        training = self.model.training
        self.model.eval()
        rows = pruning.unscored
        own = torch.utils.data.Subset(pruning.dataset, rows)
        for sample, logits, labels in self._passes(own) if rows else ():
            pruning.record(self.losses(logits, labels), sample, logits=logits, labels=labels)
        if pruning.pruner.reference:
            found_in = self._passes(Numbered(pruning.reference, "reference"))
            sums = [self.losses(logits, labels).double().sum() for _, logits, labels in found_in]
            found = float(torch.stack(sums).sum()) / size_of(pruning.reference, "reference")
        self.model.train(training)
        pruning.end_epoch(found)

    def _passes(self, data: Any) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        size = self.args.eval_batch_size
        for batch in DataLoader(data, batch_size=size, collate_fn=self.data_collator):
            inputs = dict(self._prepare_inputs(batch))
            sample, labels = inputs.pop("sample"), inputs.pop("labels")
            yield sample, self.model(**inputs).logits, labels


def _read(file: Path) -> dict[str, Any]:
    try:
        state = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # of a torn or foreign file, torch raises many kinds
        raise InputError(
            f"cannot be read ({type(error).__name__})", where=str(file),
            accepted="a checkpoint of PruningTrainer",
        ) from None  # fmt: skip
    return dict(state)


class _Epochs(TrainerCallback):  # type: ignore[misc]
    """Begins and ends the pruner's epochs."""

    def __init__(self, trainer: PruningTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Takes up what a checkpoint has; not before, since lengths are counted first. Puts the
        pruner's factor on the learning rates.

        Raises:
            InputError: The pruner changes the learning rate of an optimizer that is none of torch.
        """
        self.trainer.resumed()
        self.trainer.pruning.apply_lr_factor(others["optimizer"])

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Before the first step after a checkpoint, its batches being loaded."""
        self.trainer.resume_randomness()

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Adds the pruner's state to the checkpoint."""
        self.trainer.save_pruning(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Plans the epoch, unless a state that was loaded has one under way."""
        if not self.trainer.pruning.begun:
            self.trainer.pruning.begin_epoch()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Ends it, and the training where nothing is left."""
        self.trainer.resume_randomness()  # nothing was left of the epoch of a checkpoint
        self.trainer.end_epoch()
        control.should_training_stop = self.trainer.pruning.finished
