"""Texts of two tables: AlignPrune against random choice, and what the clean samples buy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from prunebench.leaderboard.findings.phrases import counted
from prunebench.leaderboard.inference.align_controls import (
    NOT_SEPARATED,
    TOO_FEW,
    AgainstRandom,
    AlignControls,
    CleanUse,
)
from prunebench.leaderboard.inference.compare import Comparison
from prunebench.leaderboard.render.row_text import interval, number, span

AGAINST_RANDOM, CLEAN_SAMPLES = "+align against random choice", "what the clean samples buy"
DIGITS = 1
_ALIGN = (
    "scores, every epoch",
    "a sample's score says how its loss moves with their mean loss; they are not trained on",
)
#: What a method does with the clean samples, in short and as a sentence.
USES = {
    "full+reference": ("trained on", "trained on with all other samples"),
    "infobatch+reference": ("trained on", "InfoBatch trains on them as on the others"),
    "glister": ("one choice", "it keeps the samples whose gradients lower the loss on them"),
    "cld": ("one choice", "it keeps the samples whose loss falls when that of their class among "
            "them falls"),
    "rho-loss": ("a second network", "trained on by a second network; of each batch it keeps the "
                 "samples whose loss is most above that network's"),
}  # fmt: skip


def compared(controls: AlignControls) -> list[AgainstRandom]:
    """Rows that have a row of random choice beside them."""
    return [row for row in controls.against_random if row.control]


def random_heads(noises: Sequence[str]) -> list[str]:
    """Columns of the first table behind the row's name."""
    return ["ratio", "saved", "random-dynamic saved", *noises, "all [95 %]", "ahead"]


def random_cells(row: AgainstRandom, noises: Sequence[str]) -> list[str]:
    """Texts below ``random_heads``."""
    by_noise = row.by_noise or {}
    return [
        f"{row.ratio:g}",
        number(row.realised, 2),
        number(row.control_realised, 2),
        *(points(by_noise.get(noise)) for noise in noises),
        points(row.pooled),
        row.ahead,
    ]


def points(found: Comparison | None) -> str:
    """A paired difference with its interval."""
    if found is None:
        return "-"
    return interval(found.pooled.mean, found.pooled.low, found.pooled.high, DIGITS)


def random_lines(controls: AlignControls) -> list[str]:
    """Which of the two is ahead, what that means, and where random choice was not run."""
    rows = compared(controls)
    lines = []
    if rows:
        counts = {
            "the row with AlignPrune is ahead": sum(row.ahead == row.label for row in rows),
            "random-dynamic is ahead": sum(row.ahead == row.control for row in rows),
            f"they are {NOT_SEPARATED}": sum(row.ahead == NOT_SEPARATED for row in rows),
            f"there are {TOO_FEW} to say": sum(row.ahead == TOO_FEW for row in rows),
        }
        said = ", ".join(f"in {count} {words}" for words, count in counts.items() if count)
        lines = [
            f"Of {counted(len(rows), 'pair')}, {said}",
            "Row minus random-dynamic in points over their common seeds, with 95 % intervals for "
            "new seeds that are not corrected for the number of pairs. Ahead: whose lead the "
            f"interval over all noise settings supports; {NOT_SEPARATED} where it holds 0",
            "random-dynamic draws every epoch anew and looks at nothing: "
            + (
                "at the same ratio it trains on as many samples"
                if controls.budget == "samples"
                else "it stands at the ratio whose realised share is nearest to the row's, within "
                "2 points"
            ),
        ]
    lines += _not_run(controls)
    return lines


def _not_run(controls: AlignControls) -> list[str]:
    lacking: dict[str, list[str]] = defaultdict(list)
    for row in controls.against_random:
        if row.control:
            continue
        if controls.budget == "samples":
            where = f"at ratio {row.ratio:g}"
        else:
            share = number(row.realised, 2) if row.realised is not None else "unknown"
            where = f"at the realised share {share}"
        lacking[where].append(row.label)
    return [
        f"random-dynamic was not run {where}: whether {', '.join(labels)} beats random choice of "
        "as many samples is not known here"
        for where, labels in lacking.items()
    ]


def use_text(use: CleanUse, aligned: bool) -> tuple[str, str]:
    """What a row does with the clean samples: a few words, and a sentence (empty for methods that
    this table does not know)."""
    return _ALIGN if aligned else USES.get(use.method, ("see its page", ""))


def samples_text(use: CleanUse) -> str:
    """How many clean samples a row used."""
    return "-" if use.samples is None else span(*use.samples)


def aligned_labels(controls: AlignControls) -> list[str]:
    """Rows with AlignPrune that the second table compares with, in order."""
    known = {row.label for row in controls.against_random}
    labels = [use.label for use in controls.clean_uses if use.label in known]
    return list(dict.fromkeys(labels))


def use_heads(controls: AlignControls, noises: Sequence[str]) -> list[str]:
    """Columns of the second table behind the row's name."""
    against = [f"minus {label}" for label in aligned_labels(controls)]
    return ["ratio", "clean samples", "compute", *noises, *against, "what they are for"]


def use_cells(use: CleanUse, controls: AlignControls, noises: Sequence[str]) -> list[str]:
    """Texts below ``use_heads``."""
    align = aligned_labels(controls)
    return [
        f"{use.ratio:g}",
        samples_text(use),
        number(use.compute, 2),
        *(_accuracy(use, noise) for noise in noises),
        *(points(use.against.get(label)) for label in align),
        use_text(use, use.label in align)[0],
    ]


def _accuracy(use: CleanUse, noise: str) -> str:
    found = use.accuracy.get(noise)
    if found is None:
        return "-"
    spread = "" if found.half_width is None else f" ±{number(found.half_width, DIGITS)}"
    return number(found.mean, DIGITS) + spread


def use_lines(controls: AlignControls) -> list[str]:
    """How to read the second table, and which of the usual controls were not run."""
    lines = []
    if controls.clean_uses:
        aligned = aligned_labels(controls)
        said: dict[str, list[str]] = defaultdict(list)
        for use in controls.clean_uses:
            sentence = use_text(use, use.label in aligned)[1]
            if sentence and use.label not in said[sentence]:
                said[sentence].append(use.label)
        uses = "; ".join(f"{', '.join(labels)}: {words}" for words, labels in said.items())
        lines.append(f"What the clean samples are for: {uses}")
        lines.append(
            "Every row is given the same clean samples; the columns minus ... hold paired "
            "differences in points over all noise settings, with 95 % intervals for new seeds, "
            "not corrected for their number. Compute: share of training saved, second networks "
            "and forward-only passes counted; full+reference saves nothing"
        )
    by_names: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for ratio, names in controls.absent.items():
        if names:
            by_names[names].append(ratio)
    for names, ratios in by_names.items():
        shown = ", ".join(f"{ratio:g}" for ratio in ratios)
        word = "ratio" if len(ratios) == 1 else "ratios"
        lines.append(
            f"Not run at {word} {shown}: {', '.join(names)}; what the same clean samples buy "
            'there is not known here (`controls = "reference"` in a grid adds them)'
        )
    return lines
