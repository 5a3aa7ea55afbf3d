from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from emo_harness.effects import crossed_bootstrap, paired_bootstrap, percentile_interval
from emo_harness.effects.gain import stratified_variance

N_RESAMPLES = 8000


def few_values(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=n)


def many_values(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.beta(2, 5, size=n) - 0.25


@pytest.mark.parametrize("drawn", [few_values, many_values])
def test_resampled_counts_are_distributed_as_questions_resampled_one_by_one(drawn) -> None:
    rng = np.random.default_rng(0)
    difference = drawn(rng, 150)
    means = paired_bootstrap(difference, rng, N_RESAMPLES)
    naive = difference[rng.integers(0, 150, (N_RESAMPLES, 150))].mean(axis=1)
    se = difference.std() / np.sqrt(150)
    assert means.mean() == pytest.approx(naive.mean(), abs=4 * se * np.sqrt(2 / N_RESAMPLES))
    assert means.std() == pytest.approx(se, rel=4 / np.sqrt(2 * N_RESAMPLES))
    distance = stats.ks_2samp(means.round(9), naive.round(9)).statistic
    assert distance < 1.95 * np.sqrt(2 / N_RESAMPLES)  # the 0.1% critical value


def test_the_same_seed_gives_the_same_resamples() -> None:
    difference = few_values(np.random.default_rng(1), 90)
    one, same, other = (
        paired_bootstrap(difference, np.random.default_rng(s), 50) for s in (7, 7, 8)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    matrix = few_values(np.random.default_rng(1), 90).reshape(30, 3)
    one, same = (crossed_bootstrap(matrix, np.random.default_rng(7), 50) for _ in range(2))
    np.testing.assert_array_equal(one, same)


def test_strata_keep_their_numbers_of_questions() -> None:
    strata = np.repeat([3, 1], [40, 60])
    by_stratum = np.where(strata == 3, 1.0, -1.0)
    means = paired_bootstrap(by_stratum, np.random.default_rng(2), 200, strata)
    np.testing.assert_allclose(means, -0.2)
    assert paired_bootstrap(by_stratum, np.random.default_rng(2), 200).std() > 0


def test_a_stratified_bootstrap_has_the_stratified_variance() -> None:
    rng = np.random.default_rng(3)
    strata = np.repeat([0, 1], [3000, 3511])
    difference = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=6511)
    difference[strata == 0] = np.maximum(difference[strata == 0], 0)
    means = paired_bootstrap(difference, rng, 10_000, strata)
    assert means.shape == (10_000,)
    variance, _ = stratified_variance(difference, strata)
    assert means.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / 10_000))


@pytest.mark.parametrize("n", [40, 6511])
def test_crossed_bootstrap_has_the_variance_of_questions_stimuli_and_their_interaction(
    n: int,
) -> None:
    rng = np.random.default_rng(4)
    m, n_resamples = 8, 6000
    ability, appeal = rng.normal(0, 1, (n, 1)), rng.normal(0, 0.3, m)
    difference = np.sign(ability + appeal + rng.normal(0, 0.5, (n, m)))
    mean = difference.mean()
    by_question, by_stimulus = difference.mean(axis=1) - mean, difference.mean(axis=0) - mean
    interaction = difference - mean - by_question[:, None] - by_stimulus
    variance = by_question.var() / n + by_stimulus.var() / m + (interaction**2).mean() / (n * m)
    means = crossed_bootstrap(difference, rng, n_resamples)
    assert means.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / n_resamples))
    assert means.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / n_resamples))


def test_percentile_interval_is_the_central_share() -> None:
    means = np.random.default_rng(5).permutation(np.arange(1001.0))
    assert percentile_interval(means) == pytest.approx((25, 975))
    assert percentile_interval(means, 0.5) == pytest.approx((250, 750))
