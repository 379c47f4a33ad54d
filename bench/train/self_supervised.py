"""The self-supervised encoder of a data set: the recipe's network, trained without labels on two
strong views of every image (SimCLR; Chen et al., ICML 2020).

What happens, in order::

    while steps are left:
        order the epoch, and draw its views
        for every whole batch of it:
            set the learning rate
            two views, their features and projections, NT-Xent, backward, optimiser
          > yield: whoever drives the training may save it, stop it, or let others go on
    embed all images in eval mode

On a card the training pass is in bf16 and channels_last, and a step is captured and replayed as
that of a run is; the embedding is in fp32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from prunebench.bench.inputs.statistics import with_statistics
from prunebench.bench.inputs.streaming import open_inputs
from prunebench.bench.inputs.strong import DRAWS, strong_draws, strongly_varied
from prunebench.bench.inputs.view import Inputs
from prunebench.bench.networks.build import build_model
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.capture.graph import Capture, CudaCapture, Rehearsal
from prunebench.bench.train.capture.pool import never_captured_because, refusal
from prunebench.bench.train.device_optimizers import DeviceAdam
from prunebench.bench.train.evaluate import forward_all, sent
from prunebench.bench.train.generators import set_generator_states
from prunebench.bench.train.optimizers import EagerAdam, set_schedule
from prunebench.bench.train.schedules import one_cycle
from prunebench.bench.train.setup import choose_algorithms
from prunebench.bench.train.step import RunAhead, StepGenerator, autocast, work_so_far
from prunebench.datasets.source import RawData
from prunebench.rng import Streams

BATCH = 256
TEMPERATURE = 0.2
PROJECTION = 128
LR, BETA1 = 2e-3, 0.9


def nt_xent(first: Tensor, second: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Normalised temperature-scaled cross-entropy between two views (SimCLR, Eq. 1).

    Args:
        first: float [B, P], projections of one view.
        second: float [B, P], of the other.
        temperature: Softmax temperature.

    Returns:
        Scalar mean loss over the 2 B anchors.
    """
    z = F.normalize(torch.cat([first, second]), dim=1)
    similarity = z @ z.T / temperature
    similarity = similarity.masked_fill(
        torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf
    )
    n = len(first)
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(similarity, partner)


