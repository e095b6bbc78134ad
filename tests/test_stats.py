"""Every interval and p-value against an independent way to compute it, or against a published table."""

from __future__ import annotations

import itertools

import choix
import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from harness.core import stats
from harness.core.values import Interval


def ends_of(interval: Interval) -> tuple[float, float]:
    """Of an interval that has both."""
    assert interval.low is not None and interval.high is not None
    return interval.low, interval.high


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("n", [2, 3, 5, 12, 40])
def test_the_mean_interval_is_the_t_interval(n: int) -> None:
    values = rng(n).normal(0.6, 0.1, n)

    found = stats.mean_interval(values)

    low, high = scipy_stats.t.interval(0.95, n - 1, values.mean(), scipy_stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high), abs=1e-9)


def test_one_value_has_no_bounds_and_none_has_no_mean() -> None:
    assert stats.mean_interval([0.5]) == Interval(0.5, None, None, 1)
    with pytest.raises(ValueError, match="no mean of nothing"):
        stats.mean_interval([])


def test_a_nan_is_refused_rather_than_passed_on() -> None:
    with pytest.raises(ValueError, match="not a number"):
        stats.mean_interval([0.5, float("nan")])


def test_clusters_count_and_not_samples() -> None:
    values = {f"case {number}": rng(number).normal(0.5, 0.1, 3 + number % 3) for number in range(9)}

    found = stats.clustered(values)

    assert found == stats.mean_interval([group.mean() for group in values.values()])
    assert found.n == 9


def test_pairs_are_matched_by_case_and_seed_and_clustered_by_case() -> None:
    pairs = list(itertools.product("abcdef", range(4)))
    a = {pair: float(value) for pair, value in zip(pairs, rng(1).normal(0.7, 0.1, 24), strict=True)}
    b = {pair: a[pair] - 0.05 + float(noise) for pair, noise in zip(pairs, rng(2).normal(0, 0.01, 24), strict=True)}
    b["only in b", 0] = 0.0

    found = stats.paired(a, b)

    means = [np.mean([a[case, seed] - b[case, seed] for seed in range(4)]) for case in "abcdef"]
    expected = scipy_stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert found is not None and found.n == 6
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_in_common_is_no_comparison() -> None:
    assert stats.paired({("a", 0): 1.0}, {("b", 0): 1.0}) is None


def test_the_pooled_spread_is_that_of_an_analysis_of_variance() -> None:
    groups = [rng(seed).normal(seed, 0.3, 2 + seed) for seed in range(6)]

    sd, df = stats.pooled_sd(groups)

    residuals = np.concatenate([group - group.mean() for group in groups])
    assert df == len(residuals) - len(groups)
    assert sd == pytest.approx(np.sqrt((residuals**2).sum() / df), abs=1e-9)
    assert stats.pooled_sd([[1.0], []]) == (0.0, 0)


def test_the_pooled_interval_borrows_spread_and_degrees_of_freedom() -> None:
    found = stats.pooled_interval([0.5, 0.7, 0.6], sd=0.12, df=20)

    half = scipy_stats.t.ppf(0.975, 20) * 0.12 / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.6 - half, 0.6 + half), abs=1e-9)


def test_p_below_is_the_one_sided_t_test() -> None:
    values = rng(5).normal(0.55, 0.1, 11)

    p = stats.p_below(stats.mean_interval(values), 0.6)

    assert p == pytest.approx(scipy_stats.ttest_1samp(values, 0.6, alternative="less").pvalue, abs=1e-9)


def test_p_below_agrees_with_the_interval() -> None:
    for seed in range(200):
        found = stats.mean_interval(rng(seed).normal(0.56, 0.08, 6))
        assert (stats.p_below(found, 0.6) < 0.025) == (found.high is not None and found.high < 0.6)


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([]) == []


def test_holm_keeps_the_family_error_rate() -> None:
    hits = sum(min(stats.holm(list(rng(seed).uniform(size=4)))) < 0.05 for seed in range(4000))

    assert 0.04 < hits / 4000 < 0.06


