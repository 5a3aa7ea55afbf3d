"""Associations of shift and gain: against independent fits, and under no association."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.api import OLS

from emo_harness.effects.association import between_stimuli, correlations, within_stimuli


def scores(
    seed: int, n: int = 120, m: int = 12, between: float = 0.0, within: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    of_stimulus, of_pair = rng.normal(size=m), rng.normal(size=(n, m))
    gain = 0.2 * rng.normal(size=(n, 1)) + 0.3 * rng.normal(size=(n, m))
    gain += 0.05 * rng.normal(size=m) + between * of_stimulus + within * of_pair
    return of_stimulus + of_pair, gain


def test_between_is_least_squares_and_spearman_of_the_means() -> None:
    shift, gain = scores(0, between=0.1)
    found = between_stimuli(shift, gain, np.random.default_rng(1))
    x, y = shift.mean(axis=0), 100 * gain.mean(axis=0)
    line = stats.linregress(x, y)
    assert found.n == 12
    assert found.slope_pp == pytest.approx(line.slope)
    assert found.correlation == pytest.approx(line.rvalue)
    assert found.rank_correlation == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.p < 0.05
    assert found.low_pp > 0


def test_gains_that_are_all_alike_go_with_no_shift() -> None:
    shift, _ = scores(3)
    found = between_stimuli(shift, np.zeros_like(shift), np.random.default_rng(1))
    assert (found.slope_pp, found.p) == (0, 1)


def test_within_is_least_squares_with_a_mean_for_every_stimulus_and_subtask() -> None:
    shift, gain = scores(2, n=40, m=3, within=0.2)
    strata = np.repeat([0, 1], 20)
    found = within_stimuli(shift, gain, strata)
    cells = (strata[:, None] * 3 + np.arange(3)).ravel()
    design = np.column_stack([shift.ravel(), np.eye(6)[cells]])
    question = np.repeat(np.arange(40), 3)
    fit = OLS(100 * gain.ravel(), design).fit(
        cov_type="cluster", cov_kwds={"groups": question, "use_correction": False}
    )
    assert found.slope_pp == pytest.approx(fit.params[0])
    width = (found.high_pp - found.low_pp) / 2 / stats.t.ppf(0.975, 39)
    assert width == pytest.approx(fit.bse[0] * np.sqrt(40 / 39))


def test_what_differs_between_stimuli_is_not_seen_within_them() -> None:
    shift, gain = scores(3, between=0.5)
    assert within_stimuli(shift, gain).p > 0.01
    assert between_stimuli(shift, gain, np.random.default_rng(0)).p < 0.01


def test_within_interval_holds_no_association_nineteen_times_in_twenty() -> None:
    held = 0
    for seed in range(300):
        found = within_stimuli(*scores(seed, n=60, m=5))
        held += found.low_pp <= 0 <= found.high_pp
    assert 0.92 <= held / 300 <= 0.98


def test_between_rejects_no_association_about_one_time_in_twenty() -> None:
    rejected = sum(
        between_stimuli(*scores(seed, n=30, m=8), np.random.default_rng(seed)).p < 0.05
        for seed in range(150)
    )
    assert rejected / 150 <= 0.10


def test_missing_cells_are_left_out_and_nothing_is_made_of_nothing() -> None:
    shift, gain = scores(4)
    gain[5, 3] = np.nan
    shift[:, 7] = np.nan
    assert between_stimuli(shift, gain, np.random.default_rng(0)).n == 11
    assert within_stimuli(shift, gain).n == 120
    few = between_stimuli(shift[:, :3], gain[:, :3], np.random.default_rng(0))
    assert few.n == 3
    assert np.isnan(few.slope_pp)
    flat = within_stimuli(np.ones((20, 4)), gain[:20, :4])
    assert np.isnan(flat.slope_pp)
    assert np.isnan(within_stimuli(shift[:0], gain[:0]).slope_pp)


def test_correlations_of_many_directions_are_those_of_each() -> None:
    shift, gain = scores(5, n=40, m=6, within=0.1)
    gain[3, 2] = np.nan
    other = np.random.default_rng(9).normal(size=shift.shape)
    strata = np.repeat([0, 1], 20)
    between, within = correlations(np.stack([shift, other], axis=2), gain, strata)
    for number, one in enumerate((shift, other)):
        rng = np.random.default_rng(0)
        assert between[number] == pytest.approx(between_stimuli(one, gain, rng, strata).correlation)
        assert within[number] == pytest.approx(within_stimuli(one, gain, strata).correlation)
