"""Every cost is counted, in samples."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Ledger:
    """Samples that passed the network, by purpose.

    Attributes:
        target: Trained samples that the nominal ratio means.
        trained: Forward and backward, for the model that is evaluated.
        strong: Further forward and backward passes of a second view.
        forward_only: Re-scored in eval mode (IES).
        scoring_forward: Eval-mode passes of batch-level selection (DivBS).
        reference_forward: Passes over the clean reference set (AlignPrune).
        eval_forward: Test passes, and those over training labels (``Recipe.label_fit``), common to
            all methods.
        proxy_trained: Trained samples of the scoring runs, whoever shares them.
        proxy_scoring: Forward passes that took evidence from them.
        steps: Optimiser steps.
        epochs: Epochs begun.
        num_samples: N.
        full_epochs: E.
    """

    target: int = 0
    trained: int = 0
    strong: int = 0
    forward_only: int = 0
    scoring_forward: int = 0
    reference_forward: int = 0
    eval_forward: int = 0
    proxy_trained: int = 0
    proxy_scoring: int = 0
    steps: int = 0
    epochs: int = 0
    num_samples: int = 0
    full_epochs: int = 0

    def as_dict(self) -> dict[str, int]:
        """All counts by name."""
        return asdict(self)

    @property
    def realised_ratio(self) -> float:
        """1 - trained / (N E)."""
        return 1.0 - self.trained / (self.num_samples * self.full_epochs)

    @property
    def spent(self) -> float:
        """Trained samples, second views with them, and a third of the forward-only passes."""
        passes = self.forward_only + self.scoring_forward + self.reference_forward
        return self.trained + self.strong + passes / 3.0

    @property
    def compute_ratio(self) -> float:
        """Share of a full run's compute that was saved; a forward-only pass is a third of a
        trained sample. Scoring runs are listed apart, for they are shared."""
        return 1.0 - self.spent / (self.num_samples * self.full_epochs)
