"""A registered pruner around a training loop of one's own.

    pruning = Pruning(train_set, "infobatch+align", epochs=100, ratio=0.5, reference=clean_set)
    loader = DataLoader(pruning.dataset, batch_size=128, sampler=pruning.sampler, num_workers=4)
    for epoch in pruning.epochs():
        for x, y, sample in loader:
            losses = F.cross_entropy(model(x), y, reduction="none")
            loss = pruning.loss(losses, sample)
            ...
        pruning.end_epoch(reference_loss=pruning.reference_loss(model))

Nothing is patched: the data set hands out each sample's number beside it, the sampler hands out the
samples of the present epoch in the order of the harness, and ``loss`` notes each sample's loss and
applies the weights. Under the random streams of a run of the harness (``streams``, ``ids``) the
plans are those of its trainer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Subset as TorchSubset

from prunebench.api.labels import labels_of
from prunebench.api.own_checks import check_batch, check_choice, different_ids, one_number
from prunebench.api.own_epoch import OwnEpoch, PlanSampler
from prunebench.api.own_passes import Loss, passes, per_sample_cross_entropy
from prunebench.api.own_pruner import NoEvidence, held_losses, pruner_of
from prunebench.api.own_rate import RateFactor
from prunebench.api.own_samples import Numbered, size_of
from prunebench.bench.train.budget import Clock, budget_in_force, selected_counts
from prunebench.bench.train.distributed.world import World, joined
from prunebench.bench.train.plan_checks import (
    ConstantPlan,
    check_plan,
    ordered_choice,
    shares_of,
)
from prunebench.bench.train.sample_tables import OF_LOGITS, SampleTables
from prunebench.errors import InputError, error_line
from prunebench.methods.base import Batch, BatchPruner, TrainView
from prunebench.rng import Streams


class Pruning:
    """One run of a pruner in a loop of one's own.

    Args:
        train_set: Map-style data set whose samples are tuples or dicts; never changed.
        method: A method's name, or an object with ``indices`` and perhaps ``weights`` (of
            ``select``, say): these are trained in every epoch, the weights scaled to mean 1.
        epochs: Epochs E that training on everything would take.
        ratio: Share of the training to save, 0 to 1. Left out, what ``indices`` leave out, or 0
            for methods that train on everything.
        seed: Of every draw.
        labels: int [N], the given labels, where the data set has none that can be read cheaply.
        num_classes: C; one more than the largest label by default.
        irreducible: float [N], losses of the samples under a model that never trained on them, for
            methods that compare with them (``irreducible_losses`` computes them).
        reference: Map-style data set of clean samples that are not trained, for methods that
            compare with it.
        budget: ``samples``: training ends once (1 - ratio) x N x E samples are trained, inside an
            epoch if need be. ``epochs``: after E epochs.
        params: Options of the method.
        is_cross_entropy: Whether the losses are cross-entropy. If not, methods that read
            cross-entropy need ``logits`` and ``labels`` in every call of ``loss``.
        device: Where per-sample losses are kept; that of the model spares a copy per step.
        ids: int64 [N], by which the order is drawn; the samples' numbers by default.
        streams: Random streams; by default those of the seed and no data set.

    Raises:
        InputError: A data set without length, an unknown method or one that needs a scoring run,
            a ratio that leaves nothing, or labels that do not fit.
    """

    def __init__(
        self,
        train_set: Any,
        method: Any,
        *,
        epochs: int,
        ratio: float | None = None,
        seed: int = 0,
        labels: Any = None,
        num_classes: int | None = None,
        reference: Any = None,
        irreducible: Any = None,
        budget: str = "samples",
        params: Mapping[str, Any] | None = None,
        is_cross_entropy: bool = True,
        device: torch.device | str = "cpu",
        ids: Tensor | None = None,
        streams: Streams | None = None,
    ) -> None:
        self.size = size_of(train_set, "train_set")
        if epochs < 1:
            raise InputError(f"{epochs}", where="epochs", accepted="1 or more")
        if budget not in ("samples", "epochs"):
            raise InputError(f"{budget!r}", where="budget", accepted="samples, epochs")
        self.streams = streams or Streams(seed, "own loop", "")
        self.device = torch.device(device)
        self.dataset = Numbered(train_set)
        self.reference = reference
        self.world = World()
        given = labels_of(train_set, labels, num_classes)
        classes = int(given.max()) + 1 if num_classes is None else num_classes
        self.ids = torch.arange(self.size) if ids is None else different_ids(ids, self.size)
        self.pruner, ratio = pruner_of(
            method, ratio, params or {}, NoEvidence(self.ids, given, classes), self.streams
        )
        self.clock = Clock(self.size, epochs, ratio, budget_in_force(budget, params or {}))
        reason = self.clock.nothing_left(isinstance(self.pruner, ConstantPlan))
        if reason:
            raise InputError(reason, where="ratio", accepted="a smaller ratio")
        self.selecting = isinstance(self.pruner, BatchPruner) and ratio > 0
        held = held_losses(self.pruner, self.size, irreducible, self.selecting)
        self.pruner.begin(
            TrainView(self.size, classes, given.to(self.device), epochs, ratio, self.device,
                      None if held is None else held.to(self.device))
        )  # fmt: skip
        if self.pruner.reference and reference is None:
            raise InputError(
                f"{self.pruner.name} compares with clean samples", where="reference",
                accepted="a data set of samples that are not trained",
            )  # fmt: skip
        if reference is not None:
            size_of(reference, "reference")
        self.tables = SampleTables(
            self.size, self.clock.max_epochs + 1, window=self.pruner.window,
            signals=self.pruner.signals, num_classes=classes, is_cross_entropy=is_cross_entropy,
            history=self.pruner.history, device=self.device,
        )  # fmt: skip
        #: The method, where it reads more than the losses that it is handed.
        self._reader = (
            self.pruner.name
            if self.pruner.signals & OF_LOGITS or self.tables.ce is not self.tables.loss
            else ""
        )
        #: Epochs that have ended, and samples trained so far by all processes.
        self.epoch = self.trained = 0
        self._now: OwnEpoch | None = None
        self._rate = RateFactor(self.pruner.name, lambda: self.lr_factor)
        self.sampler = PlanSampler(lambda: self._under_way("sampler"), self.size)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train.

        Raises:
            SkipCell: The method trains so little that the budget cannot be met.
        """
        room = self.clock.room(self.trained)
        if room is not None and room < self.world.size:
            return True  # not one sample is left for each process
        return self.clock.finished(self.epoch, self.trained)

    @property
    def begun(self) -> bool:
        """Whether an epoch is under way."""
        return self._now is not None

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 to 1: what a learning rate may follow."""
        now = self._now
        if now is None:
            return min(1.0, self.clock.progress(self.epoch, self.trained).fraction)
        return min(1.0, self.clock.fraction(self.epoch, now.share, self.trained + now.count))

    @property
    def lr_factor(self) -> float:
        """What the method wants on the learning rate of every step of the present epoch; mostly
        1. Momentum and weight decay stay as they are."""
        return 1.0 if self._now is None else self._now.lr_factor

    def apply_lr_factor(self, optimizer: Any) -> None:
        """Puts ``lr_factor`` on the learning rates in every step that an optimizer makes from now
        on; between steps they are the schedule's own. The alternative is to multiply by hand.

        Args:
            optimizer: Of torch, or a wrapper of Accelerate.

        Raises:
            InputError: The method changes the learning rate, and the optimizer is none of these;
                ``begin_epoch`` raises it in later epochs.
        """
        self._rate.apply(optimizer)

    def epochs(self) -> Iterator[int]:
        """The numbers of the epochs from the present one on; each is begun here.

        Raises:
            InputError: ``end_epoch`` was not called.
        """
        while self._now is not None or not self.finished:
            if self._now is None:
                self.begin_epoch()
            number = self.epoch
            yield number
            if self.epoch == number:
                raise InputError(
                    f"epoch {number} has not ended", where="Pruning.epochs",
                    accepted="end_epoch() after the last batch of every epoch",
                )  # fmt: skip

    def begin_epoch(self) -> None:
        """Plans the next epoch; ``epochs`` calls it, other loops (Lightning, say) do.

        Raises:
            InputError: The last one has not ended, or nothing is left to train.
            PlanError: The plan breaks its contract.
        """
        if self._now is not None or self.finished:
            what = "the training is over" if self._now is None else "the last epoch has not ended"
            raise InputError(what, where="Pruning.begin_epoch",
                             accepted="end_epoch() before it, while finished is false")  # fmt: skip
        if len(self.dataset) != self.size:
            raise InputError(
                f"{len(self.dataset)} samples, where there were {self.size}", where="train_set",
                accepted="a data set whose length does not change",
            )  # fmt: skip
        self.world = joined()  # frameworks may begin it after this object was made
        progress = self.clock.progress(self.epoch, self.trained)
        plan = self.pruner.plan(progress, self.tables, self.streams.get("pruner", self.epoch))
        check_plan(plan, self.size, self.pruner.name)
        room = None if self.selecting else self.clock.room(self.trained)
        stream = self.streams.get("order", self.epoch)
        now = OwnEpoch.of_plan(plan, self.ids, stream, room, self.device, self.world)
        plan_of = f"the plan of epoch {self.epoch}"
        said = (now.order, plan.weights, plan.forward_only, plan.lr_factor, plan.batch_weights)
        self.world.agree(plan_of, said)
        self._now = now
        self._rate.check()

    def loss(
        self,
        losses: Tensor,
        sample: Tensor,
        *,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Tensor:
        """Notes the losses of a batch and weighs them. What is handed over at once is a batch; of
        several processes, what they hand over in the same call.

        Args:
            losses: float [B], of each sample (``reduction="none"``).
            sample: int64 [B], the samples' numbers as the loader hands them out.
            logits: float [B, C], for methods that read more than the loss.
            labels: int64 [B], with ``logits``.

        Returns:
            Scalar: the weighted mean, to be differentiated.

        Raises:
            InputError: Losses that are reduced, another number of samples, samples that are not of
                this epoch's plan, or no epoch under way.
        """
        now = self._under_way("loss")
        check_batch(losses, sample, logits, labels, self._reader, "Pruning.loss")
        now.note(sample)
        self._write(losses, sample, logits, labels)
        weights = now.weights_of(sample)
        return (losses if weights is None else losses * weights.to(losses.device)).mean()

    @property
    def scoring_pass(self) -> bool:
        """Whether ``choose`` reads logits and features."""
        return self.selecting and cast(BatchPruner, self.pruner).scoring_pass

    def choose(
        self, logits: Tensor | None, features: Tensor | None, labels: Tensor, sample: Tensor
    ) -> Tensor:
        """What a batch-level method trains of a batch; only these go to ``loss``.

        Args:
            logits: float [B, C] in eval mode; None where ``scoring_pass`` is false.
            features: float [B, D], input of the last linear layer; None as ``logits``.
            labels: int64 [B].
            sample: int64 [B], the samples' numbers.

        Returns:
            int64 [k], places in the batch, ascending; all of it for methods that choose before.
            Empty once the budget is used: then the epoch is over.

        Raises:
            InputError: No epoch is under way, or the shapes do not fit.
        """
        now = self._under_way("choose")
        n = len(sample)
        scores = self.pruner.name if self.scoring_pass else ""
        logits, features = check_choice(logits, features, labels, n, scores)
        if not self.selecting:
            return torch.arange(n, device=logits.device)
        pruner, step = cast(BatchPruner, self.pruner), now.step
        progress = self.clock.progress(self.epoch, self.trained)
        shares = shares_of(pruner, progress, range(step, step + 1))
        room = self.clock.room(self.trained + now.count)
        own = None if room is None else room // self.world.size
        counts = selected_counts([(0, n)], self.clock.ratio, own, shares)
        k = counts[0][2] if counts else 0
        now.step += 1 if k else 0
        if k in (0, n):
            return torch.arange(k, device=logits.device)
        rng = self.streams.get("select", self.epoch, step)
        with torch.no_grad():
            batch = Batch(logits.detach().float(), features.detach().float(), labels,
                          sample.to(logits.device))  # fmt: skip
            chosen = ordered_choice(pruner.select(batch, k, rng), k, n, pruner.name)
        others = torch.ones(n, dtype=torch.bool)
        others[chosen.cpu()] = False
        now.pass_over(sample.cpu()[others])
        return chosen

    @property
    def unscored(self) -> list[int]:
        """What the plan wants scored without training (IES) and this process has not recorded yet,
        of its share: load them from ``dataset`` and hand their losses to ``record`` before
        ``end_epoch``."""
        return self._under_way("unscored").unscored.tolist()

    @torch.no_grad()
    def record(
        self,
        losses: Tensor,
        sample: Tensor,
        *,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> None:
        """Notes losses of ``unscored`` samples; arguments as of ``loss``.

        Raises:
            InputError: As of ``loss``, or a sample that is not to be scored.
        """
        now = self._under_way("record")
        check_batch(losses, sample, logits, labels, self._reader, "Pruning.record")
        now.note_scored(sample)
        self._write(losses, sample, logits, labels)

    def score(self, model: nn.Module, loss: Loss = per_sample_cross_entropy, **loading: Any) -> int:
        """Scores what is ``unscored`` in eval mode, with the data set's own view of it.

        Args:
            model: Takes a batch of inputs.
            loss: Losses [B] of logits and labels.
            loading: Further arguments of the loader.

        Returns:
            How many samples.
        """
        rows = self.unscored
        part = TorchSubset(self.dataset, rows)
        for logits, labels, sample in passes(model, part, self.device, loading):
            self.record(loss(logits, labels), sample, logits=logits, labels=labels)
        return len(rows)

    def reference_loss(
        self, model: nn.Module, loss: Loss = per_sample_cross_entropy, **loading: Any
    ) -> float | None:
        """Mean loss of the reference samples in eval mode, summed in float64; None where the
        method needs none.

        Args:
            model: Takes a batch of inputs.
            loss: Losses [B] of logits and labels.
            loading: Further arguments of the loader.
        """
        if not self.pruner.reference:
            return None
        part = Numbered(self.reference, "reference")
        found = passes(model, part, self.device, loading)
        sums = [loss(logits, labels).double().sum() for logits, labels, _ in found]
        return float(torch.stack(sums).sum()) / size_of(self.reference, "reference")

    def end_epoch(self, reference_loss: float | Tensor | None = None) -> None:
        """Closes the epoch: what was trained counts, and the next one can be planned.

        Args:
            reference_loss: Mean loss of the reference samples now, see ``reference_loss``; for
                methods that need one. Of several processes their mean counts: statistics of
                batch norm are each process's own.

        Raises:
            InputError: No epoch is under way, nothing was trained, samples are unscored, or the
                reference loss is missing or no number.
        """
        now = self._under_way("end_epoch")
        if self.pruner.reference and reference_loss is None:
            raise InputError(
                f"{self.pruner.name} needs the loss of the reference samples",
                where="Pruning.end_epoch", accepted="reference_loss=pruning.reference_loss(model)",
            )  # fmt: skip
        value = None if reference_loss is None else one_number(reference_loss)
        if len(now.unscored):
            raise InputError(
                f"{len(now.unscored)} samples are to be scored without training",
                where="Pruning.end_epoch", accepted="pruning.score(model) before it",
            )  # fmt: skip
        visited, scored = self._gathered(now)
        if len(now.order) and not len(visited):
            raise InputError(
                "nothing was trained in this epoch", where="Pruning.end_epoch",
                accepted="pruning.loss(...) for every batch",
            )  # fmt: skip
        self.trained += len(visited)
        if "batch_loss" in self.pruner.signals:
            positions, sizes = now.by_batch()
            self.tables.close_batches(positions.to(self.device), sizes)
        for positions in (visited, scored):
            self.tables.close_epoch(positions, self.epoch)
        if value is not None:
            found = torch.tensor(value, dtype=torch.float64)
            if self.pruner.reference:
                found = self.world.add(found) / self.world.size
            self.tables.reference_loss[self.epoch] = found
        self.epoch += 1
        self._now = None

    def _gathered(self, now: OwnEpoch) -> list[Tensor]:
        """Brings the losses of the epoch to every process.

        Returns:
            Positions trained and positions scored by all, int64 [n] and [m].
        """
        found = []
        for positions, mine in (now.visited(), now.scored()):
            positions, mine = positions.to(self.device), mine.to(self.device)
            self.world.merge(self.tables.floats(), positions, mine)
            found.append(positions)
        return found

    def _under_way(self, what: str) -> OwnEpoch:
        if self._now is None:
            raise InputError("no epoch is under way", where=f"Pruning.{what}",
                             accepted="for epoch in pruning.epochs(): ...")  # fmt: skip
        return self._now

    def _write(
        self, losses: Tensor, sample: Tensor, logits: Tensor | None, labels: Tensor | None
    ) -> None:
        # A copy to the host that nobody waits for would be read before it has ended.
        soon = self.device.type == "cuda"
        positions = sample.to(self.device, non_blocking=soon)
        values = losses.detach().float().to(self.device, non_blocking=soon)
        if logits is None or labels is None:
            self.tables.write(positions, values, values, positions)  # the last two are not read
        else:
            logits = logits.detach().to(self.device)
            self.tables.write(positions, values, logits, labels.to(self.device))

    def state_dict(self, gather: bool = False) -> dict[str, Any]:
        """Everything that must survive a restart, between two steps too; tensors and numbers.

        Args:
            gather: For several processes inside an epoch: brings their parts together, so that one
                state serves all; all have to call it at once. Without it each process needs its
                own state there. Between epochs they are the same.
        """
        now = self._now
        if gather and now is not None:
            self._gathered(now)
        return {
            "epoch": self.epoch,
            "trained": self.trained,
            "tables": _copied(self.tables.state_dict()),
            "pruner": _copied(self.pruner.state_dict()),
            "now": None if now is None else _copied(now.state_dict(gather)),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` gave. An epoch that was under way goes on with the samples
        that it has not trained, less what a batch-level method has passed over.

        Raises:
            InputError: It is the state of another method, data set or number of epochs; or, inside
                an epoch, of another process. Nothing of it is taken.
        """
        before, now = self.state_dict(), self._now
        try:
            self._restore(state)
        except InputError:
            self._restore(before, now)
            raise
        except (KeyError, TypeError, RuntimeError, ValueError, AttributeError) as error:
            self._restore(before, now)
            raise InputError(
                f"not a state of {self.pruner.name} on {self.size} samples "
                f"({error_line(error)[:150]})",
                where="Pruning.load_state_dict", accepted="what state_dict() gave",
            ) from None  # fmt: skip

    def _restore(self, state: Mapping[str, Any], now: OwnEpoch | None = None) -> None:
        self.tables.load_state_dict(state["tables"])
        self.pruner.load_state_dict(
            {name: value.to(self.device) if isinstance(value, Tensor) else value
             for name, value in state["pruner"].items()}
        )  # fmt: skip
        self.epoch, self.trained = int(state["epoch"]), int(state["trained"])
        self.world, self._now = joined(), now
        if now is None and state["now"] is not None:
            self._now = OwnEpoch.of(state["now"], self.device, self.world)


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state whose tensors lie on the host and stay as they are."""
    return {
        name: value.detach().cpu().clone() if isinstance(value, Tensor) else value
        for name, value in state.items()
    }
