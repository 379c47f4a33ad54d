"""Method names: registered ones, ``base+align``, ``base+bls``, ``score@sampler`` and
``name:ARGUMENT``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prunebench.errors import InputError, nearest
from prunebench.methods.base import (
    Card,
    Pruner,
    Sampler,
    ScoreBasedPruner,
    ScorePruner,
)
from prunebench.methods.score_pruner import Sampled
from prunebench.methods.suffixes import SUFFIXES, Suffix
from prunebench.options import Option, Value
from prunebench.registry import ALIGN, METHODS, SAMPLERS, Entry, UnknownName, split_suffix

__all__ = ["MethodInfo", "list_methods", "resolve_method"]


@dataclass(frozen=True)
class MethodInfo:
    """What a method name means.

    Attributes:
        name: Name without an argument.
        version: ``"1"``; ``"1+1"`` for a base and the scorer of its suffix, ``"1@1"`` for a score
            and its sampler.
        target: The registered class.
        options: All options, those of the suffix's scorer or of the sampler included.
        card: Description.
        fixed: Options that the name itself sets (``scores:FILE``).
        suffix: Whose scorer stands in place of the method's own; None for its own.
        sampler: Class of the sampler that ``score@sampler`` names.
    """

    name: str
    version: str
    target: type[Pruner]
    options: Mapping[str, Option]
    card: Card
    fixed: Mapping[str, Value] = field(default_factory=dict)
    suffix: Suffix | None = None
    sampler: type[Sampler] | None = None

    @property
    def aligned(self) -> bool:
        """Whether the alignment scorer is in place."""
        return self.suffix is SUFFIXES[ALIGN]

    @property
    def prefix(self) -> str:
        """What the names of the sampler's options begin with."""
        return self.name.partition("@")[2] + "."

    @property
    def kind(self) -> str:
        """``static``, ``dynamic`` or ``batch``."""
        return self.target.kind

    @property
    def clean_data(self) -> str:
        """What clean labels the method uses; empty for none."""
        return self._clean_data(self.suffix.clean_data if self.suffix is not None else "")

    def _clean_data(self, of_scorer: str) -> str:
        return ", ".join(part for part in (self.target.clean_data, of_scorer) if part)

    @property
    def oracle(self) -> bool:
        """Whether it reads clean labels of the training split."""
        return self.target.oracle

    @property
    def randomised(self) -> bool:
        """Whether two streams may keep different samples beyond ties."""
        drawn = self.sampler is not None and self.sampler.randomised
        return self.target.randomised or drawn

    @property
    def zero_is_full(self) -> bool:
        """Whether ratio 0 equals full training bit for bit."""
        return self.target.zero_is_full

    @property
    def trains_reference(self) -> bool:
        """Whether the clean reference set joins the training split."""
        return self.target.trains_reference

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
        if self.sampler is not None:
            start = self.prefix
            inner = {k.removeprefix(start): v for k, v in given.items() if k.startswith(start)}
            score = self.target(**{k: v for k, v in given.items() if not k.startswith(start)})
            assert isinstance(score, ScorePruner)
            return Sampled(score, self.sampler(**inner), self.name)
        if self.suffix is None:
            return self.target(**given)
        if given.get("align.finish") == "high" and "delta" not in self.options:
            raise InputError(
                f"'high' needs a method with a last phase (option delta), which {self.name} lacks",
                where=f"{self.name}: align.finish", accepted="all",
            )  # fmt: skip
        table = self.suffix.options
        pruner = self.target(**{k: v for k, v in given.items() if k not in table})
        assert isinstance(pruner, ScoreBasedPruner)
        chosen = {k: v for k, v in given.items() if k in table}
        scorer = self.suffix.scorer(pruner.scorer, **chosen)
        pruner.use(scorer)
        pruner.params = {**pruner.params, **scorer.params}
        pruner.name = self.name  # type: ignore[misc]
        pruner.clean_data = self._clean_data(scorer.clean_data)  # type: ignore[misc]
        return pruner

    def shortest(self, options: Mapping[str, Value]) -> tuple[MethodInfo, dict[str, Value]]:
        """The same method under its registered name, where it has one: ``moderate`` for
        ``moderate@window``, and ``dual-beta`` for ``dual@beta``.

        Args:
            options: All of them, as ``options.resolve`` gives them.

        Returns:
            The method and all its options; both unchanged where an option of the sampler has no
            place in a registered method.
        """
        own = None if self.sampler is None else _published(self)
        if self.sampler is None or own is None:
            return self, dict(options)
        short = {name: option.default for name, option in own.options.items()}
        for name, value in options.items():
            plain = name.removeprefix(self.prefix)
            if plain in own.options and (name == plain or plain not in self.options):
                short[plain] = value
            elif value != self.options[name].default:
                return self, dict(options)
        return replace(own, fixed=self.fixed), short


