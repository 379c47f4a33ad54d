"""Checks of what a class declares: options and needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from prunebench.bench.checks.report import NotApplicable, Violation
from prunebench.bench.checks.simulate import warmup_of
from prunebench.bench.checks.subject import Subject
from prunebench.bench.runs.evidence import SIGNAL_NAMES
from prunebench.bench.train.sample_tables import SIGNALS
from prunebench.errors import InputError, SkipCell
from prunebench.methods.base import EvidenceSpec, TrainView
from prunebench.options import Option

EPOCHS = (2, 6, 30, 200)


def options(subject: Subject) -> str:
    """Every default, bound, choice and end of a search range constructs.

    A bound may be refused by an ``InputError`` where other options rule it out; a search range
    may not, for a study would stop there.
    """
    table = {n: o for n, o in subject.info.options.items() if n != subject.info.target.argument}
    subject.build()
    refused = []
    for name, option in table.items():
        for value, searched in _values(option):
            try:
                subject.build(**{name: value})
            except InputError as error:
                if searched:
                    raise Violation(f"{name} = {value!r} is in its search range: {error}") from None
                refused.append(f"{name} = {value!r}")
            except Exception as error:
                kind = type(error).__name__
                raise Violation(f"{name} = {value!r} raises {kind}: {error}") from None
    return f"refused by name: {', '.join(refused)}" if refused else ""


def _values(option: Option) -> Iterator[tuple[Any, bool]]:
    yield from ((choice, False) for choice in option.choices)
    yield from ((option.type(end), False) for end in (option.low, option.high) if end is not None)
    if option.type is bool:
        yield from ((value, False) for value in (True, False))
    if option.optional:
        yield None, False
    for value in option.search or ():
        yield (value if isinstance(value, str | bool) else option.type(value)), True


def unknown_option(subject: Subject) -> None:
    """An option that does not exist is refused by an ``InputError``."""
    try:
        if subject.info.suffix is not None or subject.info.sampler is not None:
            subject.build(no_such_option=1)
        else:
            subject.info.target(**subject.params, no_such_option=1)
    except InputError:
        return
    except Exception as error:
        raise Violation(f"expected an InputError, got {type(error).__name__}: {error}") from None
    raise Violation("expected an InputError for option 'no_such_option', it was accepted")


def needs(subject: Subject) -> str:
    """What is to be recorded exists in recipes of 2 to 200 epochs."""
    inapplicable = []
    for epochs in EPOCHS:
        try:
            _evidence(subject, epochs)
            if subject.shape != "static":
                _tables(subject, epochs)
        except SkipCell as skip:
            inapplicable.append(f"{epochs} epochs: {skip.reason}")
        except InputError as error:
            if not subject.params:
                raise Violation(f"defaults do not fit {epochs} epochs: {error}") from None
            inapplicable.append(f"{epochs} epochs: {error}")
    if len(inapplicable) == len(EPOCHS):
        raise NotApplicable(inapplicable[0])
    return "; ".join(inapplicable)


def _evidence(subject: Subject, epochs: int) -> None:
    pruner = subject.build()
    need = pruner.needs(epochs, warmup_of(epochs))
    if not isinstance(need, EvidenceSpec):
        raise Violation(f"needs() returned {type(need).__name__}, not an EvidenceSpec")
    unknown = sorted(set(need.signals) - set(SIGNAL_NAMES))
    if unknown:
        raise Violation(f"unknown signals {unknown}; accepted: {', '.join(SIGNAL_NAMES)}")
    for kind in ("snapshots", "strong", "reference"):
        outside = [e for e in getattr(need, kind) if not 1 <= e <= epochs]
        if outside:
            raise Violation(f"{kind} after epochs {outside}; a recipe of {epochs} has 1..{epochs}")
    if need.reads_reference and not pruner.clean_data:
        raise Violation("reads the clean reference set; say so in `clean_data`")
    if need.repeats < 1:
        raise Violation(f"repeats = {need.repeats}; expected 1 or more")
    if need.until is not None and not 1 <= need.until <= epochs:
        raise Violation(f"until = {need.until}; a recipe of {epochs} has 1..{epochs}")


def _tables(subject: Subject, epochs: int) -> None:
    pruner = subject.dynamic()
    labels = torch.arange(8) % 4
    pruner.begin(TrainView(8, 4, labels, epochs, subject.ratio, torch.device("cpu")))
    unknown = sorted(set(pruner.signals) - set(SIGNALS))
    if unknown:
        raise Violation(f"unknown signals {unknown}; accepted: {', '.join(SIGNALS)}")
    if type(pruner.window) is not int or pruner.window < 0:
        raise Violation(f"window = {pruner.window!r}; expected an integer from 0")
