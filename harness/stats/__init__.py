"""Intervals, comparisons, power and planned looks: pure functions, samples nested in clusters (seeds in prompts).

intervals   means, paired differences, pooled spread, bootstrap
comparing   t tests of a bound, sign flips, Holm, non-inferiority
many        several means at once: simultaneous intervals, the best of K, ties
power       what can be proven before anything is drawn
looking     two or three looks at growing data
votes       Bradley-Terry for pairwise votes
"""

from harness.stats.comparing import (
    equivalent,
    holm,
    non_inferior,
    p_above,
    p_below,
    sign_flip,
    sign_flip_family,
)
from harness.stats.intervals import (
    LEVEL,
    Groups,
    Pair,
    Spread,
    bootstrap,
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
from harness.stats.looking import classic_bounds, crossing, levels, spending_bounds, spent
from harness.stats.many import critical, distinct_pairs, max_of_k, rank_ranges, simultaneous, tie_letters
from harness.stats.power import case_fails, clusters_needed, detectable, gate_fails, power_of, spurious_red
from harness.stats.votes import Vote, bradley_terry, rate_votes, win_matrix

__all__ = [
    "LEVEL",
    "Groups",
    "Pair",
    "Spread",
    "Vote",
    "bootstrap",
    "bradley_terry",
    "case_fails",
    "classic_bounds",
    "cluster_means",
    "clustered",
    "clusters_needed",
    "critical",
    "crossing",
    "detectable",
    "differences",
    "distinct_pairs",
    "equivalent",
    "gate_fails",
    "holm",
    "levels",
    "max_of_k",
    "mean_interval",
    "non_inferior",
    "p_above",
    "p_below",
    "paired",
    "pooled_interval",
    "pooled_sd",
    "power_of",
    "quantile",
    "rank_ranges",
    "rate_votes",
    "sign_flip",
    "sign_flip_family",
    "simultaneous",
    "spending_bounds",
    "spent",
    "spread_of",
    "spurious_red",
    "tie_letters",
    "win_matrix",
]
