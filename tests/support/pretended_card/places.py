"""Where tensors say that they are, where new ones go, and how they get to another place."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from support.pretended_card.card import Stream, card, mark, memory_of, on_card

CUDA = torch.device("cuda:0")
CARD_BYTES = 80 << 30
#: Functions of torch, and methods of tensors, that make new tensors.
FUNCTIONS = ("tensor", "as_tensor", "arange", "empty", "zeros", "ones", "full", "rand", "randn",
             "randint", "randperm", "linspace", "eye", "tril_indices", "triu_indices",
             "empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like",
             "empty_strided")  # fmt: skip
METHODS = ("new_empty", "new_zeros", "new_ones", "new_full", "new_tensor")

_base = torch._C.TensorBase


def factory(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that makes tensors; devices and pinned memory are pretended."""
    name = function.__name__

    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Tensor:
        device, pinned = kwargs.pop("device", None), kwargs.pop("pin_memory", False)
        if device is None and not pinned:
            return function(*args, **kwargs)
        device = torch.device("cpu" if device is None else device)
        if name in ("tensor", "as_tensor"):  # made on the host and sent
            return function(*args, **kwargs).to(device)
        there = device.type == "cuda"
        if there and name in ("empty", "zeros", "ones", "full"):
            sizes = args[0] if args and not isinstance(args[0], int) else args
            if math.prod(size for size in sizes if isinstance(size, int)) > CARD_BYTES:
                raise torch.OutOfMemoryError("CUDA out of memory (pretended).")
        with card().placed(there):
            made = function(*args, device="cpu", **kwargs)
        if pinned:
            mark(made, on_card=False)
        return made

    return make


def send(tensor: Tensor, device: torch.device, soon: bool) -> Tensor:
    """A copy in the other place."""
    if tensor.requires_grad and torch.is_grad_enabled():
        raise NotImplementedError("the pretended card moves no tensors within autograd")
    with torch.no_grad():
        pinned = soon and device.type != "cuda"
        made = torch.empty_like(tensor, device=device, pin_memory=pinned)
        return made.copy_(tensor, non_blocking=soon)


def to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``Tensor.to``."""
    if args and isinstance(args[0], Tensor):
        args = args[0].device, args[0].dtype, *args[1:]
    device, dtype, soon, layout = torch._C._nn._parse_to(*args, **kwargs)
    made = tensor
    if device is not None and (device.type == "cuda") != on_card(tensor):
        made = send(tensor, device, soon)
    if dtype is not None or layout is not None:
        made = _base.to(made, dtype=dtype or made.dtype,
                        memory_format=layout or torch.preserve_format)  # fmt: skip
    return made.clone() if made is tensor and kwargs.get("copy") else made


def cpu(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``Tensor.cpu``."""
    return to(tensor, "cpu")


def cuda(tensor: Tensor, *args: Any, non_blocking: bool = False) -> Tensor:
    """``Tensor.cuda``."""
    return to(tensor, CUDA, non_blocking=non_blocking)


def pin_memory(tensor: Tensor, device: Any = None) -> Tensor:
    """``Tensor.pin_memory``; a data loader calls it from a thread of its own."""
    if on_card(tensor):
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be")
    made = tensor.detach().clone()
    mark(made, on_card=False)
    return made


def is_pinned(tensor: Tensor, device: Any = None) -> bool:
    """``Tensor.is_pinned``."""
    memory = memory_of(tensor)
    return memory is not None and not memory.on_card


def read(tensor: Tensor, what: str) -> Tensor:
    """Notes that the host reads a tensor's memory without an ATen call."""
    memory = memory_of(tensor)
    if memory is not None and not memory.on_card:
        card().touch(card().host, [memory], [], what)
    return tensor


def numpy(tensor: Tensor, **kwargs: Any) -> Any:
    """``Tensor.numpy``."""
    if on_card(tensor):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
    return _base.numpy(read(tensor, "numpy"), **kwargs)


def tolist(tensor: Tensor) -> Any:
    """``Tensor.tolist``."""
    return _base.tolist(read(cpu(tensor), "tolist"))


def record_stream(tensor: Tensor, stream: Stream) -> None:
    """``Tensor.record_stream``: its memory is used again after what the stream does with it."""
    memory = memory_of(tensor)
    if memory is not None:
        memory.home = None


def refuse_pickling(tensor: Tensor, protocol: Any = None) -> Any:
    """``Tensor.__reduce_ex__``; only tensors of the host are pickled anywhere."""
    if on_card(tensor):
        raise NotImplementedError("the pretended card pickles no tensors")
    return _reduce(read(tensor, "pickling"), protocol)


_reduce = torch.Tensor.__reduce_ex__

#: What ``torch.Tensor`` has instead of its own.
REPLACED: dict[str, Any] = {
    "device": property(lambda t: CUDA if on_card(t) else _base.device.__get__(t)),
    "is_cuda": property(on_card),
    "is_cpu": property(lambda t: not on_card(t)),
    "get_device": lambda t: 0 if on_card(t) else -1,
    "record_stream": record_stream,
    "to": to, "cpu": cpu, "cuda": cuda, "pin_memory": pin_memory, "is_pinned": is_pinned,
    "numpy": numpy, "tolist": tolist, "__reduce_ex__": refuse_pickling,
}  # fmt: skip