def resolve_method(name: str) -> MethodInfo:
    """Finds a method by the name a user types.

    Args:
        name: A registered name, ``base+align``, ``base+bls``, ``score@sampler``, or
            ``name:ARGUMENT`` (``scores:FILE``, ``scores@strata:FILE``).

    Raises:
        UnknownName: Nothing has that name; the line holds the nearest names.
        InputError: The base takes no scorer, two are named, the method has no score for a sampler,
            or it takes no argument.
    """
    name, colon, argument = name.partition(":")
    base, sampled, sampler = name.partition("@")
    plain, suffix = split_suffix(base)
    inner, other = split_suffix(plain)
    if other and other != suffix:
        raise InputError(
            f"{base!r} names two scores", where="method",
            accepted=f"one of {inner}{other} and {inner}{suffix}",
        )  # fmt: skip
    try:
        info = _info(METHODS.get(plain))
    except UnknownName:
        known = [known.name for known in list_methods()]
        raise UnknownName(f"unknown method {base!r}", accepted=nearest(base, known)) from None
    if suffix:
        info = _with_score(info, SUFFIXES[suffix])
    if sampled:
        info = _sampled(info, sampler)
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


def takes_scorers(target: Any) -> bool:
    """Whether a pruner's own score can be replaced by another."""
    scored = isinstance(target, type) and issubclass(target, ScoreBasedPruner)
    return scored and not target.fixed_scorer


def _with_score(base: MethodInfo, suffix: Suffix) -> MethodInfo:
    """The base with a suffix's scorer in place of its own."""
    if not takes_scorers(base.target):
        how = {"static": "chooses one subset before training", "batch": "selects by batch"}
        if getattr(base.target, "fixed_scorer", False):
            how = {"dynamic": "has its scorer"}
        raise InputError(
            f"{suffix.name[1:]} needs a score-based dynamic pruner; {base.name} "
            + how.get(base.kind, "prunes without scores"),
            where=f"{base.name}{suffix.name}",
            accepted=", ".join(m.name for m in list_methods() if m.suffix is suffix),
        )
    return replace(
        base,
        name=base.name + suffix.name,
        version=f"{base.version}+{suffix.version}",
        options={**base.options, **suffix.options},
        card=suffix.card_over(base.card),
        suffix=suffix,
    )


def _sampled(base: MethodInfo, name: str) -> MethodInfo:
    """A score with the named sampler in place of its own."""
    if not (isinstance(base.target, type) and issubclass(base.target, ScorePruner)):
        raise InputError(
            f"a sampler needs a method that is one score per sample, which {base.name} is not",
            where=f"{base.name}@{name}", accepted=", ".join(m.name for m in scores()),
        )  # fmt: skip
    target = base.target
    if target.score_of:
        raise InputError(
            f"{base.name} is {target.score_of}@{target.sampler} already",
            where=f"{base.name}@{name}", accepted=f"{target.score_of}@{name}",
        )  # fmt: skip
    return join(base, SAMPLERS.get(name).target)


def join(score: MethodInfo, sampler: type[Sampler]) -> MethodInfo:
    """``score@sampler``: a method that is one score, kept by a sampler."""
    target, name = score.target, sampler.name or sampler.__name__
    assert issubclass(target, ScorePruner)
    own = {n: o for n, o in score.options.items() if n not in target.sampler_options}
    card, how = score.card, sampler.card
    return replace(
        score,
        name=f"{score.name}@{name}",
        version=f"{score.version}@{sampler.version}",
        options={**own, **{f"{name}.{n}": o for n, o in sampler.options.items()}},
        card=replace(
            card,
            title=f"{card.title or score.name}@{name}",
            paper="; ".join(p for p in (card.paper, how.paper) if p),
            cost="; ".join(c for c in (card.cost, how.cost) if c != "none") or "none",
            side=how.side or card.side,
            year=card.published or 0,
        ),
        sampler=sampler,
    )


def _published(sampled: MethodInfo) -> MethodInfo | None:
    """The registered method that is a score with this sampler, or None."""
    score, _, sampler = sampled.name.partition("@")
    for entry in METHODS:
        target = entry.target
        if not (isinstance(target, type) and issubclass(target, ScorePruner)):
            continue
        if (target.score_of or entry.name, target.sampler) == (score, sampler):
            return _info(entry)
    return None


def scores() -> list[MethodInfo]:
    """The methods that go with any sampler."""
    infos = (_info(entry) for entry in METHODS)
    return [
        info for info in infos
        if isinstance(info.target, type) and issubclass(info.target, ScorePruner)
        and not info.target.score_of
    ]  # fmt: skip


def list_methods() -> list[MethodInfo]:
    """Every method, each score-based one followed by its variants ``+align`` and ``+bls``."""
    found: list[MethodInfo] = []
    for entry in METHODS:
        info = _info(entry)
        found.append(info)
        if takes_scorers(info.target):
            found += [_with_score(info, suffix) for suffix in SUFFIXES.values()]
    return found