@pytest.mark.parametrize("n", [2, 5, 7, 12])
def test_sign_flips_are_the_exact_permutation_test(n: int) -> None:
    values = rng(n).normal(0.05, 0.1, n)

    expected = scipy_stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative="two-sided", n_resamples=np.inf
    )

    assert stats.sign_flip(values) == pytest.approx(expected.pvalue, abs=1e-9)


def test_few_clusters_agree_only_when_all_go_one_way() -> None:
    """Five clusters cannot show less than 6%, so the least they can show is asked for; seven can show 5%."""
    assert stats.flips_agree(stats.sign_flip([0.1, 0.2, 0.3, 0.1, 0.2]), 5)
    assert not stats.flips_agree(stats.sign_flip([0.1, 0.2, 0.3, 0.1, -0.01]), 5)
    assert stats.flips_agree(stats.sign_flip([0.1, 0.2, 0.3, 0.1, 0.2, 0.2, -0.01]), 7)
    assert stats.flips_of_few({case: [0.1] for case in range(stats.FEW)}) is None
    assert stats.flips_of_few({"one": [0.1]}) is None


@pytest.mark.parametrize("n", [3, 4, 5, 7])
def test_a_witness_of_few_clusters_never_adds_false_alarms(n: int) -> None:
    """Heavy-tailed differences: t and sign flips must both speak; below five clusters t says no more than the signs."""
    alarms = plain = 0
    for seed in range(2000):
        values = rng(seed).gamma(0.5, 0.05, n) * rng(9_000 + seed).choice((-1, 1), n)
        gap = stats.mean_interval(values)
        plain += stats.differs(gap)
        alarms += stats.differs(gap, stats.sign_flip(values))

    assert (alarms < plain if n > 4 else alarms == plain) and alarms / 2000 < 0.06


@pytest.mark.parametrize("n", [3, 5, 7, 12])
def test_many_comparisons_at_once_are_decided_one_by_one(n: int) -> None:
    rows = rng(n).normal(0.05, 0.05, (200, n))

    for level in (0.95, 0.98):
        groups = [{case: [value] for case, value in enumerate(row)} for row in rows]
        single = [stats.differs(stats.clustered(each, level), stats.flips_of_few(each), level) for each in groups]
        assert stats.rows_differ(rows, level).tolist() == single and len(set(single)) == 2


def test_one_rival_is_a_plain_paired_comparison() -> None:
    gap = {case: list(rng(ord(case)).normal(0.1, 0.05, 3)) for case in "abcdef"}

    assert stats.max_of_k({"rival": gap}) == stats.clustered(gap)
    assert stats.max_of_k({}) is None


def test_the_best_of_three_equals_is_not_called_better() -> None:
    """The plain gap to the best of three equals is negative three times in four; its interval must hold 0."""
    below = excludes = 0
    for seed in range(1500):
        scores = rng(seed).normal(0.6, 0.05, (4, 12))
        gaps = {f"rival {k}": {case: [scores[0, case] - scores[k, case]] for case in range(12)} for k in (1, 2, 3)}
        found = stats.max_of_k(gaps)
        assert found is not None and found.low is not None and found.high is not None
        below += found.mean < 0
        excludes += found.high < 0 or found.low > 0

    assert below / 1500 > 0.7
    assert excludes / 1500 < 0.06


def test_detectable_differences_are_found_as_often_as_promised() -> None:
    size = stats.detectable(0.1, 12, power=0.8)
    hits = sum(scipy_stats.ttest_1samp(rng(seed).normal(size, 0.1, 12), 0).pvalue < 0.05 for seed in range(2000))

    assert 0.74 < hits / 2000 < 0.86


# --- spread -----------------------------------------------------------------------------------------------------------


def test_components_of_spread_are_those_of_an_analysis_of_variance() -> None:
    groups = rng(7).normal(rng(8).normal(0.6, 0.05, (30, 1)), 0.08, (30, 5))

    found = stats.spread_of(list(groups))

    within = groups.var(axis=1, ddof=1).mean()
    between = groups.mean(axis=1).var(ddof=1) - within / 5
    assert (found.within, found.between) == pytest.approx((within**0.5, between**0.5), abs=1e-9)
    assert found.of_mean(5) == pytest.approx(groups.mean(axis=1).std(ddof=1), abs=1e-9)
    assert stats.spread_of([[0.1, 0.9], [0.1, 0.9]]).between == 0, "a negative component is none"


