"""Every ATen call: where its tensors are, whether the host waits, what it reads and writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from support.pretended_card.card import Card, Memory, mark, memory_of
from support.pretended_card.draws import drawn
from support.pretended_card.graphs import tensors_of

#: Operators whose result's size, or whose course, the host must read from the card.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim",
           "unique_consecutive", "bincount", "equal", "is_nonzero", "histc", "_linalg_check_errors",
           "repeat_interleave"}  # fmt: skip
#: Operators that take a 0-dim tensor of the host beside tensors of the card.
SCALARS = {"add", "sub", "mul", "div", "rsub", "pow", "eq", "ne", "lt", "le", "gt", "ge",
           "maximum", "minimum", "where", "masked_fill", "fill", "floor_divide", "remainder",
           "fmod", "atan2", "xlogy", "bitwise_and", "bitwise_or", "bitwise_xor", "logical_and",
           "logical_or", "_foreach_mul", "_foreach_div", "_foreach_add"}  # fmt: skip
#: Operators that have no deterministic form on a card, in some torch from 2.11 on
#: (``alertNotDeterministic`` in ATen/native/cuda).
UNDETERMINED = {"_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward",
                "adaptive_max_pool2d_backward", "adaptive_max_pool3d_backward",
                "avg_pool3d_backward", "max_pool3d_with_indices_backward",
                "fractional_max_pool2d_backward", "grid_sampler_2d_backward",
                "reflection_pad1d_backward", "reflection_pad2d_backward",
                "replication_pad2d_backward", "upsample_bilinear2d_backward",
                "upsample_bicubic2d_backward", "_upsample_bilinear2d_aa_backward",
                "nll_loss2d_forward", "histc", "put_", "kthvalue"}  # fmt: skip
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "addmv", "mv", "dot"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class DeviceMix(RuntimeError):
    """An operation on tensors of the card and of the host."""


@dataclass(frozen=True, slots=True)
class Operator:
    """What is known of an operator before it is called.

    Attributes:
        name: Without namespace and overload.
        bare: Without the underscore of a form in place.
        view: Whether it touches no data.
        shapes: Whether it only looks at shapes.
        written: Places and names of the arguments that it writes.
        copies: Whether it may go from one device to another.
        draws: Whether it draws random numbers.
        watched: Whether it may wait, or have no deterministic form.
    """

    name: str
    bare: str
    view: bool
    shapes: bool
    written: frozenset[int | str]
    copies: bool
    draws: bool
    watched: bool


@cache
def operator_of(func: OpOverload) -> Operator:
    """Looks an operator up."""
    name = func._schema.name.split("::")[1]
    bare = name.rstrip("_")
    written: set[int | str] = set()
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            written |= {place, argument.name}
    if name == "native_batch_norm":  # its schema says nothing of the running statistics
        written |= {3, 4}
    watched = WAITING | UNDETERMINED | PRODUCTS | INDEXING | {"cumsum", "cumsum_", "median"}
    return Operator(
        name, bare,
        view=func.is_view or name in ("detach", "alias", "lift_fresh"),
        shapes=bare.startswith("new_") or bare.endswith("_like"),
        written=frozenset(written),
        copies=name in ("copy_", "_to_copy", "set_"),
        draws=torch.Tag.nondeterministic_seeded in func.tags,
        watched=name in watched or bare in watched,
    )  # fmt: skip


class Operations(TorchDispatchMode):
    """Looks at every call while it is entered.

    Args:
        card: Where it notes what it finds.
    """

    def __init__(self, card: Card) -> None:
        super().__init__()
        self.card = card

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing is compiled here, and every call would pay for it."""
        return False

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """One call."""
        card, operator, kwargs = self.card, operator_of(func), kwargs or {}
        if card.placing is False:
            return func(*args, **kwargs)
        reads: dict[Memory, None] = {}
        writes: dict[Memory, None] = {}
        there: list[Tensor] = []
        here: list[Tensor] = []
        written = operator.written
        for values in (enumerate(args), kwargs.items()) if kwargs else (enumerate(args),):
            for place, value in values:
                if isinstance(value, Tensor):
                    tensors = (value,)
                elif isinstance(value, (list, tuple)):
                    tensors = tensors_of(value)
                else:
                    continue
                for tensor in tensors:
                    memory = getattr(tensor.untyped_storage(), "_pretended", None)
                    if memory is None:
                        here.append(tensor)
                        continue
                    (there if memory.on_card else here).append(tensor)
                    (writes if place in written else reads)[memory] = None
        if not there and not card.placing:
            if (reads or writes) and not operator.view:  # pinned memory
                card.touch(card.host, reads, writes, operator.name)
            return func(*args, **kwargs)

        waited = bool(here and there) and self._mixed(operator, args, kwargs, there, here)
        if operator.watched:
            waited = self._watched(func, operator, args, kwargs) or waited
        call: Callable[..., Any] = func
        if operator.draws:
            call = partial(drawn, card.generator.state, func)
            args, kwargs = (args, kwargs), {}
        made = call(*args, **kwargs)
        results = [made] if isinstance(made, Tensor) else tensors_of(made)
        if operator.shapes:
            reads.clear()
        if not (operator.copies and here):
            for tensor in results:
                memory = mark(tensor, True)
                if memory not in reads:
                    writes[memory] = None
        if operator.view:
            return made
        card.calls += 1
        graph = card.capturing
        if graph is None:
            card.touch(card.stream, reads, writes, operator.name)
            if waited:
                card.host.learn(card.stream.now())
        else:
            graph.reads.update(reads)
            graph.writes.update(writes)
            graph.calls.append((call, args, kwargs, results))
        return made

    def _mixed(
        self, operator: Operator, args: Any, kwargs: Any, there: list[Tensor], here: list[Tensor]
    ) -> bool:
        """Lets through what CUDA lets through; returns whether the host waits.

        Raises:
            DeviceMix: CUDA would raise.
        """
        name, first = operator.name, args[0] if args else None
        if name == "copy_":
            up = memory_of(here[0]) is None if first is there[0] else False
            soon = bool(kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
            pinned = memory_of(here[0]) is not None
            if not (soon and (pinned or (up and self.card.capturing is None))):
                self.card.wait("copy between the devices")
                return True
            return False
        if operator.copies:
            return False
        if name in INDEXING and first is there[0]:
            values = args[2:3]
            if all(value is not here[0] or value.dim() == 0 for value in values):
                if any(tensor is not values[0] for tensor in here) if values else True:
                    self.card.wait("indices of the host into a tensor of the card")
                    return True
                return False
        elif operator.bare in SCALARS and all(tensor.dim() == 0 for tensor in here):
            return False
        shapes = [[tuple(tensor.shape) for tensor in group] for group in (there, here)]
        raise self.card.refuse(
            f"Expected all tensors to be on the same device: {name} of {shapes[0]} on cuda:0 and "
            f"{shapes[1]} on cpu",
            DeviceMix,
        )

    def _watched(self, func: OpOverload, operator: Operator, args: Any, kwargs: Any) -> bool:
        """Refuses what has no deterministic form where one is wanted; returns whether the host
        waits."""
        card, name, bare = self.card, operator.name, operator.bare
        if name in PRODUCTS and card.workspace is None:
            card.workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG") in (":4096:8", ":16:8")
        if torch.are_deterministic_algorithms_enabled() and (
            name in UNDETERMINED
            or (bare == "cumsum" and args[0].is_floating_point())  # until torch 2.12
            or (name == "median" and func._overloadname == "dim")
            or (name == "bincount" and len(args) > 1 and args[1] is not None)
            or (name in PRODUCTS and not card.workspace)
        ):
            raise card.refuse(
                f"{name} does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True)'"
                + (" (CUBLAS_WORKSPACE_CONFIG)" if name in PRODUCTS else "")
            )
        waits = bare in WAITING and kwargs.get("output_size") is None
        if name in INDEXING:
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            fills = len(args) > 2 and args[2].numel() == 1 and len(masks) == len(args[1]) == 1
            waits = bool(masks) and not fills  # one number into a mask is a masked_fill
        if waits:
            card.wait(str(func))
        return waits
