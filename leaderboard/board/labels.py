"""Names and order of rows and columns, and how many decimals a table shows."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from prunebench.leaderboard.board.collect import FULL, REFERENCE_TRAINED, Run
from prunebench.leaderboard.board.scored_with import scored_with, scoring_recipe
from prunebench.leaderboard.board.tuned import origin, study
from prunebench.leaderboard.filters import leaves
from prunebench.leaderboard.filters import shown as words
from prunebench.record import AND, canonical, content_key

RowId = tuple[str, str]
KINDS = ("full", "control", "method", "oracle")
#: Method that trains on the samples of a list.
LISTED = "ids"
CONTROLS = ("short-full", *REFERENCE_TRAINED)
_NOISE_ORDER = ("clean", "symmetric", "asymmetric", "pairflip")
_BESIDE_ORDER = ("exp", "step")


def kind_of(run: Run) -> str:
    """One of ``KINDS``; an oracle knows the clean labels of the training set."""
    if run.record.info.get("oracle") or run.method.startswith("oracle"):
        return "oracle"
    if run.method == FULL:
        return "full"
    return "control" if run.method in CONTROLS else "method"


def row_id(run: Run) -> RowId:
    """Method, canonical options with the content of its file, the study they come from, and the
    recipe of its scoring run where that is another: what makes one row."""
    method, rest = method_id(run)
    scoring = scoring_recipe(run.record.spec)
    return method, rest + canonical(scoring) if scoring else rest


def method_id(run: Run) -> RowId:
    """As ``row_id``, whatever recipe its scoring run has. Lists of kept samples differ from seed to
    seed: those of one label are one row."""
    content = str(run.record.spec["method"].get("identity") or "")
    if run.method == LISTED and given_label(run):
        content = ""
    return run.method, (canonical(run.params) if run.params else "{}") + content + study(run)


def given_label(run: Run) -> str:
    """The name that its grid or command gave the run's row; empty for none.

    Full training keeps its name, by which the usual reference row is found.
    """
    return "" if run.method == FULL else str(run.record.info.get("label") or "")


def row_labels(runs: Iterable[Run]) -> dict[RowId, str]:
    """Label of each row: its given one or the method, and what its variants here differ in.

    Default and tuned options make separate rows; of several studies each is named. Files are
    named by the first digits of their content's digest. A subset that another recipe's scoring run
    chose names it. A row whose runs were given several labels shows them all.
    """
    rows: dict[RowId, Run] = {}
    given: dict[RowId, set[str]] = defaultdict(set)
    for run in runs:
        identity = row_id(run)
        rows.setdefault(identity, run)
        given[identity].add(given_label(run))
    variants: dict[tuple[str, str, str], list[RowId]] = defaultdict(list)
    for identity, run in rows.items():
        name = " / ".join(sorted(given[identity] - {""})) or run.method
        variants[name, origin(run), scored_with(run.record.spec)].append(identity)
    labels: dict[RowId, str] = {}
    for (name, tuned, scorer), found in variants.items():
        options = {identity: _options(rows[identity], name) for identity in found}
        names = sorted({option for own in options.values() for option in own})
        differing = [
            option for option in names if len({own.get(option, "") for own in options.values()}) > 1
        ]
        for identity in found:
            own = options[identity]
            shown = [f"{option[1]}={own[option]}" for option in differing if option in own]
            if tuned:
                several = len({study(rows[other]) for other in found}) > 1
                mark = f"study {study(rows[identity])[:8]}"
                shown = [tuned, mark] if several else [tuned, *shown]
            if scorer:
                shown = [f"scored with {scorer}", *shown]
            labels[identity] = f"{name} ({', '.join(shown)})" if shown else name
    twice = {label for label, n in Counter(labels.values()).items() if n > 1}
    return {
        identity: f"{label} #{content_key({'row': identity})[:8]}" if label in twice else label
        for identity, label in labels.items()
    }


def _options(run: Run, name: str) -> dict[tuple[int, str], str]:
    """What rows of one name may differ in, by place and name: the method where it is not the
    name, its options, its file, fields of the recipe of its scoring run."""
    found = {(0, "method"): run.method} if run.method != name else {}
    for option, value in run.params.items():
        shown = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        found[1, option] = shown
    content = str(run.record.spec["method"].get("identity") or "")
    for path, value in leaves(scoring_recipe(run.record.spec)):
        found[3, f"scoring {path}"] = words(value)
    one_row = run.method == LISTED and given_label(run)
    return {**found, (2, "content"): content[:8]} if content and not one_row else found


_Place = tuple[int, str, float, str]


def noise_order(name: str) -> tuple[_Place, ...]:
    """Sort key of a setting: by its noise (clean, then by kind and rate, other kinds by name), then
    by what it has beside (nothing first, imbalance before corruption)."""
    noise, *beside = name.split(AND)
    return _place(noise, _NOISE_ORDER), *(_place(part, _BESIDE_ORDER) for part in beside)


def _place(name: str, order: Sequence[str]) -> _Place:
    kind, _, rest = name.partition(":")
    place = order.index(kind) if kind in order else len(order)
    number = re.match(r"[^ ]*", rest)
    try:
        rate = float(number[0] if number else rest)
    except ValueError:
        rate = math.inf
    return place, kind, rate if math.isfinite(rate) else math.inf, name


def setting_word(names: Iterable[str]) -> str:
    """What columns with these names show: ``noise`` where nothing else varies, else ``setting``."""
    return "setting" if any(AND in name for name in names) else "noise"


def decimals(test_size: int | None) -> int:
    """Decimals of a percentage: one up to 99,999 test samples, two from there on."""
    return 2 if test_size is not None and test_size >= 100_000 else 1