# --- bounds and families ----------------------------------------------------------------------------------------------


def test_non_inferiority_is_a_one_sided_t_test() -> None:
    values = rng(11).normal(0.0, 0.02, 12)

    above = scipy_stats.ttest_1samp(values, -0.03, alternative="greater").pvalue
    assert stats.p_above(stats.mean_interval(values), -0.03) == pytest.approx(above, abs=1e-9)


def test_somebody_worse_by_the_margin_is_seldom_proven_no_worse() -> None:
    gaps = [stats.mean_interval(rng(seed).normal(-0.02, 0.05, 12)) for seed in range(4000)]
    hits = sum(stats.p_above(gap, -0.02) < 0.025 for gap in gaps)

    assert 0.018 < hits / 4000 < 0.033


# --- statsmodels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clusters", "seeds"), [(4, 2), (12, 4), (30, 3)])
def test_clustered_errors_are_those_of_statsmodels(clusters: int, seeds: int) -> None:
    """Equal clusters, where a mean of means is the mean: the sandwich without its (n - 1) / (n - k)."""
    values = rng(clusters).normal(rng(seeds).normal(0.6, 0.1, (clusters, 1)), 0.05, (clusters, seeds))

    found = stats.clustered(dict(enumerate(values)))

    labels = np.repeat(np.arange(clusters), seeds)
    fit = OLS(values.ravel(), np.ones(values.size)).fit(
        cov_type="cluster", cov_kwds={"groups": labels, "use_correction": False}, use_t=True
    )
    error = float(fit.bse[0]) * (clusters / (clusters - 1)) ** 0.5
    half = scipy_stats.t.ppf(0.975, clusters - 1) * error
    assert (found.low, found.high) == pytest.approx((fit.params[0] - half, fit.params[0] + half), abs=1e-9)


@pytest.mark.parametrize("n", [2, 7, 12, 60])
def test_intervals_and_p_values_are_those_of_statsmodels(n: int) -> None:
    values = rng(n).normal(0.02, 0.05, n)
    found, expected = stats.mean_interval(values), DescrStatsW(values)

    assert (found.low, found.high) == pytest.approx(expected.tconfint_mean(0.05), abs=1e-9)
    assert stats.p_below(found, 0.03) == pytest.approx(expected.ttest_mean(0.03, "smaller")[1], abs=1e-9)
    assert stats.p_above(found, 0.0) == pytest.approx(expected.ttest_mean(0.0, "larger")[1], abs=1e-9)


@pytest.mark.parametrize("count", [1, 3, 8, 40])
def test_holm_is_that_of_statsmodels(count: int) -> None:
    ps = list(rng(count).uniform(0, 0.2, count))

    assert stats.holm(ps) == pytest.approx(multipletests(ps, method="holm")[1], abs=1e-9)


@pytest.mark.parametrize(("effect", "clusters"), [(0.02, 8), (0.05, 12), (0.01, 60)])
def test_power_is_that_of_statsmodels(effect: float, clusters: int) -> None:
    """Statsmodels adds the chance of finding it in the wrong direction, which one side at 2.5% leaves out."""
    expected = TTestPower().power(effect / 0.05, clusters, 0.025, alternative="larger")

    assert stats.power_of(effect, 0.05, clusters) == pytest.approx(expected, abs=1e-9)


# --- many at once -----------------------------------------------------------------------------------------------------


def test_the_critical_value_of_one_column_is_students_and_of_equal_columns_too() -> None:
    column = rng(1).normal(size=(12, 1))

    assert stats.critical(column) == pytest.approx(scipy_stats.t.ppf(0.975, 11), abs=1e-9)
    assert stats.critical(np.tile(column, 4)) == pytest.approx(scipy_stats.t.ppf(0.975, 11), rel=0.02)


def test_the_critical_value_of_independent_columns_is_the_studentised_maximum_modulus() -> None:
    """Tabled: 5% points for 3 and 5 means with 20 degrees of freedom are 2.59 and 2.81 (Hochberg and Tamhane 1987)."""
    for count, tabled in ((3, 2.594), (5, 2.816)):
        random = rng(count).normal(size=(21, count))
        whitened = np.linalg.qr(random - random.mean(0))[0]  # columns without any correlation
        assert stats.critical(whitened) == pytest.approx(tabled, rel=0.02)


