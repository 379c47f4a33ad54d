"""Corruptions as users name them: ``gaussian-noise:0.3``, a kind and the share of the images."""

from __future__ import annotations

from dataclasses import dataclass

from prunebench.datasets.kind_and_number import kind_and_number
from prunebench.errors import InputError, nearest, shown
from prunebench.record import NONE, USUAL_SEVERITY

#: What a single image can undergo.
SINGLE = ("gaussian-noise", "gaussian-blur", "occlusion", "jpeg", "fog", "polygon")
#: One of them for each image, by draw.
MIXED = "mixed"
KINDS = (*SINGLE, MIXED)
SEVERITIES = range(1, 6)


@dataclass(frozen=True)
class Corruption:
    """Which images are corrupted, and how.

    Attributes:
        kind: One of ``KINDS``.
        share: Of the training images, above 0 and up to 1.
        severity: 1 to 5.

    Raises:
        InputError: An unknown kind or severity, or a share out of range.
    """

    kind: str
    share: float
    severity: int = USUAL_SEVERITY

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"unknown corruption {self.kind!r}",
                where="corrupt",
                accepted=f"none or KIND:SHARE; {nearest(self.kind, (NONE, *KINDS))}",
            )
        if not 0 < self.share <= 1:
            raise InputError(
                f"share {self.share:g} is out of range",
                where=f"corrupt {self.kind}",
                accepted=f"a number above 0 and up to 1, as in {self.kind}:0.3",
            )
        if type(self.severity) is not int or self.severity not in SEVERITIES:
            raise InputError(
                f"{shown(self.severity)} is not accepted",
                where="corrupt_params: severity",
                accepted="1, 2, 3, 4 or 5",
            )
        object.__setattr__(self, "share", float(self.share))

    @property
    def name(self) -> str:
        """Canonical text without the severity: ``gaussian-noise:0.3``."""
        return f"{self.kind}:{repr(self.share).removesuffix('.0')}"


def parse_corruption(text: str, severity: int = USUAL_SEVERITY) -> Corruption | None:
    """Reads ``none`` or ``KIND:SHARE``; None for none.

    Raises:
        InputError: An unknown kind or severity, a missing share, or one out of range.
    """
    if text.strip() == NONE:
        return None
    accepted = "a number above 0 and up to 1, as in KIND:0.3"
    found = kind_and_number(text, KINDS, where="corrupt", number="share", accepted=accepted)
    return Corruption(*found, severity)
