"""Recording as a CUDA graph, against a card that only notes what it is told."""

from __future__ import annotations

import gc
import weakref
from contextlib import contextmanager

import pytest
import torch

from prunebench.bench.train.capture import half_way
from prunebench.bench.train.capture.graph import WARM, CudaCapture
from prunebench.bench.train.interleaved import StreamContext


class Graph:
    """``torch.cuda.CUDAGraph``."""

    dropped = False

    def reset(self) -> None:
        self.dropped = True


class Generator:
    """A generator: values, and a state that captures mark and generators may share."""

    def __init__(self, device: str = "cuda:0") -> None:
        self.device, self.values, self.state = device, 0, {"capturing": False}

    def get_state(self) -> int:
        return self.values

    def set_state(self, values: int) -> None:
        self.values = values

    def graphsafe_get_state(self) -> Generator:
        found = Generator()
        found.graphsafe_set_state(self)
        return found

    def graphsafe_set_state(self, other: Generator) -> None:
        self.values, self.state = other.values, other.state


class Card:
    """Streams by name, in which order what happened, and captures as torch 2.11 ends them: where
    ending one raises, the stream that it ran on stays the current one, and the generator marked."""

    def __init__(self) -> None:
        self.current, self.log, self.mode = "default", [], "default"
        self.graphs: list[Graph] = []
        self.illegal = False  # what the step did ends the capture
        self.generator = Generator()
        self.generator.values = 7

    @contextmanager
    def stream(self, name):
        before, self.current = self.current, name
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph, stream, capture_error_mode):
        before, self.current = self.current, stream
        self.generator.state["capturing"] = True
        try:
            yield
        finally:
            if self.illegal:
                raise RuntimeError("operation failed due to a previous error during capture")
            self.current, self.generator.state["capturing"] = before, False

    def make_graph(self) -> Graph:
        self.graphs.append(Graph())
        return self.graphs[-1]


class Stream(str):
    """A stream that is its name."""

    card: Card
    device_index = 99

    def wait_stream(self, other) -> None:
        self.card.log.append(f"{self} waits for {other}")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    Stream.card = card
    side, default = Stream("side"), Stream("default")
    card.current = default
    fakes = {
        "device": lambda device: card.stream(card.current), "Stream": lambda *device: side,
        "current_stream": lambda: card.current, "default_stream": lambda *device: default,
        "current_device": lambda: 99, "default_generators": {99: card.generator},
        "stream": card.stream, "graph": card.graph,
        "CUDAGraph": card.make_graph, "set_stream": lambda s: setattr(card, "current", s),
        "set_sync_debug_mode": lambda mode: setattr(card, "mode", mode),
    }  # fmt: skip
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(half_way._State, "noted", False)
    return card


def record(card: Card, body) -> tuple[CudaCapture, BaseException | None]:
    """Records a step that notes where and how it ran and then does as the test says."""
    calls = []

    def step() -> None:
        calls.append(len(calls))
        card.log.append(f"step on {card.current}, {card.mode}")
        body(calls[-1])

    capture = CudaCapture(torch.device("cuda"))
    try:
        capture.record(step, lambda: None)
    except (RuntimeError, torch.OutOfMemoryError) as error:
        return capture, error
    return capture, None


def test_the_last_step_of_the_warm_up_may_not_wait_and_the_caller_comes_after_it(card):
    capture, error = record(card, lambda call: None)
    assert error is None
    assert capture.graph is card.graphs[0]
    assert card.log == [
        "side waits for default",
        *["step on side, default"] * (WARM - 1),
        "step on side, error",
        "default waits for side",
        "step on side, default",
    ]
    assert (card.current, card.mode, half_way.noted()) == ("default", "default", False)


@pytest.mark.parametrize("call", range(WARM))
def test_where_the_warm_up_raises_the_caller_still_comes_after_it(card, call):
    def body(number: int) -> None:
        if number == call:
            raise RuntimeError("called a synchronizing CUDA operation")

    _, error = record(card, body)
    assert "synchronizing" in str(error)
    assert card.log[-1] == "default waits for side"
    assert (card.current, card.mode) == ("default", "default")
    assert card.graphs == []  # refused before a capture began
    assert not half_way.noted()


@pytest.mark.parametrize("kind", [RuntimeError, torch.OutOfMemoryError])
def test_a_capture_that_cannot_be_ended_is_dropped_and_noted(card, kind):
    def body(number: int) -> None:
        if number == WARM:
            card.illegal = True
            raise kind("operation not permitted when stream is capturing")

    capture, error = record(card, body)
    assert type(error) is kind  # not what ending the capture said of it
    assert "not permitted" in str(error)
    assert card.current == "default"
    assert card.graphs[0].dropped
    assert capture.graph is None
    assert half_way.noted()
    assert (card.generator.values, card.generator.state) == (7, {"capturing": False})


def test_a_capture_that_ends_as_it_should_after_an_error_harms_nothing(card):
    def body(number: int) -> None:
        if number == WARM:
            raise torch.OutOfMemoryError("CUDA out of memory")

    _, error = record(card, body)
    assert "out of memory" in str(error)
    assert card.current == "default"
    assert card.graphs[0].dropped
    assert not half_way.noted()


def test_a_refusal_leaves_no_cycle(card):
    def body(number: int) -> None:
        card.illegal = number == WARM

    gc.collect()
    gc.disable()
    try:
        _, error = record(card, body)
        assert "previous error" in str(error)
        graph = weakref.ref(card.graphs.pop())
        assert graph() is not None  # the traceback has it
        del error
        assert graph() is None
    finally:
        gc.enable()


def test_a_lane_captures_on_its_own_stream(card):
    card.current = Stream("lane")
    record(card, lambda call: None)
    assert {line.split(",")[0] for line in card.log if line.startswith("step")} == {"step on lane"}
    assert card.current == "lane"


def test_after_a_refusal_a_lane_goes_on_with_a_generator_that_no_capture_has(card):
    def body(number: int) -> None:
        card.illegal = number == WARM

    lane = StreamContext(torch.device("cuda"))
    with lane.entered():
        assert record(card, body)[1] is not None
    outside = card.generator.state
    with lane.entered():
        assert card.generator.state == {"capturing": False}
        assert card.generator.state is not outside
    assert card.generator.state is outside
    assert card.generator.values == 7