def test_simultaneous_intervals_hold_all_truths_at_once() -> None:
    hits = 0
    for seed in range(400):
        columns = rng(seed).normal(0.6, 0.05, (7, 4)) + rng(10_000 + seed).normal(0, 0.05, (7, 1))
        hits += all(low <= 0.6 <= high for low, high in map(ends_of, stats.simultaneous(columns)))

    assert 0.92 < hits / 400 <= 1


def test_skewed_scores_reach_further_down_than_up() -> None:
    """Scores that crowd below 1: whoever misses the few low ones stands too high."""
    columns = np.minimum(1.0, rng(3).normal(0.97, 0.06, (12, 2)))

    plain, found = stats.critical(columns), stats.simultaneous(columns)[0]

    error = columns[:, 0].std(ddof=1) / 12**0.5
    assert found.low is not None and found.high is not None
    assert (found.mean - found.low) / error > (found.high - found.mean) / error >= plain - 1e-9


def test_mirrored_scores_have_mirrored_intervals() -> None:
    columns = np.minimum(1.0, rng(3).normal(0.97, 0.06, (12, 2)))

    for found, mirrored in zip(stats.simultaneous(columns), stats.simultaneous(-columns), strict=True):
        assert found.high is not None and found.low is not None
        assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_simultaneous_intervals_hold_skewed_truths_too() -> None:
    """Most prompts are easy and a few are hard, for three providers at once, as on the shipped suite."""
    hits = plain = 0
    for seed in range(400):
        hard = rng(seed).gamma(0.6, 0.04, (12, 1))  # mean 0.024, skewness 2.6
        columns = 1 - hard + rng(10_000 + seed).normal(0, 0.006, (12, 3))
        error = columns.std(0, ddof=1) / 12**0.5
        hits += all(low <= 0.976 <= high for low, high in map(ends_of, stats.simultaneous(columns)))
        plain += bool((np.abs(columns.mean(0) - 0.976) <= stats.critical(columns) * error).all())

    assert plain / 400 < 0.91 and hits / 400 > 0.94


def test_ties_are_who_shares_a_letter() -> None:
    """0 beats 2 and 3, 1 beats 3: so 0 and 1 tie, 1 and 2 tie, 2 and 3 tie."""
    assert stats.tie_letters([0, 1, 2, 3], {(0, 2), (0, 3), (1, 3)}) == ["a", "ab", "bc", "c"]
    assert stats.tie_letters([1, 0], {(1, 0)}) == ["a", "b"]
    assert stats.tie_letters([0, 1, 2], set()) == ["a", "a", "a"]


def test_letters_and_proofs_say_the_same_of_every_pair() -> None:
    for seed in range(200):
        random = rng(seed)
        distinct = {(a, b) for a in range(6) for b in range(a + 1, 6) if random.random() < 0.4}
        letters = stats.tie_letters(range(6), distinct)
        for a, b in itertools.combinations(range(6), 2):
            assert bool(set(letters[a]) & set(letters[b])) is ((a, b) not in distinct)


def test_ranges_of_ranks_count_who_is_proven_better_and_worse() -> None:
    assert stats.rank_ranges(4, {(0, 2), (0, 3), (1, 3)}) == [(1, 2), (1, 3), (2, 4), (3, 4)]


def test_clear_differences_are_found_and_equals_are_not() -> None:
    base = rng(5).normal(0.6, 0.05, (12, 1))
    columns = np.hstack([base + 0.3, base, base + rng(6).normal(0, 0.01, (12, 1))])

    assert stats.distinct_pairs(columns + rng(7).normal(0, 0.005, columns.shape)) == {(0, 1), (0, 2)}


# --- power ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("effect", "clusters"), [(0.02, 8), (0.05, 12), (0.04, 40)])
def test_power_is_that_of_the_noncentral_t(effect: float, clusters: int) -> None:
    bound = scipy_stats.t.ppf(0.975, clusters - 1)
    expected = scipy_stats.nct.sf(bound, clusters - 1, effect / 0.05 * clusters**0.5)

    assert stats.power_of(effect, 0.05, clusters) == pytest.approx(expected, abs=1e-9)


