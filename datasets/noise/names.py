"""Noise settings as users name them: ``symmetric:0.4``, ``real:worst``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prunebench.datasets.kind_and_number import kind_and_number
from prunebench.datasets.noise.rules import ALIASES, RULES
from prunebench.errors import InputError, nearest
from prunebench.record import OPENSET

#: Kinds that read or replace the images.
BY_INPUT = ("instance", OPENSET)
KINDS = ("clean", "real", "asymmetric", *ALIASES, *RULES, *BY_INPUT)


@dataclass(frozen=True)
class NoiseSpec:
    """A noise setting as the user names it.

    Attributes:
        kind: ``clean``, ``real``, ``asymmetric``, ``pairflip``, ``instance``,
            ``openset`` or a rule id; the user's word.
        rate: In [0, 1); 0 for ``clean`` and ``real``.
        variant: Which human labels, for ``real`` only; empty means the only one there is.

    Raises:
        InputError: An unknown kind, a rate out of range, or a part that the kind does not take.
    """

    kind: str
    rate: float = 0.0
    variant: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"unknown noise {self.kind!r}", where="noise", accepted=nearest(self.kind, KINDS)
            )
        if not 0 <= self.rate < 1:
            raise InputError(
                f"rate {self.rate!r} is out of range",
                where=f"noise {self.kind}",
                accepted=f"a number from 0 to below 1, as in {self.kind}:0.4",
            )
        if self.kind in ("clean", "real") and self.rate:
            raise InputError(f"{self.kind} takes no rate", where="noise", accepted=self.kind)
        if self.kind != "real" and self.variant:
            raise InputError(f"{self.kind} has no variant {self.variant!r}", where="noise")
        object.__setattr__(self, "rate", abs(float(self.rate)))

    @property
    def name(self) -> str:
        """Canonical text, which ``parse_noise`` reads back: ``symmetric:0.4``."""
        if self.kind == "clean":
            return "clean"
        if self.kind == "real":
            return f"real:{self.variant}" if self.variant else "real"
        return f"{self.kind}:{repr(self.rate).removesuffix('.0')}"

    def __str__(self) -> str:
        return self.name


def parse_noise(text: str) -> NoiseSpec:
    """Reads a noise setting: ``clean``, ``KIND:RATE``, ``real`` or ``real:VARIANT``.

    Raises:
        InputError: An unknown kind, a missing rate, a rate that is no number in [0, 1), or a
            suffix that the kind does not take.
    """
    kind, colon, rest = text.strip().partition(":")
    if kind not in KINDS or kind == "clean":
        if colon and kind == "clean":
            raise InputError(f"clean takes no rate ({text!r})", where="noise", accepted="clean")
        return NoiseSpec(kind)
    if kind == "real":
        if colon and not rest:
            raise InputError(
                f"no variant after the colon in {text!r}", where="noise", accepted="real:VARIANT"
            )
        return NoiseSpec(kind, variant=rest)
    accepted = "a number from 0 to below 1, as in KIND:0.4"
    return NoiseSpec(*kind_and_number(text, KINDS, where="noise", number="rate", accepted=accepted))


def real_rule(spec: NoiseSpec, known: Iterable[str]) -> str:
    """The rule id of a ``real`` noise setting.

    Args:
        spec: The setting.
        known: Names of the human labels there are; the empty name is plain ``real``.

    Raises:
        InputError: No such labels, or several and none named.
    """
    names = sorted(known)
    if not names:
        raise InputError(
            "this data set has no labels with real noise",
            where=f"noise {spec}",
            accepted="clean, symmetric:RATE, asymmetric:RATE, pairflip:RATE",
        )
    variant = spec.variant or (names[0] if len(names) == 1 else "")
    if variant not in names:
        said = f"unknown variant {variant!r}" if variant else "real needs a variant here"
        accepted = ", ".join(f"real:{v}" if v else "real" for v in names)
        raise InputError(said, where=f"noise {spec}", accepted=accepted)
    return f"real:{variant}" if variant else "real"
