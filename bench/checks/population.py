"""Simulated samples with known roles: easy, hard and mislabelled ones, clustered by class.

Mislabelled samples look like their true class at first and are memorised late, a difference that
methods for label noise use.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from prunebench.bench.train.sample_tables import SampleTables
from prunebench.methods.base import EvidenceSpec, ReferenceView, Snapshot, StrongView
from prunebench.rng import Stream

CLASSES = 4
EPOCHS = 12
#: Samples of the split that populations are drawn from.
SPLIT = 300
WIDTH = 8
#: Samples of a batch.
BATCH = 32


@dataclass(frozen=True)
class Population:
    """N samples over E epochs of a simulated run.

    Attributes:
        ids: int64 [N], original ids.
        labels: int64 [N], noisy; classes of equal size.
        clean_labels: int64 [N].
        num_classes: C.
        logits: float32 [E, N, C], after each epoch.
        features: float32 [E, N, D], likewise.
        p_target: float32 [E, N].
        correct: bool [E, N].
        confidence: float32 [E, N], of a strong view.
        ssl: float32 [N, D], self-supervised features.
        reference_logits: float32 [E, M, C], of clean samples that are not trained.
        reference_features: float32 [E, M, D], likewise.
        reference_labels: int64 [M], theirs.
        spread: 1, or 0 where all samples are alike.
    """

    ids: Tensor
    labels: Tensor
    clean_labels: Tensor
    num_classes: int
    logits: Tensor
    features: Tensor
    p_target: Tensor
    correct: Tensor
    confidence: Tensor
    ssl: Tensor
    reference_logits: Tensor
    reference_features: Tensor
    reference_labels: Tensor
    spread: float = 1.0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def epochs(self) -> int:
        """E."""
        return len(self.logits)

    @property
    def reference(self) -> Tensor:
        """float64 [E]: a falling reference loss with a ripple, as on real data."""
        epoch = torch.arange(self.epochs, dtype=torch.float64)
        return 0.3 + torch.exp(-epoch / 4) + 0.05 * torch.sin(2 * epoch)

    @property
    def irreducible(self) -> Tensor:
        """float32 [N]: losses of a model that never trained on the samples."""
        return torch.where(self.labels == self.clean_labels, 0.2, 2.0)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def copy(self) -> Population:
        """The same in memory of its own."""
        return self._with({name: value.clone() for name, value in self.tensors().items()})

    def permuted(self, order: Tensor) -> Population:
        """The same samples in another order: position j holds sample ``order[j]``."""
        flat = ("ids", "labels", "clean_labels", "ssl")
        return self._with(
            {
                name: value[order] if name in flat else value[:, order]
                for name, value in self.tensors().items()
                if not name.startswith("reference_")
            }
        )

    def signal(self, name: str) -> Tensor:
        """float32 [E, N]: a signal that the other tensors give, a visit an epoch."""
        n, epochs = len(self), self.epochs
        everyone, none = torch.arange(n), torch.zeros(n)
        tables = SampleTables(n, epochs, signals=[name], num_classes=self.num_classes)
        rows = []
        for logits in self.logits:
            tables.write(everyone, none, logits, self.labels)
            rows.append(tables.signal(name).clone())
        return torch.stack(rows)

    def _with(self, tensors: dict[str, Any]) -> Population:
        return replace(self, **tensors)


def noisy_labels(
    n: int, classes: int, share: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Clean labels of equal classes in random order, and noisy ones that keep the sizes equal."""
    clean = torch.from_numpy(rng.permutation(np.arange(n) % classes))
    labels = clean.clone()
    for cls in range(classes):
        members = (clean == cls).nonzero().squeeze(1)
        labels[members[: int(share * (n // classes))]] = (cls + 1) % classes
    return labels, clean


def simulate_population(
    n: int = 120,
    epochs: int = EPOCHS,
    classes: int = CLASSES,
    seed: int = 0,
    labels: tuple[Tensor, Tensor] | None = None,
    width: int = WIDTH,
) -> Population:
    """Draws a population.

    Args:
        n: N.
        epochs: E.
        classes: C.
        seed: Of a generator of its own.
        labels: (noisy, clean) int64 [N] each, to give instead of drawing them.
        width: D.
    """
    rng = np.random.default_rng(seed)
    noisy, clean = labels or noisy_labels(n, classes, 0.3, rng)
    n = len(noisy)
    wrong = (noisy != clean).numpy()
    speed = rng.uniform(0.15, 1.2, n)  # easy to hard
    time = np.arange(1, epochs + 1)[:, None] / max(1.0, epochs / 6)
    learned = 5 * (1 - np.exp(-speed * time))
    memorised = np.where(wrong, 6 / (1 + np.exp(-2 * (time - 4 - speed))), 0.0)
    truth, given = F.one_hot(clean, classes).numpy(), F.one_hot(noisy, classes).numpy()
    logits = learned[..., None] * truth + memorised[..., None] * given
    logits += rng.normal(0, 0.4, logits.shape)
    weak = 0.6 * logits + rng.normal(0, 0.4, logits.shape)
    centres = rng.normal(0, 1, (classes, width))
    drift = learned[..., None] * centres[clean.numpy()] / 2
    features = drift + rng.normal(0, 0.5, (epochs, n, width))
    ssl = centres[clean.numpy()] + rng.normal(0, 0.4, (n, width))
    z = torch.from_numpy(logits.astype(np.float32))
    p = z.softmax(2)
    target = noisy[None, :, None].expand(epochs, n, 1)
    known = torch.arange(2 * classes) % classes
    shown = 5 * (1 - np.exp(-0.7 * time))[..., None] * F.one_hot(known, classes).numpy()
    shown += rng.normal(0, 0.4, shown.shape)
    near = (1 - np.exp(-0.7 * time))[..., None] * 2.5 * centres[known.numpy()]
    near += rng.normal(0, 0.5, near.shape)
    return Population(
        ids=torch.arange(n),
        labels=noisy,
        clean_labels=clean,
        num_classes=classes,
        logits=z,
        features=torch.from_numpy(features.astype(np.float32)),
        p_target=p.gather(2, target).squeeze(2),
        correct=p.argmax(2) == noisy,
        confidence=torch.from_numpy(weak.astype(np.float32)).softmax(2).amax(2),
        ssl=torch.from_numpy(ssl.astype(np.float32)),
        reference_logits=torch.from_numpy(shown.astype(np.float32)),
        reference_features=torch.from_numpy(near.astype(np.float32)),
        reference_labels=known,
    )


def constant_population(n: int = 120, epochs: int = EPOCHS, classes: int = CLASSES) -> Population:
    """Samples that differ in nothing but their label, in the order of the classes."""
    labels = torch.arange(n) * classes // n
    return Population(
        ids=torch.arange(n),
        labels=labels,
        clean_labels=labels.clone(),
        num_classes=classes,
        logits=torch.zeros(epochs, n, classes),
        features=torch.ones(epochs, n, WIDTH),
        p_target=torch.full((epochs, n), 1 / classes),
        correct=torch.ones(epochs, n, dtype=torch.bool),
        confidence=torch.full((epochs, n), 1 / classes),
        ssl=torch.ones(n, WIDTH),
        reference_logits=torch.zeros(epochs, 2 * classes, classes),
        reference_features=torch.ones(epochs, 2 * classes, WIDTH),
        reference_labels=torch.arange(2 * classes) % classes,
        spread=0.0,
    )


def losses_of(logits: Tensor, labels: Tensor) -> Tensor:
    """float32 [E, N]: cross-entropy of logits [E, N, C]."""
    return F.cross_entropy(logits.transpose(1, 2), labels.expand(len(logits), -1),
                           reduction="none")  # fmt: skip


class SimulatedEvidence:
    """Evidence of a simulated run; see ``methods.base.Evidence``. Arrays are copies, as those
    read from a file are; labels and ids are shared.

    Args:
        population: The samples.
        warmup: Tw.
        need: Only what is declared here is served; None serves everything.
    """

    def __init__(
        self, population: Population, warmup: int, need: EvidenceSpec | None = None
    ) -> None:
        self._all, self._need, self.warmup = population, need, warmup
        self._until = None if need is None else need.until
        self.ids, self.labels = population.ids, population.labels
        self.original_size = max(SPLIT, int(population.ids.max()) + 1)
        self.num_classes, self.epochs = population.num_classes, population.epochs

    @property
    def clean_labels(self) -> Tensor:
        """int64 [N]."""
        return self._all.clean_labels

    @property
    def p_target(self) -> Tensor:
        """float32 [E, N]."""
        self._declared("signals", "p_target")
        return self._all.p_target[: self._until].clone()

    @property
    def correct(self) -> Tensor:
        """bool [E, N]."""
        self._declared("signals", "correct")
        return self._all.correct[: self._until].clone()

    @property
    def runner_up(self) -> Tensor:
        """float32 [E, N]."""
        return self._signal("runner_up")

    @property
    def logit_margin(self) -> Tensor:
        """float32 [E, N]."""
        return self._signal("logit_margin")

    @property
    def divergence(self) -> Tensor:
        """float32 [E, N]; the first row is NaN."""
        return self._signal("divergence")

    @property
    def loss(self) -> Tensor:
        """float32 [E, N]."""
        self._declared("signals", "loss")
        return losses_of(self._all.logits, self._all.labels)[: self._until]

    @property
    def reference_loss(self) -> Tensor:
        """float32 [E, R]."""
        self._declared("signals", "reference_loss")
        p = self._all
        return losses_of(p.reference_logits, p.reference_labels)[: self._until]

    @property
    def reference_labels(self) -> Tensor:
        """int64 [R]."""
        return self._all.reference_labels.clone()

    @property
    def learning_rates(self) -> Tensor:
        """float64 [E], falling in a line."""
        left = torch.arange(self.epochs, 0, -1, dtype=torch.float64)
        return 0.1 * left / self.epochs

    def batches(self, epoch: int) -> Tensor:
        """int64 [N], batches of 32 in an order drawn by id."""
        order = Stream(epoch).bits(self.ids).argsort(stable=True)
        numbers = torch.empty_like(order)
        numbers[order] = torch.arange(len(order)) // BATCH
        return numbers

    @property
    def ssl_features(self) -> Tensor:
        """float32 [N, D]."""
        if self._need is not None and not self._need.ssl:
            raise KeyError("ssl features were not declared in needs()")
        return self._all.ssl.clone()

    def snapshot(self, epoch: int, repeat: int = 0) -> Snapshot:
        """Outputs after ``epoch`` epochs; further repeats differ a little."""
        self._declared("snapshots", epoch)
        if self._need is not None and repeat >= self._need.repeats:
            raise KeyError(f"repeat {repeat} was not declared in needs()")
        shake = 0.2 * self._all.spread * torch.sin((self.ids[:, None] + 1.0) * repeat)
        return Snapshot(self._all.logits[epoch - 1] + shake, self._all.features[epoch - 1] + shake)

    def strong(self, epoch: int) -> StrongView:
        """Outputs on a strong view after ``epoch`` epochs."""
        self._declared("strong", epoch)
        view = self._all.confidence[epoch - 1], self._all.features[epoch - 1]
        return StrongView(view[0].clone(), view[1].clone())

    def reference(self, epoch: int) -> ReferenceView:
        """Outputs on the clean reference set after ``epoch`` epochs."""
        self._declared("reference", epoch)
        p = self._all
        return ReferenceView(
            p.reference_logits[epoch - 1].clone(), p.reference_features[epoch - 1].clone(),
            p.reference_labels,
        )  # fmt: skip

    def _signal(self, name: str) -> Tensor:
        self._declared("signals", name)
        return self._all.signal(name)[: self._until]

    def _declared(self, kind: str, what: str | int) -> None:
        if self._need is not None and what not in getattr(self._need, kind):
            raise KeyError(f"{what!r} was not declared in needs().{kind}")
