"""A pruner inside Lightning's ``Trainer``.

    callback = PruningCallback(pruning)
    trainer = Trainer(max_epochs=-1, callbacks=[callback], use_distributed_sampler=False)
    trainer.fit(module, DataLoader(pruning.dataset, 64, sampler=pruning.sampler))

``training_step`` gets ``(inputs, labels, sample)`` and returns ``pruning.loss(losses, sample)``.
"""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from prunebench.api.own_passes import Loss, per_sample_cross_entropy
from prunebench.api.pruning import Pruning
from prunebench.errors import InputError

__all__ = ["PruningCallback"]

try:
    from lightning.pytorch import Callback
except ImportError:
    from pytorch_lightning import Callback  # the same library under its other name


class PruningCallback(Callback):  # type: ignore[misc]
    """Begins and ends the epochs of a pruner, and stops the trainer at its budget.

    An epoch is planned before Lightning asks for its loader, whose length changes from epoch to
    epoch: so the loader is asked for in every epoch, whatever the trainer was told.

    Args:
        pruning: The pruner.
        loss: Losses [B] of logits and labels, for reference samples and for those that are scored
            without training; ``module(inputs)`` gives the logits.
        loading: Further arguments of the loader of these samples.
    """

    def __init__(
        self, pruning: Pruning, loss: Loss = per_sample_cross_entropy, **loading: Any
    ) -> None:
        self.pruning, self.loss, self.loading = pruning, loss, loading

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Plans the first epoch, unless a checkpoint has one under way."""
        trainer.reload_dataloaders_every_n_epochs = 1
        self._next(trainer)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Puts the pruner's factor on the learning rates of the optimizers, and looks at the loader
        that Lightning has made of the user's.

        Raises:
            InputError: The loader does not ask the pruner's sampler, or the pruner changes the
                learning rate of an optimizer that is none of torch.
        """
        for optimizer in trainer.optimizers:
            self.pruning.apply_lr_factor(optimizer)
        # Of an epoch that a checkpoint broke off, the sampler gives only what is left.
        batches = trainer.fit_loop.epoch_loop
        batches.reset_restart_stage()
        batches.batch_progress.reset_on_run()
        loader = trainer.train_dataloader
        asked = [
            getattr(loader, "sampler", None),
            getattr(getattr(loader, "batch_sampler", None), "sampler", None),
        ]
        if isinstance(loader, DataLoader) and self.pruning.sampler not in asked:
            raise InputError(
                f"a loader with a {type(asked[0]).__name__}", where="Trainer.fit",
                accepted="sampler=pruning.sampler, and use_distributed_sampler=False in Trainer",
            )  # fmt: skip

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Ends the epoch and plans the next one."""
        if self.pruning.unscored:
            self.pruning.score(pl_module, self.loss, **self.loading)
        found = self.pruning.reference_loss(pl_module, self.loss, **self.loading)
        self.pruning.end_epoch(found)
        self._next(trainer)

    def _next(self, trainer: Any) -> None:
        if not self.pruning.begun and not self.pruning.finished:
            self.pruning.begin_epoch()
        trainer.should_stop = not self.pruning.begun

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoints, which all processes make and the first one writes."""
        return self.pruning.state_dict(gather=True)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From Lightning's checkpoints."""
        self.pruning.load_state_dict(state_dict)
