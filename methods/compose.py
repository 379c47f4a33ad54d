"""Method names: registered ones, ``base+align`` and ``name:ARGUMENT``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prunebench.errors import InputError, nearest
from prunebench.methods.align import ALIGN_CARD, ALIGN_OPTIONS, ALIGN_VERSION, Alignment
from prunebench.methods.base import Card, Pruner, ScoreBasedPruner
from prunebench.options import Option, Value
from prunebench.registry import METHODS, Entry, UnknownName

__all__ = ["MethodInfo", "list_methods", "resolve_method"]

SUFFIX = "+align"


@dataclass(frozen=True)
class MethodInfo:
    """What a method name means.

    Attributes:
        name: Name without an argument.
        version: ``"1"``, or ``"1+1"`` for a base and its alignment scorer.
        target: The registered class.
        options: All options, those of the alignment scorer included.
        card: Description.
        fixed: Options that the name itself sets (``scores:FILE``).
        aligned: Whether the alignment scorer is in place.
    """

    name: str
    version: str
    target: type[Pruner]
    options: Mapping[str, Option]
    card: Card
    fixed: Mapping[str, Value] = field(default_factory=dict)
    aligned: bool = False

    @property
    def kind(self) -> str:
        """``static``, ``dynamic`` or ``batch``."""
        return self.target.kind

    @property
    def clean_data(self) -> str:
        """What clean labels the method uses; empty for none."""
        own = self.target.clean_data
        return ", ".join(part for part in (own, "reference set" * self.aligned) if part)

    @property
    def oracle(self) -> bool:
        """Whether it reads clean labels of the training split."""
        return self.target.oracle

    @property
    def randomised(self) -> bool:
        """Whether two streams may keep different samples beyond ties."""
        return self.target.randomised

    @property
    def zero_is_full(self) -> bool:
        """Whether ratio 0 equals full training bit for bit."""
        return self.target.zero_is_full

    @property
    def ratios(self) -> str:
        """``any`` or ``zero``."""
        return self.target.ratios

    def build(self, params: Mapping[str, Any] | None = None) -> Pruner:
        """A fresh pruner.

        Raises:
            InputError: An unknown option or a value out of range.
        """
        given = {**self.fixed, **(params or {})}
        for name in given:
            if name not in self.options:
                raise InputError(
                    f"unknown option {name!r}", where=self.name,
                    accepted=nearest(name, self.options) or "no options",
                )  # fmt: skip
        if not self.aligned:
            return self.target(**given)
        own = {k: v for k, v in given.items() if k not in ALIGN_OPTIONS}
        pruner = self.target(**own)
        assert isinstance(pruner, ScoreBasedPruner)
        scorer = Alignment(pruner.scorer, **{k: given[k] for k in given if k in ALIGN_OPTIONS})
        pruner.use(scorer)
        pruner.params = {**pruner.params, **scorer.params}
        pruner.name = self.name  # type: ignore[misc]
        clean = scorer.params["align.reference"] == "clean"
        pruner.clean_data = self.clean_data if clean else self.target.clean_data  # type: ignore[misc]
        return pruner


def resolve_method(name: str) -> MethodInfo:
    """Finds a method by the name a user types.

    Args:
        name: A registered name, ``base+align``, or ``name:ARGUMENT`` (``scores:FILE``).

    Raises:
        UnknownName: Nothing has that name; the line holds the nearest names.
        InputError: The base takes no alignment scorer, or the method takes no argument.
    """
    name, colon, argument = name.partition(":")
    aligned = name.endswith(SUFFIX)
    try:
        info = _info(METHODS.get(name.removesuffix(SUFFIX)))
    except UnknownName:
        known = [known.name for known in list_methods()]
        raise UnknownName(f"unknown method {name!r}", accepted=nearest(name, known)) from None
    if aligned:
        info = _aligned(info)
    if not colon:
        return info
    if not info.target.argument or not argument:
        raise InputError(
            f"{name!r} takes {'an' if info.target.argument else 'no'} argument after ':'",
            where="method",
            accepted=f"{name}:{info.target.argument.upper()}" if info.target.argument else name,
        )
    return replace(info, fixed={info.target.argument: argument})


def _info(entry: Entry[Any]) -> MethodInfo:
    target: type[Pruner] = entry.target
    return MethodInfo(entry.name, str(entry.version), target, target.options, target.card)


def _aligned(base: MethodInfo) -> MethodInfo:
    """The base with the alignment scorer in place of its own."""
    if not (isinstance(base.target, type) and issubclass(base.target, ScoreBasedPruner)):
        how = {"static": "chooses one subset before training", "batch": "selects by batch"}
        raise InputError(
            f"align needs a score-based dynamic pruner; {base.name} "
            + how.get(base.kind, "prunes without scores"),
            where=f"{base.name}{SUFFIX}",
            accepted=", ".join(m.name for m in list_methods() if m.aligned),
        )
    own = ALIGN_CARD
    card = replace(
        base.card,
        title=f"{base.card.title} + {own.title}" if base.card.title else own.title,
        paper="; ".join(p for p in (own.paper, base.card.paper) if p),
        cost=own.cost if base.card.cost == "none" else f"{base.card.cost}; {own.cost}",
        side="of the alignment score: " + (base.card.side or own.side),
    )
    return replace(
        base,
        name=base.name + SUFFIX,
        version=f"{base.version}+{ALIGN_VERSION}",
        options={**base.options, **ALIGN_OPTIONS},
        card=card,
        aligned=True,
    )


def list_methods() -> list[MethodInfo]:
    """Every method, each score-based one followed by its ``+align`` variant."""
    found: list[MethodInfo] = []
    for entry in METHODS:
        info = _info(entry)
        found.append(info)
        if isinstance(info.target, type) and issubclass(info.target, ScoreBasedPruner):
            found.append(_aligned(info))
    return found
