"""Statistics of paired comparisons: small closed forms on numpy and scipy."""

from prunebench.leaderboard.stats.all_pairs import Pairwise, pairwise
from prunebench.leaderboard.stats.bayes import BayesSignedRank, bayes_signed_rank
from prunebench.leaderboard.stats.bootstrap import (
    Bootstrap,
    iqm_of_runs,
    mean_of_cells,
    stratified_bootstrap,
)
from prunebench.leaderboard.stats.clusters import ClusterT, cluster_t
from prunebench.leaderboard.stats.components import SeedItemComponents, seed_item_components
from prunebench.leaderboard.stats.effects import (
    CliffsDelta,
    HedgesG,
    Iqm,
    ProbImprovement,
    cliffs_delta,
    hedges_g,
    iqm,
    paired_g,
    prob_improvement,
    prob_improvement_paired,
)
from prunebench.leaderboard.stats.families import (
    Adjusted,
    Family,
    Member,
    benjamini_hochberg,
    family,
    holm,
)
from prunebench.leaderboard.stats.intervals import MeanInterval, Proportion, mean_interval, wilson
from prunebench.leaderboard.stats.letters import Letters, compact_letters
from prunebench.leaderboard.stats.lossless import NonInferior, non_inferior
from prunebench.leaderboard.stats.medians import MedianInterval, median_interval
from prunebench.leaderboard.stats.paired import (
    PairedDifference,
    PairedT,
    SmallestP,
    paired_difference,
    paired_t,
    smallest_p,
)
from prunebench.leaderboard.stats.pooled import PooledCells, pooled_cells
from prunebench.leaderboard.stats.posthoc import PairMatrix, Wilcoxon, conover, nemenyi, wilcoxon
from prunebench.leaderboard.stats.power import (
    MinimumDetectableEffect,
    SdFactors,
    SeedsNeeded,
    detectable_difference,
    minimum_detectable_effect,
    power_of,
    sd_factors,
    seeds_needed,
)
from prunebench.leaderboard.stats.printed import McNemar, Welch, mcnemar, welch_from_summary
from prunebench.leaderboard.stats.ranks import (
    Friedman,
    ImanDavenport,
    NemenyiCd,
    f_form,
    friedman,
    iman_davenport,
    nemenyi_cd,
)
from prunebench.leaderboard.stats.signflip import SignFlip, sign_flip
from prunebench.leaderboard.stats.two_way import TwoWay, VarianceShare, two_way
from prunebench.leaderboard.stats.wins_and_losses import Outcomes, to_resolution, win_tie_loss

__all__ = [
    "Adjusted",
    "BayesSignedRank",
    "Bootstrap",
    "CliffsDelta",
    "ClusterT",
    "Family",
    "Friedman",
    "HedgesG",
    "ImanDavenport",
    "Iqm",
    "Letters",
    "McNemar",
    "MeanInterval",
    "MedianInterval",
    "Member",
    "MinimumDetectableEffect",
    "NemenyiCd",
    "NonInferior",
    "Outcomes",
    "PairMatrix",
    "PairedDifference",
    "PairedT",
    "Pairwise",
    "PooledCells",
    "ProbImprovement",
    "Proportion",
    "SdFactors",
    "SeedItemComponents",
    "SeedsNeeded",
    "SignFlip",
    "SmallestP",
    "TwoWay",
    "VarianceShare",
    "Welch",
    "Wilcoxon",
    "bayes_signed_rank",
    "benjamini_hochberg",
    "cliffs_delta",
    "cluster_t",
    "compact_letters",
    "conover",
    "detectable_difference",
    "f_form",
    "family",
    "friedman",
    "hedges_g",
    "holm",
    "iman_davenport",
    "iqm",
    "iqm_of_runs",
    "mcnemar",
    "mean_interval",
    "mean_of_cells",
    "median_interval",
    "minimum_detectable_effect",
    "nemenyi",
    "nemenyi_cd",
    "non_inferior",
    "paired_difference",
    "paired_g",
    "paired_t",
    "pairwise",
    "pooled_cells",
    "power_of",
    "prob_improvement",
    "prob_improvement_paired",
    "sd_factors",
    "seed_item_components",
    "seeds_needed",
    "sign_flip",
    "smallest_p",
    "stratified_bootstrap",
    "to_resolution",
    "two_way",
    "welch_from_summary",
    "wilcoxon",
    "wilson",
    "win_tie_loss",
]
