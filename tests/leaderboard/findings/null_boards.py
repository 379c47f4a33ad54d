"""Boards on which no row differs from another, by the thousand: which of them claim a difference.

The smallest p of each family is computed for all boards at once, by the test that boards use
(``flip_p``). Where none reaches the level of the sentences, nothing can be claimed; the others are
built from records and asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.findings import findings
from prunebench.leaderboard.findings.blocks import blocks_of
from prunebench.leaderboard.inference.series import draws_of
from prunebench.leaderboard.stats.exact import exact
from prunebench.leaderboard.stats.signflip import DRAWS, MAX_EXACT_UNITS, flip_p
from prunebench.record import AND, Record
from tests.support.records import RECIPE, record

TESTED = 10_000
#: Sign patterns that clear differences of chance have to survive before all 99,999 are drawn.
FIRST_DRAWS = 1024
#: Chance at which a test that could reject is lost among them.
LOST = 1e-9
#: (network, row).
Place = tuple[str, str]


@dataclass(frozen=True)
class Design:
    """What a simulated board holds.

    Attributes:
        rows: Methods; ``full`` has one ratio.
        settings: Noise settings, with imbalance where a name says so.
        seeds: Seeds of each.
        ratios: Ratios.
        spread: Standard deviation of a run, in points, by row in turn.
        shared: Share of a row's variance that its cells of one noise and seed have in common.
        networks: More than one: the first chose the subsets that all train.
    """

    rows: tuple[str, ...]
    settings: tuple[str, ...]
    seeds: int
    ratios: tuple[float, ...] = (0.5,)
    spread: tuple[float, ...] = (0.3,)
    shared: float = 0.0
    networks: tuple[str, ...] = ("mlp",)

    @property
    def places(self) -> list[Place]:
        """Rows of all networks."""
        return list(product(self.networks, self.rows))

    @cached_property
    def unit(self) -> NDArray[np.intp]:
        """[settings, seeds]: (noise, seed), which flips as one."""
        noises = sorted({draws_of(name) for name in self.settings})
        own = [noises.index(draws_of(name)) for name in self.settings]
        return np.array(own)[:, None] * self.seeds + np.arange(self.seeds)

    def draw(self, rng: np.random.Generator, boards: int) -> NDArray[np.int64]:
        """Hits [boards, places, settings, ratios, seeds]. Runs of a unit have a value in common,
        and so have the cells of one row in it; nothing else differs but by chance."""
        units, places = int(self.unit.max()) + 1, len(self.places)
        spread = np.array([self.spread[i % len(self.spread)] for i in range(places)])[:, None]
        common = rng.normal(0, 0.3, (boards, 1, units))
        own = rng.normal(0, 1, (boards, places, units)) * spread * self.shared**0.5
        by_unit = (common + own)[:, :, self.unit][:, :, :, None, :]
        shape = (boards, places, len(self.settings), len(self.ratios), self.seeds)
        alone = rng.normal(0, 1, shape) * spread[:, :, None, None] * (1 - self.shared) ** 0.5
        points = 90 + by_unit + alone
        for place, (_, row) in enumerate(self.places):
            if row == "full":
                points[:, place] = points[:, place, :, :1]
        hits: NDArray[np.int64] = np.rint(points * TESTED / 100).astype(np.int64)
        return hits

    def records(self, hits: NDArray[np.int64]) -> list[Record]:
        """Records of one board [places, settings, ratios, seeds]."""
        return list(self._records(hits))

    def _records(self, hits: NDArray[np.int64]) -> Iterator[Record]:
        for place, (network, row) in enumerate(self.places):
            spec: dict[str, object] = {"recipe": {**RECIPE, "model": network}}
            if network != self.networks[0] and row not in ("full", "random"):
                spec["scoring_recipe"] = RECIPE
            info = {"kind": "dynamic", "test_size": TESTED, "metrics": 2}
            for number, setting in enumerate(self.settings):
                noise, _, imbalance = setting.partition(AND)
                more = {"imbalance": {"name": imbalance}} if imbalance else {}
                for ratio, seed in product(self.ratios, range(self.seeds)):
                    if row == "full" and ratio != self.ratios[0]:
                        continue
                    own = hits[place, number, self.ratios.index(ratio), seed]
                    yield record(row, noise, seed, 0.0 if row == "full" else ratio,
                                 int(own) / TESTED, info=info, spec={**spec, **more})  # fmt: skip


@dataclass(frozen=True)
class Claimable:
    """A family of tests of a board.

    Attributes:
        needed: p that its smallest one has to reach for a sentence to claim it.
        contrasts: Of each member, rows with their signs.
    """

    needed: float
    contrasts: tuple[dict[Place, int], ...]


def families(design: Design, board: Board) -> list[Claimable]:
    """Families that sentences of the board may claim differences from."""
    blocks, found = blocks_of(board), []
    level = blocks[0].level.p
    home = design.networks[0]
    for block in blocks:
        network = block.tables[0].shared.recipe["model"]
        groups, effects = block.groups, block.summary.modules
        for family in (*([groups.pairwise.family] if groups and not groups.underpowered else []),
                       *([effects.family] if effects else [])):  # fmt: skip
            pairs = [[part.partition(" (")[0] for part in member.name.split(" - ")]
                     for member in family.members if member.p is not None]  # fmt: skip
            found.append(Claimable(level / family.size, tuple(
                {(network, a): 1, (network, b): -1} for a, b in pairs)))  # fmt: skip
    for transfer in board.transfers:
        assert transfer.leads is not None
        assert transfer.changes is not None
        names = [member.name.split(", trained with ") for member in transfer.leads.members]
        found.append(Claimable(level / transfer.leads.size, tuple(
            {(network, row): 1, (network, "random"): -1} for row, network in names)))  # fmt: skip
        names = [member.name.split(", trained with ") for member in transfer.changes.members]
        found.append(Claimable(level / transfer.changes.size, tuple(
            {(network, row): 1, (network, "random"): -1, (home, row): -1, (home, "random"): 1}
            for row, network in names)))  # fmt: skip
    return [family for family in found if family.contrasts]


def may_claim(
    design: Design, tested: Sequence[Claimable], hits: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Of each board whether the smallest p of a family reaches the level of the sentences.

    Args:
        design: The design.
        tested: Its families.
        hits: [boards, places, settings, ratios, seeds].
    """
    boards, places = hits.shape[:2]
    unit = np.broadcast_to(design.unit[:, None, :], hits.shape[2:]).reshape(-1)
    sums = np.zeros((boards, places, int(unit.max()) + 1), np.int32)
    for run, owner in enumerate(unit.tolist()):
        sums[:, :, owner] += hits.reshape(boards, places, -1)[:, :, run].astype(np.int32)
    found = np.zeros(boards, bool)
    for family in tested:
        signs = np.array([[c.get(place, 0) for place in design.places] for c in family.contrasts])
        d = np.einsum("cp,bpu->bcu", signs, sums).astype(np.int32)
        owner = np.repeat(np.arange(boards), len(signs))
        d = d.reshape(-1, d.shape[2])
        kept = _survivors(d, family.needed)
        p = flip_p(d[kept], np.random.default_rng(0)) if kept.any() else np.zeros(0)
        reached = [exact(value) <= exact(family.needed) for value in p.tolist()]
        found[owner[kept][reached]] = True
    return found


