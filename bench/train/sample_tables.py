"""What the trainer knows per sample: device tensors written inside the step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from prunebench.bench.train.loss_weight import batch_means
from prunebench.methods.aum import runner_up
from prunebench.methods.tdds import divergence

SIGNALS = ("p_target", "correct", "margin", "runner_up", "logit_margin", "divergence",
           "confidence", "batch_loss")  # fmt: skip
#: Signals that need more than the losses.
OF_LOGITS = frozenset(SIGNALS) - {"batch_loss"}
_WITHOUT_SOFTMAX = {"correct", "logit_margin"}


class SampleTables:
    """The tables of one run; implements ``methods.base.Tables``.

    Args:
        num_samples: N.
        max_epochs: Rows of the reference-loss history.
        window: Visits W kept per sample; 0 keeps none.
        signals: Further signals of ``SIGNALS`` to maintain. ``divergence`` takes a table of the
            last softmax of every sample, float32 [N, C].
        num_classes: C, for ``divergence``.
        is_cross_entropy: Whether the criterion's loss is cross-entropy, so that ``ce`` is ``loss``.
        history: Which of the two the ring keeps, ``ce`` or ``training``.
        device: Where everything lives.
    """

    def __init__(
        self,
        num_samples: int,
        max_epochs: int,
        *,
        window: int = 0,
        signals: Iterable[str] = (),
        num_classes: int = 0,
        is_cross_entropy: bool = True,
        history: str = "ce",
        device: torch.device | str = "cpu",
    ) -> None:
        self._n = num_samples
        self.loss = torch.full((num_samples,), torch.nan, device=device)
        self.ce = self.loss if is_cross_entropy else self.loss.clone()
        self.history = self.ce if history == "ce" else self.loss
        self.last_seen = torch.full((num_samples,), -1, dtype=torch.int64, device=device)
        self.seen = torch.zeros(num_samples, dtype=torch.int64, device=device)
        self.losses = torch.full((window, num_samples), torch.nan, device=device)
        self.loss_epochs = torch.full((window, num_samples), -1, dtype=torch.int64, device=device)
        self.reference_loss = torch.full(
            (max_epochs,), torch.nan, dtype=torch.float64, device=device
        )
        self._signals = {
            name: torch.full((num_samples,), torch.nan, device=device) for name in sorted(signals)
        }
        self._softmax: Tensor | None = None
        if "divergence" in self._signals:
            self._softmax = torch.full((num_samples, num_classes), torch.nan, device=device)

    @property
    def num_samples(self) -> int:
        """N."""
        return self._n

    def signal(self, name: str) -> Tensor:
        """float32 [N]; see ``methods.base.Tables``."""
        return self._signals[name]

    def floats(self) -> dict[str, Tensor]:
        """What ``write`` fills: float32 [N] by name, and ``softmax`` [N, C] for ``divergence``;
        all but ``batch_loss``."""
        tables = {"loss": self.loss} if self.ce is self.loss else {"loss": self.loss, "ce": self.ce}
        if self._softmax is not None:
            tables["softmax"] = self._softmax
        return tables | self._written

    @property
    def _written(self) -> dict[str, Tensor]:
        return {name: table for name, table in self._signals.items() if name in OF_LOGITS}

    def rebind(self, floats: Mapping[str, Tensor]) -> None:
        """Moves what ``write`` fills to other tensors, which take its values.

        Args:
            floats: Of the same names and sizes as those of ``floats()``.
        """
        for name, own in self.floats().items():
            floats[name].copy_(own)
        ring_of_loss = self.history is self.loss
        one_table = self.ce is self.loss
        self.loss = floats["loss"]
        self.ce = self.loss if one_table else floats["ce"]
        self.history = self.loss if ring_of_loss else self.ce
        self._signals |= {name: floats[name] for name in self._written}
        self._softmax = floats.get("softmax")

    def write(self, positions: Tensor, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Stores one batch. Runs inside the step: no value is read back to the host.

        Args:
            positions: int64 [B], in the training split.
            losses: float32 [B], unweighted per-sample losses.
            logits: float [B, C].
            labels: int64 [B].
        """
        self.loss.index_copy_(0, positions, losses)
        if self.ce is not self.loss:
            ce = F.cross_entropy(logits.float(), labels, reduction="none")
            self.ce.index_copy_(0, positions, ce)
        signals = self._written
        if not signals:
            return
        logits, label = logits.float(), labels[:, None]
        p = logits if signals.keys() <= _WITHOUT_SOFTMAX else logits.softmax(1)
        for name, table in signals.items():
            if name == "correct":
                value = (logits.argmax(1) == labels).float()
            elif name == "p_target":
                value = p.gather(1, label).squeeze(1)
            elif name == "confidence":
                value = p.amax(1)
            elif name == "margin":
                top = p.topk(2, dim=1).values
                value = top[:, 0] - top[:, 1]
            elif name == "runner_up":
                value = runner_up(p, labels)
            elif name == "logit_margin":
                value = logits.gather(1, label).squeeze(1) - runner_up(logits, labels)
            else:
                assert self._softmax is not None
                value = divergence(p, self._softmax.index_select(0, positions))
                self._softmax.index_copy_(0, positions, p)
            table.index_copy_(0, positions, value)

    def close_batches(self, visited: Tensor, sizes: Sequence[int]) -> None:
        """Gives every sample that an epoch trained the mean loss of its batch (``batch_loss``).

        Args:
            visited: int64 [n], positions, batch after batch; their losses are the last written.
            sizes: Samples trained in each batch.
        """
        table = self._signals.get("batch_loss")
        if table is not None and len(visited):
            table.index_copy_(0, visited, batch_means(self.loss[visited], sizes))

    def close_epoch(self, visited: Tensor, epoch: int) -> None:
        """Counts the visits of one epoch: each sample of ``visited`` was written once.

        Args:
            visited: int64 [n], positions.
            epoch: The epoch that ends.
        """
        window = len(self.losses)
        if window:
            slot = (self.seen[visited] % window) * self._n + visited
            self.losses.view(-1).index_copy_(0, slot, self.history[visited])
            stamp = torch.full_like(visited, epoch)
            self.loss_epochs.view(-1).index_copy_(0, slot, stamp)
        self.seen.index_add_(0, visited, torch.ones_like(visited))
        self.last_seen.index_fill_(0, visited, epoch)

    def state_dict(self) -> dict[str, Tensor]:
        """All tables by name."""
        state = {
            "loss": self.loss,
            "last_seen": self.last_seen,
            "seen": self.seen,
            "losses": self.losses,
            "loss_epochs": self.loss_epochs,
            "reference_loss": self.reference_loss,
        }
        if self.ce is not self.loss:
            state["ce"] = self.ce
        if self._softmax is not None:
            state["softmax"] = self._softmax
        return state | {f"signal.{name}": table for name, table in self._signals.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores tables in place."""
        for name, table in self.state_dict().items():
            table.copy_(state[name])