def test_the_smallest_effect_is_found_with_its_own_power() -> None:
    assert stats.power_of(stats.detectable(0.05, 12, power=0.9), 0.05, 12) == pytest.approx(0.9, abs=1e-9)
    assert stats.detectable(0.05, 1) == float("inf")
    assert stats.power_of(0.1, 0.05, 1) == 0.0
    needed = stats.clusters_needed(0.03, 0.05)
    assert stats.power_of(0.03, 0.05, needed) >= 0.8 > stats.power_of(0.03, 0.05, needed - 1)


@pytest.mark.parametrize("clusters", [8, 12, 60])
def test_without_a_margin_a_change_is_found_as_by_t(clusters: int) -> None:
    assert stats.change_found(0.02, 0.05, clusters, 0.0) == pytest.approx(
        stats.power_of(0.02, 0.05, clusters), abs=1e-6
    )


@pytest.mark.parametrize(
    ("effect", "clusters", "margin"), [(0.03, 12, 0.02), (0.02, 60, 0.02), (0.05, 5, 0.02), (0.04, 7, 0.05)]
)
def test_a_change_is_found_as_often_as_simulated(effect: float, clusters: int, margin: float) -> None:
    """Proven by t, by the signs of few clusters, and by a mean that reaches the margin."""
    hits = 0
    for seed in range(3000):
        values = rng(seed).normal(effect, 0.04, clusters)
        flips = stats.flips_of_few({case: [value] for case, value in enumerate(values)})
        hits += stats.differs(stats.mean_interval(values), flips) and values.mean() >= margin

    assert stats.change_found(effect, 0.04, clusters, margin) == pytest.approx(hits / 3000, abs=0.03)


def test_the_smallest_change_is_found_with_its_own_power() -> None:
    for clusters in (5, 12, 60):
        smallest = stats.smallest_change(0.04, clusters, 0.02)
        assert smallest > 0.02 and smallest > stats.detectable(0.04, clusters) - 1e-9
        assert stats.change_found(smallest, 0.04, clusters, 0.02) == pytest.approx(0.8, abs=1e-3)
    assert stats.smallest_change(0.04, 1, 0.02) == float("inf")


PLAIN = [(6, 0.95)]


def test_cases_on_their_threshold_are_red_as_often_as_simulated() -> None:
    """Twelve cases of six seeds, each truly as good as its bound: one in forty fails, and twelve have a chance."""
    red = 0
    for seed in range(1500):
        values = rng(seed).normal(0.6, 0.06, (12, 6))
        red += any(ends_of(stats.mean_interval(list(row)))[1] < 0.6 for row in values)

    assert stats.spurious_red([0.6] * 12, PLAIN, None, 0.06) == pytest.approx(red / 1500, abs=0.035)


def test_red_for_nothing_grows_with_fewer_seeds_and_falls_with_distance() -> None:
    spread = stats.StandardDeviations(0.05, 0.06)
    rates = [stats.spurious_red([0.6] * 12, [(seeds, 0.95)], (0.7, spread), 0.06) for seeds in (2, 6, 12)]

    assert rates[0] > rates[1] > rates[2] > 0
    assert stats.spurious_red([0.6] * 12, [(1, 0.95)], (0.7, spread), 0.06) == 0, "one seed confirms nothing"
    assert stats.spurious_red([0.6] * 12, PLAIN, (0.95, spread), 0.06) < 1e-6


# --- looks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("looks", "pocock", "obrien"), [(2, 2.178, 1.977), (3, 2.289, 2.004), (4, 2.361, 2.024), (5, 2.413, 2.040)]
)
def test_classic_bounds_are_the_tabled_ones(looks: int, pocock: float, obrien: float) -> None:
    """Jennison and Turnbull 2000, tables 2.1 and 2.3, 5% on two sides."""
    shares = tuple((number + 1) / looks for number in range(looks))

    def false_alarms(bound: float, power: float) -> float:
        return sum(stats.crossing(shares, [bound / share**power for share in shares], True))

    for tabled, power in ((pocock, 0.0), (obrien, 0.5)):
        assert false_alarms(tabled - 6e-4, power) > 0.05 > false_alarms(tabled + 6e-4, power)


