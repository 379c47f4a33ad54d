"""How much of a grid of scores and samplers each of them explains, and predictions of variants."""

from __future__ import annotations

from prunebench.leaderboard.board.model import Summary
from prunebench.leaderboard.findings.model import Finding, Ground
from prunebench.leaderboard.findings.phrases import points
from prunebench.leaderboard.inference.judged import HELD, NOT_HELD, OPEN, Judged
from prunebench.leaderboard.number_text import number

#: Parts of the variance between the pairs of a grid, by their name in ``TwoWay``.
PARTS = {"rows": "the score", "columns": "the sampler", "interaction": "the two together"}
RANGE_DIGITS = 1


def score_or_sampler(summary: Summary) -> Finding | None:
    """Shares of the variance between the pairs, from the smallest to the largest over settings
    and ratios."""
    grid = summary.score_grid
    if grid is None or not grid.shares:
        return None
    grounds: list[Ground] = []
    said = []
    for part, name in PARTS.items():
        own = []
        for (noise, ratio), found in sorted(grid.shares.items()):
            share = getattr(found, part)
            ends = [None if end is None else 100 * end for end in (share.low, share.high)]
            own.append(Ground("share", f"{name}, {noise}, ratio {ratio:g}", mean=100 * share.value,
                              low=ends[0], high=ends[1]))  # fmt: skip
        grounds += own
        values = [ground.mean or 0.0 for ground in own]
        low, high = number(min(values), 0), number(max(values), 0)
        said.append(f"{name} explains {low if low == high else f'{low} to {high}'} %")
    over = " and ".join(
        word for word, several in (
            ("noise setting", len({noise for noise, _ in grid.shares}) > 1),
            ("ratio", len({ratio for _, ratio in grid.shares}) > 1),
        ) if several
    )  # fmt: skip
    by = f", by {over}" * bool(over)
    return Finding(
        "score or sampler", summary.dataset,
        f"Of the variance between {len(grid.labels)} pairs of score and sampler {said[0]}, "
        f"{said[1].replace(' explains', '')} and {said[2].replace(' explains', '')}{by}.",
        "(Of the pairs' mean accuracies, what the spread over seeds adds taken out; no test.)",
        grounds=tuple(grounds),
    )  # fmt: skip


def predictions(summary: Summary) -> Finding | None:
    """How many predictions of variants of AlignPrune held, by their intervals."""
    judged = summary.predictions
    if not judged:
        return None
    counts = {word: sum(one.verdict == word for one in judged) for word in (HELD, NOT_HELD, OPEN)}
    failed = [one for one in judged if one.verdict == NOT_HELD]
    more = []
    if failed:
        shown = "; ".join(_missed(one) for one in failed[:2])
        rest = f"; and {len(failed) - 2} more" * (len(failed) > 2)
        more.append(f"Not held: {shown}{rest}.")
    more.append("(95 % intervals over seeds against the predicted ranges, uncorrected: of true "
                f"ones about {number(0.025 * len(judged), RANGE_DIGITS)} would be called not held "
                "by chance.)")  # fmt: skip
    short = (f"Of {len(judged)} predictions about variants of AlignPrune {counts[HELD]} held, "
             f"{counts[NOT_HELD]} did not, and {counts[OPEN]} "
             f"{'is' if counts[OPEN] == 1 else 'are'} not decided.")  # fmt: skip
    return Finding("predictions", summary.dataset, short, " ".join(more),
                   grounds=tuple(_ground(one) for one in judged))  # fmt: skip


def _ground(one: Judged) -> Ground:
    return Ground("interval", _compared(one), mean=one.mean, low=one.low, high=one.high)


def _compared(one: Judged) -> str:
    item = one.prediction
    against = f" - {item.against.name}" if item.against else ""
    measure = "" if item.measure == "accuracy" else ", percent pruned"
    return f"{item.row.name}{against}{measure} under {item.noise}"


def _missed(one: Judged) -> str:
    """What was predicted, and what was found."""
    low, high = (None if end is None else number(end, RANGE_DIGITS)
                 for end in (one.prediction.low, one.prediction.high))  # fmt: skip
    wanted = f"at least {low}" if high is None else (
        f"at most {high}" if low is None else f"{low} to {high}")  # fmt: skip
    return f"{_compared(one)}, predicted {wanted}, found {points(_ground(one))}"