class Encoder:
    """One training, step by step.

    Args:
        raw: The data set; labels are never read.
        recipe: Gives architecture, epochs and augmentation.
        streams: Seed 0 of the data set, free of noise.
        device: Where to train.
        execution: How steps are run.
        sample_ids: int64 [n], what it is trained on; None for all training rows of the data set.
        batch: Images of a step at most.
        half: Whether the training pass is in bf16 and channels_last; None for cards alone.

    Attributes:
        net: The network.
        projector: From its features to what the loss compares.
        optimizer: Of both.
        step: Steps done, of ``count``.
        generators: States of the global generators to go on from; empty at the start.
        not_captured_because: Why steps are not captured, on a device that could; empty where
            they are.
    """

    def __init__(
        self,
        raw: RawData,
        recipe: Recipe,
        streams: Streams,
        device: torch.device,
        execution: ExecutionOptions = ExecutionOptions(),
        *,
        sample_ids: Tensor | None = None,
        batch: int = BATCH,
        half: bool | None = None,
    ) -> None:
        choose_algorithms(execution, device)
        self.recipe, self.streams, self.device, self.execution = recipe, streams, device, execution
        self.half = device.type == "cuda" if half is None else half
        self.on_device = device.type == "cuda" or execution.graph == "rehearse"
        augment = raw.augment if recipe.augment == "dataset" else recipe.augment
        raw = with_statistics(raw, recipe.normalise)
        self.inputs = open_inputs(
            raw.train_x, raw, self.on_device, augment=augment, pad=recipe.pad, device=device,
            channels_last=self.half,
        )  # fmt: skip
        model = build_model(recipe, raw.input_shape, raw.num_classes, streams.get("init"))
        model = model.to(device)
        if self.half:
            model = model.to(memory_format=torch.channels_last)
        self.net = cast(Any, model)
        self.total = len(raw.train_x)
        self.training = (raw.training_rows if sample_ids is None else sample_ids).to(device)
        self.batch = min(batch, len(self.training))
        self.per_epoch = len(self.training) // self.batch
        self.count = recipe.epochs * self.per_epoch
        self.projector = self._build_projector()
        params = [*model.parameters(), *self.projector.parameters()]
        self.optimizer: Optimizer = (
            DeviceAdam(params, LR, BETA1, 0.0) if self.on_device else EagerAdam(params, lr=LR)
        )
        self.step = 0
        self.generators: Mapping[str, Tensor] = {}
        self.captured: CapturedEncoderStep | None = None
        self.not_captured_because = ""

    def _build_projector(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.streams.get("projector").key & 0x7FFFFFFFFFFFFFFF)
            two = torch.arange(2, device=self.device)
            width = self.net.features(self.inputs.unaugmented(two)).shape[1]
            return nn.Sequential(
                nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, PROJECTION)
            ).to(self.device)

    @property
    def epoch_over(self) -> bool:
        """Whether the last step was the last of its epoch."""
        return self.step % self.per_epoch == 0

    @property
    def trained(self) -> int:
        """Samples trained so far; each view counts."""
        return 2 * self.step * self.batch

    @property
    def trained_at_end(self) -> int:
        """What ``trained`` is when all steps are done."""
        return 2 * self.count * self.batch

    def steps(self) -> StepGenerator[None]:
        """Trains to the end from wherever the state is, and yields after every step; the caller
        guards torch's generators."""
        self._capture()
        if self.generators:
            set_generator_states(self.generators, self.device)
        else:
            torch.manual_seed(self.streams.get("torch").key & 0x7FFFFFFFFFFFFFFF)
        self.net.train()
        while self.step < self.count:
            yield from self._epoch_steps()

    def _epoch_steps(self) -> StepGenerator[None]:
        """One epoch, or what is left of it."""
        epoch, done = divmod(self.step, self.per_epoch)
        order = self.streams.get("order", epoch).permutation(len(self.training), self.device)
        sample_ids = self.training[order][done * self.batch : self.per_epoch * self.batch]
        sides = [self.streams.get("view", epoch).child(side) for side in "ab"]
        draws = torch.stack([strong_draws(self.inputs, sample_ids, side) for side in sides])
        if self.captured is not None:
            self.captured.load(sample_ids, draws, self.step)
        stored, ahead = self.inputs.unaugmented_batches(sample_ids), RunAhead(self.device)
        for start in range(0, len(sample_ids), self.batch):
            stop = start + self.batch
            if self.captured is not None:
                self.captured.capture.replay()
            else:
                set_schedule(self.optimizer, self.rate(self.step), BETA1)
                self.train(stored.pixels(start, stop), draws[..., start:stop])
            self.step += 1
            yield ahead.step()
        if self.device.type == "cuda":
            yield work_so_far()

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return one_cycle(step / self.count, LR, pct_start=0.1)

    def train(self, stored: Tensor, draws: Tensor) -> None:
        """One step, launched or captured.

        Args:
            stored: uint8 [B, channels, H, W], images as stored.
            draws: float32 [2, n, B], of their two views, see ``strong_draws``.
        """
        views = [strongly_varied(self.inputs, stored, side) for side in draws.unbind()]
        with autocast(self.half, self.device):
            projected = self.projector(self.net.features(torch.cat(views))).float()
        first, second = projected.split(self.batch)
        self.optimizer.zero_grad(set_to_none=True)
        nt_xent(first, second).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _capture(self) -> None:
        """Captures the step, on a device that can."""
        if not self.on_device or self.captured is not None:
            return
        self.not_captured_because = never_captured_because(
            self.execution, self.inputs, self.recipe.model
        )
        if self.not_captured_because:
            return
        self.net.train()
        try:
            self.captured = CapturedEncoderStep(self)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.not_captured_because = refusal("captured", error)

    def state(self) -> list[Tensor]:
        """Everything that a step changes."""
        tensors = [*self.net.state_dict().values(), *self.projector.state_dict().values()]
        for state in self.optimizer.state.values():
            tensors += state.values()
        return tensors

    def embed(self) -> StepGenerator[Tensor]:
        """float32 [N, D], features of all images in eval mode on the unaugmented view."""
        every = torch.arange(self.total, device=self.device)
        batches, size = self.inputs.unaugmented_batches(every).batch, self.inputs.eval_batch
        full = torch.autocast(self.device.type, enabled=False)
        features = forward_all(self.net, self.total, batches, full, features=True, size=size)[1]
        assert features is not None
        if self.device.type == "cuda":
            yield work_so_far()
        return features.cpu()

    def close(self) -> None:
        """Ends decoding processes and frees the captured step."""
        self.inputs.close()
        if self.captured is not None:
            vars(self.captured).clear()
            self.captured = None


class CapturedEncoderStep:
    """The step of an encoder as it is captured: from buffers that stay where they are.

    Args:
        encoder: In training mode; recording leaves no trace in its state.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, device = encoder, encoder.device
        self.inputs = cast(Inputs, encoder.inputs)
        self.optimizer = cast(DeviceAdam, encoder.optimizer)
        size = encoder.per_epoch * encoder.batch
        self.sample_ids = encoder.training[:size].clone()
        self.draws = torch.zeros((2, len(DRAWS), size), device=device)
        rates = [encoder.rate(step) for step in range(encoder.count)]
        self.rates = sent(rates, device, torch.float32)
        self.offsets = torch.arange(encoder.batch, device=device)
        #: Number of the next step.
        self.at = torch.zeros(1, dtype=torch.int64, device=device)
        rehearsed = encoder.execution.graph == "rehearse"
        self.capture: Capture = Rehearsal() if rehearsed else CudaCapture(device)
        self._record()

    @torch.no_grad()
    def _record(self) -> None:
        state = self.encoder.state()
        before = [tensor.detach().clone() for tensor in state]
        try:
            with torch.enable_grad():
                self.capture.record(self._run, self._rewind)
        finally:
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)

    def _rewind(self) -> None:
        self.at.zero_()

    def _run(self) -> None:
        """One step: what is captured."""
        encoder = self.encoder
        place = self.offsets + self.at % encoder.per_epoch * encoder.batch
        sample_ids = self.sample_ids.index_select(0, place)
        self.optimizer.lr.copy_(self.rates.index_select(0, self.at)[0])
        encoder.train(self.inputs.pixels(sample_ids), self.draws.index_select(2, place))
        self.at.add_(1)

    def load(self, sample_ids: Tensor, draws: Tensor, step: int) -> None:
        """Copies in what is left of an epoch.

        Args:
            sample_ids: int64 [N].
            draws: float32 [2, n, N].
            step: Number of its next step.
        """
        self.sample_ids[-len(sample_ids) :].copy_(sample_ids)
        self.draws[..., -len(sample_ids) :].copy_(draws)
        self.at.fill_(step)
