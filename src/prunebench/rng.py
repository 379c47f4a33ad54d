"""Named random streams: every draw is a pure function of what it is for.

A stream is a 64-bit key hashed from (seed, dataset, noise, name, epoch, step). Draws for
samples are hashes of (key, sample id), so they depend neither on the device nor on which other
samples are drawn, and a resumed run needs no generator state. No global generator is touched.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's own is arithmetic)."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def mix64(counters: Tensor, key: int | Tensor) -> Tensor:
    """Hashes int64 counters under a key with the SplitMix64 finaliser (Steele et al. 2014).

    Args:
        counters: int64, any shape, any device.
        key: 64-bit key; as a 0-dim int64 tensor where a captured graph must read it anew.

    Returns:
        int64 of the same shape: equal bits on every device.
    """
    if counters.device.type == "cpu" and not isinstance(key, Tensor):
        return _mix64_numpy(counters, key)
    x = (counters + 1).mul_(_GOLDEN).add_(key if isinstance(key, Tensor) else _signed(key))
    x.bitwise_xor_(_shift(x, 30)).mul_(_MIX_1)
    x.bitwise_xor_(_shift(x, 27)).mul_(_MIX_2)
    return x.bitwise_xor_(_shift(x, 31))


def _mix64_numpy(counters: Tensor, key: int) -> Tensor:
    """The same in unsigned arithmetic, which takes numpy half the time."""
    x = counters.numpy().astype(np.uint64)
    shifted = np.empty_like(x)
    np.add(x, np.uint64(1), out=x)
    np.multiply(x, np.uint64(_GOLDEN & _MASK), out=x)
    np.add(x, np.uint64(key & _MASK), out=x)
    for bits, factor in ((30, _MIX_1), (27, _MIX_2), (31, 1)):
        np.right_shift(x, np.uint64(bits), out=shifted)
        np.bitwise_xor(x, shifted, out=x)
        if factor != 1:
            np.multiply(x, np.uint64(factor & _MASK), out=x)
    return torch.from_numpy(x.view(np.int64))


@dataclass(frozen=True)
class Stream:
    """A source of randomness for one purpose.

    ``numpy`` is a stateful generator that lives with this object; ``uniform``, ``bits`` and
    ``permutation`` are pure: the same call gives the same numbers. Use ``child`` for further
    independent draws.
    """

    key: int

    def child(self, name: str, *numbers: int) -> Stream:
        """An independent stream below this one."""
        return Stream(_digest("child", self.key, name, *numbers))

    @cached_property
    def numpy(self) -> np.random.Generator:
        """A numpy generator seeded by this stream; it advances as it is used."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.key)))

    def bits(self, counters: Tensor) -> Tensor:
        """64 random bits per counter (int64 in, int64 out, same shape and device)."""
        return mix64(counters, self.key)

    def uniform(self, shape: int | tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
        """Uniform float64 numbers in [0, 1), equal on every device."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        count = int(np.prod(shape, dtype=np.int64))
        return self.uniform_at(torch.arange(count, device=device)).reshape(shape)

    def uniform_at(self, counters: Tensor) -> Tensor:
        """Uniform float64 in [0, 1) per counter, a function of (stream, counter) alone."""
        return _shift(self.bits(counters), 11).to(torch.float64) * 2.0**-53

    def permutation(self, n: int, device: torch.device | str = "cpu") -> Tensor:
        """A uniformly random permutation of 0..n-1 (int64 [n])."""
        return self.bits(torch.arange(n, device=device)).argsort(stable=True)

    def sample(self, n: int, k: int, device: torch.device | str = "cpu") -> Tensor:
        """k of 0..n-1 without replacement, ascending (int64 [k]); nested in k.

        Raises:
            ValueError: k is not in 0..n.
        """
        if not 0 <= k <= n:
            raise ValueError(f"cannot draw {k} of {n} without replacement")
        if k in (0, n):
            return torch.arange(k, device=device)
        if torch.device(device).type == "cpu":  # several times faster than a permutation
            drawn = self.bits(torch.arange(n)).numpy()
            chosen = torch.from_numpy((drawn <= np.partition(drawn, k - 1)[k - 1]).nonzero()[0])
            if len(chosen) == k:  # no equal 64-bit draws at the cut
                return chosen
        return self.permutation(n, device)[:k].sort().values


def _digest(*parts: object) -> int:
    text = "\x1f".join(f"{type(p).__name__}:{p}" for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Streams:
    """The streams of one run. Salted with dataset and noise, so that seed 0 of two noise
    settings is independent while all methods and ratios of one setting are paired."""

    seed: int
    dataset: str
    noise: str

    def get(self, name: str, epoch: int = 0, step: int = 0) -> Stream:
        """The stream for a purpose; equal for every method and ratio of one setting."""
        return Stream(_digest(self.seed, self.dataset, self.noise, name, epoch, step))
