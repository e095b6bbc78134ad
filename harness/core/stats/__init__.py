"""Intervals, comparisons, power and planned looks: pure functions, samples nested in clusters (seeds in prompts).

intervals   means, paired differences, pooled spread
comparing   t tests of a bound, sign flips, Holm, non-inferiority
many        several means at once: simultaneous intervals (cluster bootstrap), the best of K, ties
power       what can be proven before anything is drawn
looking     two or three looks at growing data
within      what seeds say within prompts: own spread, the mean of these very prompts, sure drops
votes       Bradley-Terry for pairwise votes
"""

from harness.core.stats.comparing import (
    FEW,
    differs,
    flips_agree,
    flips_of_few,
    holm,
    p_above,
    p_below,
    rows_differ,
    sign_flip,
)
from harness.core.stats.intervals import (
    LEVEL,
    Groups,
    Pair,
    StandardDeviations,
    cluster_means,
    clustered,
    differences,
    mean_interval,
    paired,
    pooled_interval,
    pooled_sd,
    quantile,
    spread_of,
)
from harness.core.stats.looking import crossing, levels, spending_bounds, spent
from harness.core.stats.many import (
    critical,
    distinct_pairs,
    max_of_k,
    one_by_one,
    rank_ranges,
    simultaneous,
    tie_letters,
)
from harness.core.stats.power import (
    case_fails,
    change_found,
    clusters_needed,
    detectable,
    power_of,
    reach,
    smallest_change,
    spurious_red,
)
from harness.core.stats.votes import Vote, bradley_terry, rate_votes, win_matrix
from harness.core.stats.within import (
    ENOUGH,
    PRIOR,
    Fall,
    OwnMean,
    coin_tail,
    fallen,
    falls,
    own_mean,
    own_reach,
    surely_below,
)

__all__ = [
    "ENOUGH",
    "FEW",
    "LEVEL",
    "PRIOR",
    "Fall",
    "Groups",
    "OwnMean",
    "Pair",
    "StandardDeviations",
    "Vote",
    "bradley_terry",
    "case_fails",
    "change_found",
    "cluster_means",
    "clustered",
    "clusters_needed",
    "coin_tail",
    "critical",
    "crossing",
    "detectable",
    "differences",
    "differs",
    "distinct_pairs",
    "fallen",
    "falls",
    "flips_agree",
    "flips_of_few",
    "holm",
    "levels",
    "max_of_k",
    "mean_interval",
    "one_by_one",
    "own_mean",
    "own_reach",
    "p_above",
    "p_below",
    "paired",
    "pooled_interval",
    "pooled_sd",
    "power_of",
    "quantile",
    "rank_ranges",
    "rate_votes",
    "reach",
    "rows_differ",
    "sign_flip",
    "simultaneous",
    "smallest_change",
    "spending_bounds",
    "spent",
    "spread_of",
    "spurious_red",
    "surely_below",
    "tie_letters",
    "win_matrix",
]
