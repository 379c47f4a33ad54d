"""Rows with AlignPrune beside what they have to beat: random choice of as many samples, and other
uses of the same clean samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunebench.leaderboard.inference.compare import Comparison, compare
from prunebench.leaderboard.inference.series import Series
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.stats import MeanInterval, mean_interval

#: Difference between two realised shares of training saved up to which they count as one.
SAME_SHARE = 0.02
NOT_SEPARATED, TOO_FEW = "not separated", "too few seeds"


@dataclass(frozen=True)
class Seen:
    """A row of one table.

    Attributes:
        label: Its name.
        ratio: Of the table.
        realised: Share of training saved, mean over its runs; None where no record says it.
        series: Its accuracies at that ratio alone.
        samples: Fewest and most clean samples that its runs used; None where no record says it.
    """

    label: str
    ratio: float
    realised: float | None
    series: Series
    samples: tuple[int, int] | None = None


@dataclass(frozen=True)
class AgainstRandom:
    """One row with AlignPrune at one ratio, beside random choice in every epoch.

    Attributes:
        label, ratio, realised: The row; see ``Seen``.
        control: Label of the row that chooses at random; empty where the board has none that
            saves as much.
        control_ratio, control_realised: Of that row.
        by_noise: Row minus control by noise setting, where both have two common seeds.
        pooled: Over all of these.
    """

    label: str
    ratio: float
    realised: float | None
    control: str = ""
    control_ratio: float | None = None
    control_realised: float | None = None
    by_noise: Mapping[str, Comparison] | None = None
    pooled: Comparison | None = None

    @property
    def ahead(self) -> str:
        """Label of the row whose lead the interval supports, ``NOT_SEPARATED`` or ``TOO_FEW``;
        empty without a control."""
        return ahead(self.pooled) if self.control else ""


@dataclass(frozen=True)
class CleanUse:
    """A row that uses the clean samples, at one ratio.

    Attributes:
        label, ratio, samples: See ``Seen``.
        method: Name of its method.
        compute: Share of training saved, a forward-only pass counted as a third.
        accuracy: Percent over the seeds by noise setting.
        against: This row minus each row with AlignPrune, by label of that row.
    """

    label: str
    method: str
    ratio: float
    samples: tuple[int, int] | None
    compute: float | None
    accuracy: Mapping[str, MeanInterval]
    against: Mapping[str, Comparison]


@dataclass(frozen=True)
class AlignControls:
    """What a design says of its rows with AlignPrune.

    Attributes:
        budget: What its rows are held equal in.
        against_random: By ratio, then row.
        clean_uses: By ratio, rows with AlignPrune first; empty without another row that uses the
            clean samples.
        absent: By ratio, the names of the usual other uses that were not run there.
    """

    budget: str
    against_random: tuple[AgainstRandom, ...]
    clean_uses: tuple[CleanUse, ...]
    absent: Mapping[float, tuple[str, ...]]


def ahead(found: Comparison | None) -> str:
    """Label of the row whose lead the pooled interval supports, or why there is none."""
    if found is None or found.pooled.low is None or found.pooled.high is None:
        return TOO_FEW
    if found.pooled.low > 0:
        return found.a
    return found.b if found.pooled.high < 0 else NOT_SEPARATED


def against_random(
    row: Seen, controls: Sequence[Seen], budget: str, protocol: ProtocolFile
) -> AgainstRandom:
    """Compares a row with the random choice that saves as much training.

    Args:
        row: The row.
        controls: Random choice in every epoch, at the ratios where it was run.
        budget: Under ``samples`` the control of the same ratio is taken, for all rows train on as
            many samples; under the others the one whose realised share is nearest.
        protocol: The protocol.
    """
    control = _fitting(row, controls, budget)
    if control is None:
        return AgainstRandom(row.label, row.ratio, row.realised)
    mine, theirs = _by_noise(row.series), _by_noise(control.series)
    own = {
        noise: found
        for noise in mine
        if noise in theirs
        and (found := compare(mine[noise], theirs[noise], protocol)) is not None
    }  # fmt: skip
    return AgainstRandom(
        label=row.label,
        ratio=row.ratio,
        realised=row.realised,
        control=control.label,
        control_ratio=control.ratio,
        control_realised=control.realised,
        by_noise=own,
        pooled=compare(_at_no_ratio(row.series), _at_no_ratio(control.series), protocol),
    )


def _fitting(row: Seen, controls: Sequence[Seen], budget: str) -> Seen | None:
    if budget == "samples":
        return next((c for c in controls if c.ratio == row.ratio), None)
    near = [
        (abs(c.realised - row.realised), c.ratio, c)
        for c in controls
        if c.realised is not None and row.realised is not None
    ]
    fit = [entry for entry in near if round(entry[0], 9) <= SAME_SHARE]
    return min(fit, key=lambda entry: entry[:2])[2] if fit else None


def _at_no_ratio(series: Series) -> Series:
    """The series of one table without its ratio, so that tables of two ratios can be paired."""
    values = {(noise, 0.0): seeds for (noise, _), seeds in series.values.items()}
    return Series(series.label, series.kind, values)


def _by_noise(series: Series) -> dict[str, Series]:
    return {
        noise: Series(series.label, series.kind, {(noise, 0.0): seeds})
        for (noise, _), seeds in sorted(series.values.items())
    }


def clean_use(
    row: Seen, method: str, compute: float | None, align: Sequence[Seen], protocol: ProtocolFile
) -> CleanUse:
    """A row that uses the clean samples, with its paired differences to rows with AlignPrune.

    Args:
        row: The row.
        method: Name of its method.
        compute: Share of training saved, passes counted.
        align: Rows with AlignPrune of the same table.
        protocol: The protocol.
    """
    against = {
        other.label: found
        for other in align
        if other.label != row.label
        and (found := compare(row.series, other.series, protocol)) is not None
    }
    accuracy = {
        noise: mean_interval(list(seeds.values()))
        for (noise, _), seeds in sorted(row.series.values.items())
    }
    return CleanUse(row.label, method, row.ratio, row.samples, compute, accuracy, against)
