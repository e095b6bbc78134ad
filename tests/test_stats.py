"""Every interval and p-value against an independent way to compute it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness import stats
from harness.values import Interval


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


@pytest.mark.parametrize("n", [5, 8, 12])
def test_sign_flips_are_the_exact_permutation_test(n: int) -> None:
    values = rng(n).normal(0.05, 0.1, n)

    expected = scipy_stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )

    assert stats.sign_flip(values) == pytest.approx(expected.pvalue, abs=1e-9)


def test_sampled_sign_flips_are_near_the_t_test() -> None:
    values = rng(3).normal(0.03, 0.1, 40)

    assert stats.sign_flip(values) == pytest.approx(
        scipy_stats.ttest_1samp(values, 0, alternative="greater").pvalue, abs=0.01
    )


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