def test_spending_bounds_are_the_tabled_ones() -> None:
    """Lan and DeMets 1983; five equal looks."""
    shares = tuple((number + 1) / 5 for number in range(5))

    late = stats.spending_bounds(shares, 0.025, "obrien-fleming")
    assert late == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=6e-4)
    early = stats.spending_bounds(shares, 0.05, "pocock", True)
    assert early == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=6e-4)


def test_what_the_looks_use_up_is_what_was_to_be_spent() -> None:
    shares = (0.2, 0.5, 1.0)
    for kind in ("pocock", "obrien-fleming"):
        used = np.cumsum(stats.crossing(shares, stats.spending_bounds(shares, 0.025, kind)))
        assert used == pytest.approx([stats.spent(share, 0.025, kind) for share in shares], abs=1e-8)


def test_eight_looks_at_five_percent_are_wrong_eighteen_times_in_a_hundred() -> None:
    shares = [(number + 1) / 8 for number in range(8)]

    assert sum(stats.crossing(shares, [1.96] * 8, two_sided=True)) == pytest.approx(0.179, abs=0.01)


# --- votes ------------------------------------------------------------------------------------------------------------


def test_strengths_are_those_of_a_reference_library() -> None:
    wins = rng(9).integers(1, 9, (5, 5)).astype(float)
    np.fill_diagonal(wins, 0)
    votes = [(a, b) for a in range(5) for b in range(5) for _ in range(int(wins[a, b]))]

    assert stats.bradley_terry(wins) == pytest.approx(choix.opt_pairwise(5, votes, tol=1e-12), abs=1e-5)


def test_strengths_solve_the_likelihood_equations() -> None:
    """At the maximum everybody has won as often as the model expects."""
    wins = rng(10).integers(1, 9, (4, 4)).astype(float)
    np.fill_diagonal(wins, 0)

    strength = stats.bradley_terry(wins)

    chances = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
    expected = ((wins + wins.T) * chances).sum(1)
    assert expected == pytest.approx(wins.sum(1), abs=1e-9)
    assert strength.sum() == pytest.approx(0, abs=1e-9)


def test_a_tie_is_half_a_win_for_each() -> None:
    votes = [stats.Vote("a", "x", "y", tie=True), stats.Vote("a", "x", "y"), stats.Vote("b", "y", "x")]

    assert stats.win_matrix(votes, ["x", "y"]).tolist() == [[0, 1.5], [1.5, 0]]
    assert stats.bradley_terry(stats.win_matrix(votes, ["x", "y"])) == pytest.approx([0, 0])


def test_who_never_lost_has_no_strength_without_a_prior() -> None:
    with pytest.raises(ValueError, match="won or lost every comparison"):
        stats.bradley_terry(np.array([[0.0, 3.0], [0.0, 0.0]]))


def test_votes_are_rated_with_intervals_over_cases() -> None:
    votes = [
        stats.Vote(case, *(("lora", "base") if (case + vote) % 10 else ("base", "lora")))
        for case in range(12)
        for vote in range(5)
    ]

    rated = stats.rate_votes(votes)

    assert list(rated) == ["lora", "base"]
    assert rated["lora"].low is not None and rated["lora"].low > 0
    assert rated["lora"].mean == pytest.approx(-rated["base"].mean)
    assert rated["lora"].n == 12
    assert stats.rate_votes(votes) == rated, "the same votes, the same answer"
    assert stats.rate_votes([]) == {}
    assert stats.rate_votes(votes[:5])["lora"].low is None


# --- within prompts ---------------------------------------------------------------------------------------------------


