"""How much faster bf16 is on a processor: what is measured, said and left out."""

from __future__ import annotations

import pytest
import torch

from prunebench.bench.perf import bf16
from prunebench.bench.perf.bf16 import Bf16Gain, bf16_gain
from prunebench.bench.perf.timing import Ratio, in_turn
from prunebench.bench.spec.recipe import Recipe

TINY = Recipe(
    name="tiny", model="cnn", model_params={"width": 4}, epochs=1, batch_size=16, lr=0.1
)  # fmt: skip


@pytest.mark.parametrize(
    ("ratio", "turns", "said"),
    [
        (Ratio(2.31, 2.14, 2.44), 5, "is about 2.3 times as fast as fp32 here (measured now: 2.1 "),
        (Ratio(0.8, 0.7, 0.9), 5, "is slower than fp32 here, 0.8 times as fast"),
        (Ratio(1.1, 0.9, 1.3), 5, "could not be told apart"),
        (Ratio(2.3, 2.3, 2.3), 1, "could not be told apart"),
    ],
)
def test_a_line_says_what_was_measured_and_how_far_it_goes(
    ratio: Ratio, turns: int, said: str
) -> None:
    text = Bf16Gain("amx_bf16", ratio, turns, "resnet18", 64, 2).text
    assert said in text
    assert text.endswith("turns of resnet18, batch 64, 2 threads; amx_bf16)")


def test_nothing_is_measured_without_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bf16, "bf16_units", lambda: "")
    monkeypatch.setattr(bf16, "_measured", None)
    assert bf16_gain() is None


def test_a_network_is_measured_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def counted(contenders: dict[str, object], *rest: object, **more: object) -> object:
        calls.append(list(contenders))
        return in_turn(contenders, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(bf16, "bf16_units", lambda: "made up")
    monkeypatch.setattr(bf16, "in_turn", counted)
    before, state = torch.get_num_threads(), torch.get_rng_state()
    first = bf16_gain(TINY, (1, 8, 8), 10)
    assert first is not None
    assert bf16_gain(TINY, (1, 8, 8), 10) is first
    assert calls == [["fp32", "bf16"]]
    assert (first.units, first.model, first.threads) == ("made up", "cnn", 1)
    assert 4 <= first.batch <= 16
    assert 1 <= first.turns <= 5
    assert 0 < first.ratio.low <= first.ratio.high
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("limit", "count"), [(0.0, 1), (1e9, 4)])
def test_no_repeat_begins_after_the_limit(limit: float, count: int) -> None:
    done: list[str] = []
    contenders = {name: lambda name=name: done.append(name) for name in "ab"}
    times = in_turn(contenders, 4, torch.device("cpu"), limit_s=limit)
    assert len(times.taken["a"]) == len(times.taken["b"]) == count
    assert done == ["a", "b"] * (count + 1)
