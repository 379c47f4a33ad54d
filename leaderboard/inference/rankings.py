"""One data set over all its ratios: mean ranks, Friedman, rank groups, wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunebench.leaderboard.inference.compare import Comparison, compare
from prunebench.leaderboard.inference.groups import Groups, rank_groups
from prunebench.leaderboard.inference.series import Series, matrix
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.stats import (
    BayesSignedRank,
    Family,
    Friedman,
    ImanDavenport,
    bayes_signed_rank,
    f_form,
    family,
    friedman,
)
from prunebench.leaderboard.stats.exact import exact, mean
from prunebench.leaderboard.stats.ranks import block_ranks
from prunebench.registry import own_scored


@dataclass(frozen=True)
class Ranking:
    """Complete rows over all cells of a board.

    Attributes:
        labels: Rows, best mean first.
        means: Mean over cells of mean accuracy, by row.
        mean_ranks: Mean rank over noise settings (ratios averaged first), by row.
        friedman, iman_davenport: Over noise settings as blocks; None below two of either.
        groups: Letters over all cells.
        reference: Every row against the reference row; without the reference itself.
    """

    labels: tuple[str, ...]
    means: Mapping[str, float]
    mean_ranks: Mapping[str, float]
    friedman: Friedman | None
    iman_davenport: ImanDavenport | None
    groups: Groups | None
    reference: Mapping[str, Comparison]


def ranking(
    rows: Sequence[Series],
    reference: Series | None,
    protocol: ProtocolFile,
    name: str,
    omnibus: bool = True,
) -> Ranking | None:
    """Ranks rows that are complete on the same runs; None for no row.

    Args:
        rows: Complete rows, oracles left out.
        reference: Row of reference, or None where it is missing.
        protocol: The protocol.
        name: Of the letters' family.
        omnibus: Whether Friedman's test is wanted beside the mean ranks.
    """
    if not rows:
        return None
    table = matrix(rows)
    means = [mean(own) for own in table.cell_means]
    order = sorted(range(len(rows)), key=lambda i: (-means[i], rows[i].label))
    blocks = list(zip(*table.cluster_means, strict=True))
    several = min(len(rows), len(blocks)) >= 2
    found = friedman(blocks) if omnibus and several else None
    ranks = block_ranks(blocks).mean(axis=0).tolist() if several else []
    groups = rank_groups(rows, protocol, name)
    against = _against(rows, reference, groups, protocol) if reference is not None else {}
    return Ranking(
        labels=tuple(rows[i].label for i in order),
        means={row.label: float(m) for row, m in zip(rows, means, strict=True)},
        mean_ranks={row.label: r for row, r in zip(rows, ranks, strict=False)},
        friedman=found,
        iman_davenport=f_form(found) if found else None,
        groups=groups,
        reference=against,
    )


def _against(
    rows: Sequence[Series], reference: Series, groups: Groups | None, protocol: ProtocolFile
) -> dict[str, Comparison]:
    """Every other row against one of them, with the tests of all pairs."""
    tests = groups.pairwise.tests if groups else {}
    found = {}
    for row in rows:
        if row.label == reference.label:
            continue
        pair = (row.label, reference.label)
        test = tests[pair] if pair in tests else tests[pair[::-1]].reversed
        comparison = compare(row, reference, protocol, test)
        if comparison is not None:
            found[row.label] = comparison
    return found


@dataclass(frozen=True)
class Module:
    """A planned comparison with its exploratory Bayesian reading.

    Attributes:
        comparison: a - b over all cells.
        bayes: P(a better), P(within the ROPE), P(b better) over cell means; None below two.
    """

    comparison: Comparison
    bayes: BayesSignedRank | None


@dataclass(frozen=True)
class Modules:
    """The confirmatory family: every base method with and without the module, and planned pairs.

    Attributes:
        pairs: In order of label.
        family: Holm over the pooled sign-flip tests; members named "a - b".
        by_cluster: The same over noise settings taken as a sample.
    """

    pairs: tuple[Module, ...]
    family: Family
    by_cluster: Family


def modules(rows: Mapping[str, Series], protocol: ProtocolFile, name: str) -> Modules | None:
    """Tests base + AlignPrune and base + BLS against base for every base of a board; None where
    there is none.

    Each pair uses the cells and seeds both rows have, whether or not they are complete.
    """
    wanted = [(label, base) for label in sorted(rows) if (base := own_scored(label)) != label]
    wanted += [pair for pair in protocol.planned if pair not in wanted]
    found = []
    for a, b in wanted:
        if a in rows and b in rows and (comparison := compare(rows[a], rows[b], protocol)):
            found.append(Module(comparison, _bayes(rows[a], rows[b], protocol)))
    if not found:
        return None
    names = {f"{m.comparison.a} - {m.comparison.b}": m.comparison for m in found}
    pooled = {label: c.pooled.sign_flip for label, c in names.items()}
    settings_as_sample = {label: c.cluster.sign_flip for label, c in names.items()}
    return Modules(
        tuple(found),
        family(name, pooled, "holm", protocol.alpha),
        family(f"{name}, noise settings as a sample", settings_as_sample, "holm", protocol.alpha),
    )


def _bayes(a: Series, b: Series, protocol: ProtocolFile) -> BayesSignedRank | None:
    cells = sorted(a.values.keys() & b.values.keys())
    means = []
    for cell in cells:
        common = a.values[cell].keys() & b.values[cell].keys()
        if len(common) >= 2:
            d = [exact(a.values[cell][s]) - exact(b.values[cell][s]) for s in sorted(common)]
            means.append(mean(d))
    return bayes_signed_rank(means, protocol.rope) if len(means) >= 2 else None