def test_the_mean_of_own_prompts_knows_each_prompts_spread() -> None:
    """One prompt that varies, counted twice: degrees of freedom between its own and those of all."""
    steady, hard = [0.9, 0.9, 0.9], [0.5, 0.6, 0.7]
    own = stats.own_mean({"a": steady, "b": hard})

    assert own is not None and (own.mean, own.n) == (pytest.approx(0.75), 2)
    assert own.error == pytest.approx(0.1 / 3**0.5 / 2) and own.df == pytest.approx(2)
    alike = stats.own_mean({name: [0.5, 0.6, 0.7] for name in "abcd"})
    assert alike is not None and alike.df == pytest.approx((5 / 4) ** 2 * 16 * 2 / 7), "of 8 that are there"
    interval = own.interval()
    assert interval.high == pytest.approx(0.75 + stats.quantile(0.025, own.df) * own.error)
    assert own.p_below(interval.high) == pytest.approx(0.025)


def test_a_prompt_with_one_seed_takes_the_spread_of_all_and_one_seed_each_tells_nothing() -> None:
    assert stats.own_mean({"a": [0.9], "b": [0.5]}) is None and stats.own_mean({}) is None
    own = stats.own_mean({"a": [0.9], "b": [0.5, 0.6]})
    assert own is not None and own.error == pytest.approx((0.005 + 0.0025) ** 0.5 / 2)
    sure = stats.own_mean({"a": [0.5, 0.5]})
    assert sure is not None and (sure.p_below(0.5), sure.p_below(0.51)) == (1.0, 0.0)


def test_the_interval_of_own_prompts_holds_their_mean() -> None:
    """One hard prompt of eight, and the seeds of the others agree."""
    held = 0
    for seed in range(600):
        values = np.concatenate([rng(seed).normal(0.9, 0.02, (7, 4)), rng(seed + 9_999).normal(0.6, 0.15, (1, 4))])
        own = stats.own_mean({row: list(each) for row, each in enumerate(values)})
        assert own is not None
        low, high = ends_of(own.interval())
        held += low <= (7 * 0.9 + 0.6) / 8 <= high

    assert 0.925 < held / 600 < 0.98


@pytest.mark.parametrize(("seeds", "prompts"), [(3, 12), (4, 24)])
def test_the_reach_of_own_prompts_is_decided_as_often_as_it_says(seeds: int, prompts: int) -> None:
    sds = [0.15, *[0.03] * (prompts - 1)]
    away, decided = stats.own_reach(sds, seeds), 0
    for seed in range(400):
        values = rng(seed).normal(0.6 - away, np.array(sds)[:, None], (prompts, seeds))
        own = stats.own_mean({row: list(each) for row, each in enumerate(values)})
        assert own is not None
        decided += ends_of(own.interval())[1] < 0.6

    assert decided / 400 == pytest.approx(0.8, abs=0.07)


def test_falls_read_a_prompts_own_spread_moderated_by_that_of_all() -> None:
    steady = {name: [0.9, 0.92, 0.94] for name in "bcdefgh"}
    each = stats.falls({**steady, "a": [0.1, 0.3, 0.5]}, {**steady, "a": [0.9, 0.92, 0.94]})

    own, df = stats.pooled_sd([[0.1, 0.3, 0.5], [0.9, 0.92, 0.94]])
    pooled, _ = stats.pooled_sd([*steady.values(), *steady.values(), [0.1, 0.3, 0.5], [0.9, 0.92, 0.94]])
    assert df == 4 and each["a"].df == 12 and each["a"].drop == pytest.approx(0.62)
    variance = (8 * pooled**2 + 4 * own**2) / 12
    assert each["a"].error == pytest.approx((variance * 2 / 3) ** 0.5)
    assert each["b"].drop == 0 and stats.fallen(each, 0.2) == ["a"]


@pytest.mark.parametrize(("drop", "sure"), [(0.199, []), (0.201, ["a"])])
def test_a_fall_counts_from_what_is_allowed_on(drop: float, sure: list[str]) -> None:
    now, before = {"a": [0.8 - drop] * 3, "b": [0.8] * 3}, {"a": [0.8] * 3, "b": [0.8] * 3}

    assert stats.fallen(stats.falls(now, before), 0.2) == sure
    assert stats.falls({"a": [0.1]}, {"a": [0.9]}) == {}, "one seed on either side tells nothing"
    assert set(stats.falls({"a": [0.1], "b": [0.1, 0.2]}, {"a": [0.9]})) == set(), "nor does a prompt of one side"
