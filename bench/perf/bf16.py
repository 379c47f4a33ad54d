"""How much faster training in bf16 is than in fp32 on this processor, by turns of a few seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import torch

from prunebench.bench.perf.contenders import Solo
from prunebench.bench.perf.timing import Ratio, in_turn
from prunebench.bench.perf.workload import Workload, random_images, threads
from prunebench.bench.results.environment import bf16_units
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.train.trainer import guarded

CPU = torch.device("cpu")
#: Turns that count, and how few say anything; none begins after ``LIMIT_S``. A step in fp32 takes
#: up to ``_STEP_S``.
_TURNS, _FEWEST, LIMIT_S, _STEP_S = 5, 2, 8.0, 0.4
_FIRST = 4
#: What is trained where no grid says what: the narrow form of the paper's network.
REFERENCE = Recipe(
    name="bf16", model="resnet18", model_params={"width": 16}, epochs=1, batch_size=128,
    optimizer="lars", lr=5.2,
)  # fmt: skip


@dataclass(frozen=True)
class Bf16Gain:
    """What was measured.

    Attributes:
        units: The processor's units for bf16.
        ratio: Seconds of a step in fp32 over those in bf16.
        turns: Turns of each.
        model: The network.
        batch: Samples of a step.
        threads: Of the process.
    """

    units: str
    ratio: Ratio
    turns: int
    model: str
    batch: int
    threads: int

    @property
    def text(self) -> str:
        """One line for a user."""
        r, many = self.ratio, "s" if self.threads > 1 else ""
        spread = f"{r.low:.2g} to {r.high:.2g} in {self.turns} turns"
        of = f"{self.model}, batch {self.batch}, {self.threads} thread{many}; {self.units}"
        if self.turns < _FEWEST or r.low <= 1 <= r.high:
            return f"precision=bf16 and fp32 could not be told apart here ({spread} of {of})"
        if r.low > 1:
            what = f"precision=bf16 is about {r.value:.2g} times as fast as fp32 here"
        else:
            what = f"precision=bf16 is slower than fp32 here, {r.value:.2g} times as fast"
        return f"{what} (measured now: {spread} of {of})"


def bf16_gain(
    recipe: Recipe = REFERENCE,
    shape: tuple[int, ...] = (3, 32, 32),
    num_classes: int = 10,
    threads: int = 1,
) -> Bf16Gain | None:
    """Times steps of a recipe's network in turn; None on processors without units for bf16.

    A process measures each network once.

    Args:
        recipe: Its network, optimiser and largest batch size count.
        shape: (channels, height, width) of the images, which are random.
        num_classes: C.
        threads: Intra-op threads.
    """
    units = bf16_units()
    if not units:
        return None
    return _measured(units, recipe.model_dump_json(), shape, num_classes, threads)


@cache
def _measured(
    units: str, recipe_json: str, shape: tuple[int, ...], num_classes: int, count: int
) -> Bf16Gain:
    recipe = Recipe.model_validate_json(recipe_json)
    batch = _FIRST
    with threads(count), guarded(CPU):
        _step_s(recipe, shape, num_classes, batch)  # the first of a process loads the compiler
        begin = time.perf_counter()
        while batch < recipe.batch_size and time.perf_counter() - begin < LIMIT_S / 2:
            if 2 * _step_s(recipe, shape, num_classes, batch) > _STEP_S:
                break
            batch = min(2 * batch, recipe.batch_size)
        contenders = {
            name: _one_step(recipe, shape, num_classes, batch, name).epoch
            for name in ("fp32", "bf16")
        }
        left = LIMIT_S - (time.perf_counter() - begin)
        times = in_turn(contenders, _TURNS, CPU, limit_s=left)
    return Bf16Gain(
        units, times.ratio("fp32", "bf16"), len(times.taken["fp32"]), recipe.model, batch, count
    )


def _one_step(
    recipe: Recipe, shape: tuple[int, ...], num_classes: int, batch: int, precision: str
) -> Solo:
    """A run whose epochs are one step each."""
    work = Workload(
        random_images(shape, num_classes, batch + 1), CPU, recipe.model, recipe.model_params,
        batch, precision, recipe.optimizer, reference=1, augment="none",
    )  # fmt: skip
    return Solo(work.trainer())


def _step_s(recipe: Recipe, shape: tuple[int, ...], num_classes: int, batch: int) -> float:
    """Seconds of this process on its processors in the second of two steps in fp32."""
    run = _one_step(recipe, shape, num_classes, batch, "fp32")
    run.epoch()
    begin = time.process_time()
    run.epoch()
    return (time.process_time() - begin) / torch.get_num_threads()
