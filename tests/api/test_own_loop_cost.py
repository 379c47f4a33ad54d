"""What ``Pruning`` adds to a step, in operators and in Python calls: counts do not hang on speed.
Seconds are in ``perf.benchmarks.own_loop``."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import pytest

import prunebench
from perf.benchmarks.own_loop import PRUNED, OwnLoop, PrunedLoop, Weightless, random_images
from support.captures import Ops

OWN = str(Path(prunebench.__file__).parent / "api")
STEPS = 4
#: Operators of one step beside those of the bare loop, and calls into ``prunebench.api``.
OPERATORS, CALLS = 16, 9


def counts(loop: OwnLoop) -> tuple[Counter[str], int]:
    """Operators, and calls of functions of ``prunebench.api``, in one turn inside an epoch."""
    calls = 0

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(OWN)

    loop.turn()
    with Ops() as operators:
        loop.turn()
    gc.collect()  # loops of other tests end now, not while calls are counted
    gc.disable()
    sys.setprofile(profile)
    try:
        loop.turn()
    finally:
        sys.setprofile(None)
        gc.enable()
    return operators.seen, calls


@pytest.mark.parametrize("name", PRUNED)
def test_a_step_costs_few_operators_and_no_call_for_each_sample(name: str) -> None:
    found = []
    for batch in (8, 64):
        data = random_images(8 * STEPS * batch, 2)
        bare, _ = counts(OwnLoop(Weightless(), data, batch, STEPS))
        operators, calls = counts(PrunedLoop(Weightless(), data, batch, STEPS, *PRUNED[name]))
        # What fetches a sample of the data set and stacks a batch is the same in both loops.
        more = {op: n - bare[op] for op, n in operators.items() if n != bare[op]}
        assert sum(more.values()) <= OPERATORS * STEPS, more
        # One number is read: whether the batch is in the plan, from a table on the host.
        assert more.get("_local_scalar_dense", 0) <= STEPS
        assert 0 < calls <= CALLS * STEPS
        found.append((sum(more.values()), calls))
    assert found[0] == found[1]


def test_the_counter_sees_a_call_for_each_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    from prunebench.api.own_samples import Numbered

    monkeypatch.delattr(Numbered, "__getitems__")
    loop = PrunedLoop(Weightless(), random_images(512, 2), 16, STEPS, "full", 0.0, {})
    assert counts(loop)[1] > 16 * STEPS