def _survivors(d: NDArray[np.int32], needed: float) -> NDArray[np.bool_]:
    """Differences [problems, units] that could reach a p, by fewer sign patterns than the test has;
    all of them where it counts every pattern."""
    units = d.shape[1]
    if units <= MAX_EXACT_UNITS:
        return np.ones(len(d), bool)
    highest = needed
    while binom.cdf(needed * (DRAWS + 1), DRAWS, highest) > LOST:
        highest *= 1.1
    most = binom.isf(LOST, FIRST_DRAWS, min(1.0, highest))
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (units, FIRST_DRAWS)).astype(np.float32)
    kept = np.zeros(len(d), bool)
    for start in range(0, len(d), 4096):
        part = d[start : start + 4096]
        # Sums are below 2^24, where 32 bits hold every whole number.
        totals = np.abs(part.astype(np.float32) @ signs)
        hits = (totals >= np.abs(part.sum(axis=1, keepdims=True))).sum(axis=1)
        kept[start : start + 4096] = hits <= most
    return kept


def claiming(
    design: Design, boards: int, seed: int = 0, at_once: int = 200
) -> tuple[int, int, list[Board]]:
    """Draws boards without differences and asks them.

    Returns:
        How many could claim a difference, how many do, and three that could not.
    """
    rng = np.random.default_rng(seed)
    first = build(design.records(design.draw(rng, 1)[0]))
    tested, able, claims = families(design, first), 0, 0
    quiet: list[Board] = []
    for start in range(0, boards, at_once):
        hits = design.draw(rng, min(at_once, boards - start))
        may = may_claim(design, tested, hits)
        able += int(may.sum())
        claims += sum(claims_one(build(design.records(own))) for own in hits[may])
        quiet += [build(design.records(own)) for own in hits[~may][: 3 - len(quiet)]]
    return able, claims, quiet


def claims_one(board: Board) -> bool:
    """Whether a sentence claims a difference."""
    return any(finding.claim == "difference" for finding in findings(board))


#: 28 pairs and two modules by every sign pattern of 12 units.
SMALL = Design(
    ("full", "short-full", "random-dynamic", "big-loss", "infobatch", "infobatch+align", "seta",
     "seta+align"), ("clean", "symmetric:0.2", "symmetric:0.4", "pairflip:0.2"), 3,
)  # fmt: skip
_MANY = (
    "full", "short-full", "random-dynamic", "random", *(f"method-{i}" for i in range(18)),
    "infobatch", "infobatch+align", "infobatch+bls", "seta", "seta+align", "seta+bls", "ies",
    "ies+align",
)  # fmt: skip
#: Many rows of unlike spread under few noise settings: too few units for pairs, and 20 units.
MANY_ROWS_5 = Design(_MANY, ("clean", "symmetric:0.4"), 5, spread=(0.2, 0.3, 0.6))
MANY_ROWS_10 = replace(MANY_ROWS_5, seeds=10)
#: Settings and ratios that share draws, and most of what a row does with them.
DEPENDENT = Design(
    SMALL.rows, ("clean", "clean + exp:20", "symmetric:0.4", "symmetric:0.4 + exp:20"), 9,
    ratios=(0.5, 0.8), spread=(0.2, 0.5), shared=0.6,
)  # fmt: skip
#: Subsets of one network, trained by two; two designs with letters, leads and changes.
TRANSFER = Design(
    ("full", "random", "dual", "el2n", "aum", "herding"),
    ("clean", "symmetric:0.2", "symmetric:0.4"), 5, spread=(0.3, 0.5), networks=("mlp", "cnn"),
)  # fmt: skip
