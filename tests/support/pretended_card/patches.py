"""What is replaced in torch while the card is pretended, all of it put back at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import torch

from support.pretended_card import places
from support.pretended_card.card import Card, Event, Stream, StreamContext
from support.pretended_card.draws import Generator
from support.pretended_card.graphs import CUDAGraph, graph
from support.pretended_card.operations import Operations

_MISSING = object()
_autocast = torch.autocast
MODES = {0: "default", 1: "warn", 2: "error"}


class Autocast(_autocast):
    """``torch.autocast``; the card's is that of the host."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


class Device:
    """``torch.cuda.device``: there is one."""

    def __init__(self, device: Any = None) -> None:
        self.idx = 0

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


def _replacements(card: Card) -> Iterator[tuple[Any, str, Any]]:
    """Owner, name and new value of all that is replaced."""
    own = card.generator
    properties = SimpleNamespace(name="pretended card", total_memory=places.CARD_BYTES, major=9,
                                 minor=0, multi_processor_count=132)  # fmt: skip

    def always(value: Any) -> Callable[..., Any]:
        return lambda *args, **kwargs: value

    def deterministic(mode: bool, *, warn_only: bool = False) -> None:
        torch._C._set_deterministic_algorithms(mode, warn_only=warn_only)

    def synchronize(device: Any = None) -> None:
        card.wait("torch.cuda.synchronize", *card.streams)

    in_cuda: dict[str, Any] = {
        "is_available": always(True), "is_initialized": always(True), "device_count": always(1),
        "current_device": always(0), "set_device": always(None), "init": always(None),
        "get_device_name": always(properties.name), "get_device_capability": always((9, 0)),
        "get_device_properties": always(properties), "is_bf16_supported": always(True),
        "mem_get_info": always((places.CARD_BYTES, places.CARD_BYTES)),
        "memory_allocated": always(0), "max_memory_allocated": always(0),
        "memory_reserved": always(0), "max_memory_reserved": always(0),
        "reset_peak_memory_stats": always(None), "empty_cache": always(None),
        "synchronize": synchronize, "Stream": Stream, "Event": Event, "CUDAGraph": CUDAGraph,
        "graph": graph, "stream": StreamContext, "StreamContext": StreamContext, "device": Device,
        "current_stream": lambda device=None: card.stream,
        "default_stream": always(card.default),
        "set_stream": lambda stream: setattr(card, "stream", stream),
        "is_current_stream_capturing": lambda: card.capturing is not None,
        "default_generators": (own,),
        "manual_seed": own.manual_seed, "manual_seed_all": own.manual_seed,
        "get_rng_state": lambda device=None: own.get_state(),
        "set_rng_state": lambda state, device=None: own.set_state(state),
        "set_sync_debug_mode": lambda mode: setattr(card, "sync_mode", MODES.get(mode, mode)),
        "get_sync_debug_mode": lambda: card.sync_mode,
    }  # fmt: skip
    for name, value in in_cuda.items():
        yield torch.cuda, name, value
    in_accelerator = {
        "is_available": always(True), "current_accelerator": always(torch.device("cuda")),
        "device_count": always(1), "current_device_index": always(0),
        "set_device_index": always(None), "current_stream": lambda device=None: card.stream,
    }  # fmt: skip
    for name, value in in_accelerator.items():
        yield torch.accelerator, name, value
    for name in places.FUNCTIONS:
        yield torch, name, places.factory(getattr(torch, name))
    for name in places.METHODS:
        yield torch.Tensor, name, places.factory(getattr(torch.Tensor, name))
    for name, value in places.REPLACED.items():
        yield torch.Tensor, name, value
    yield torch, "Generator", Generator
    yield torch, "autocast", Autocast
    yield torch, "use_deterministic_algorithms", deterministic  # torch's imports the compiler
    yield torch.backends.cudnn, "version", always(91000)


@contextmanager
def pretended_card() -> Iterator[Card]:
    """A machine with one card.

    Yields:
        The card, with what was found.
    """
    assert Card.current is None, "a card is pretended already"
    card = Card(Generator("cuda"))
    with ExitStack() as stack:
        stack.enter_context(_settings_kept())
        stack.callback(setattr, Card, "current", None)
        Card.current = card
        for owner, name, value in list(_replacements(card)):
            stack.callback(_put_back, owner, name, vars(owner).get(name, _MISSING))
            setattr(owner, name, value)
        stack.enter_context(Operations(card))
        yield card


def _put_back(owner: Any, name: str, value: Any) -> None:
    if value is _MISSING:
        delattr(owner, name)
    else:
        setattr(owner, name, value)


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Puts back the settings of the process that choose algorithms."""
    places: list[tuple[Any, str]] = [
        *((torch.backends.cudnn, name) for name in ("benchmark", "deterministic", "allow_tf32")),
        (torch.utils.deterministic, "fill_uninitialized_memory"),
    ]
    values = [getattr(owner, name) for owner, name in places]
    deterministic = torch.are_deterministic_algorithms_enabled()
    products = torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        for (owner, name), value in zip(places, values, strict=True):
            setattr(owner, name, value)
        torch._C._set_deterministic_algorithms(deterministic)
        torch.set_float32_matmul_precision(products)
