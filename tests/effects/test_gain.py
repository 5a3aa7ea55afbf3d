from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from emo_harness.effects import (
    DIFFERING_FOR_T,
    Gain,
    benjamini_hochberg,
    gains_of_counts,
    mcnemar,
    paired_gain,
    tango,
)
from emo_harness.effects.gain import EITHER_WAY_FOR_T, ONE_WAY_FOR_T, stratified_variance
from emo_harness.effects.intervals import t_quantile
from tests.effects.scores import crossed, right_or_wrong

Counts = tuple[int, int, int]


@st.composite
def scores(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arms (n, m), base (n,) and strata (n,), right-or-wrong or graded."""
    n, m = draw(st.integers(2, 90)), draw(st.integers(1, 4))
    steps = draw(st.sampled_from([1, 1, 4]))
    cells = draw(st.lists(st.integers(0, steps), min_size=n * (m + 1), max_size=n * (m + 1)))
    made = np.array(cells).reshape(n, m + 1) / steps
    strata = np.arange(n) % draw(st.integers(1, 5))
    return made[:, :m], made[:, m], strata


def assert_same(one: Gain, other: Gain) -> None:
    assert (one.n, one.n_differing, one.method) == (other.n, other.n_differing, other.method)
    numbers = [(x.mean_pp, x.low_pp, x.high_pp, x.p, x.quantile) for x in (one, other)]
    np.testing.assert_allclose(*numbers, rtol=1e-9, atol=1e-9)


def test_t_interval_and_p_value_are_those_of_scipy_and_statsmodels() -> None:
    rng = np.random.default_rng(0)
    arms, base = crossed(300, 1, rng)
    gain = paired_gain(arms, base)
    difference = arms[:, 0] - base
    reference = stats.ttest_1samp(difference, 0)
    interval = reference.confidence_interval(0.95)
    assert gain.method == "t"
    np.testing.assert_allclose([gain.low_pp, gain.high_pp], 100 * np.array(interval), atol=1e-10)
    np.testing.assert_allclose(
        [gain.low_pp, gain.high_pp],
        100 * np.array(DescrStatsW(difference).tconfint_mean(0.05)),
        atol=1e-10,
    )
    assert gain.p == pytest.approx(reference.pvalue, abs=1e-10)


def test_graded_scores_have_the_same_t() -> None:
    rng = np.random.default_rng(1)
    arm, base = rng.random(200), rng.random(200)
    gain = paired_gain(arm, base, level=0.9)
    interval = stats.ttest_rel(arm, base).confidence_interval(0.9)
    np.testing.assert_allclose([gain.low_pp, gain.high_pp], 100 * np.array(interval), atol=1e-10)


def by_hand(difference: np.ndarray, strata: np.ndarray) -> tuple[float, float]:
    """Variance of a stratified mean and its degrees of freedom, lone questions together."""
    groups = [difference[strata == s] for s in np.unique(strata)]
    alone = [g for g in groups if len(g) == 1]
    groups = [g for g in groups if len(g) > 1] + ([np.concatenate(alone)] if alone else [])
    total = sum(len(g) * np.var(g, ddof=1) for g in groups if len(g) > 1)
    return total / len(difference) ** 2, len(difference) - len(groups)


@pytest.mark.parametrize("lone", [0, 1, 3])
def test_stratified_interval_is_that_of_a_loop_over_strata(lone: int) -> None:
    rng = np.random.default_rng(lone)
    strata = np.concatenate([np.repeat([7, 2, 9], [150, 90, 60]), 100 + np.arange(lone)])
    n = len(strata)
    arm = (rng.random(n) < 0.2 + 0.3 * (strata == 2)).astype(float)
    base = (rng.random(n) < 0.4).astype(float)
    variance, df = by_hand(arm - base, strata)
    np.testing.assert_allclose(stratified_variance(arm - base, strata), (variance, df))
    half = 100 * stats.t.ppf(0.975, df) * math.sqrt(variance)
    gain = paired_gain(arm, base, strata)
    assert gain.method == "t"
    assert gain.low_pp == pytest.approx(gain.mean_pp - half, abs=1e-9)
    assert gain.high_pp == pytest.approx(gain.mean_pp + half, abs=1e-9)
    assert gain.p == pytest.approx(2 * stats.t.sf((arm - base).mean() / variance**0.5, df)) or (
        gain.p == pytest.approx(2 * stats.t.cdf((arm - base).mean() / variance**0.5, df))
    )


def test_a_family_is_one_t_over_question_means_which_is_a_clustered_standard_error() -> None:
    rng = np.random.default_rng(2)
    n, m = 120, 6
    ability = rng.random((n, 1))
    arms = (rng.random((n, m)) < ability).astype(float)
    base = (rng.random(n) < ability[:, 0]).astype(float)
    gain = paired_gain(arms, base)
    interval = stats.ttest_1samp(arms.mean(axis=1) - base, 0).confidence_interval()
    np.testing.assert_allclose([gain.low_pp, gain.high_pp], 100 * np.array(interval), atol=1e-10)
    long = (arms - base[:, None]).ravel()
    fit = sm.OLS(long, np.ones(n * m)).fit(
        cov_type="cluster", cov_kwds={"groups": np.repeat(np.arange(n), m)}
    )
    assert gain.se_pp == pytest.approx(100 * float(fit.bse[0]), abs=1e-10)


@settings(max_examples=30)
@given(scores(), st.randoms(use_true_random=False))
def test_order_of_questions_arms_and_names_of_strata_do_not_matter(
    made: tuple[np.ndarray, np.ndarray, np.ndarray], random: object
) -> None:
    arms, base, strata = made
    rng = np.random.default_rng(len(base))
    questions, columns = rng.permutation(len(base)), rng.permutation(arms.shape[1])
    one = paired_gain(arms, base, strata)
    other = paired_gain(arms[questions][:, columns], base[questions], 50 - 7 * strata[questions])
    exact = one.method in ("t", "score") or np.isin(arms, (0, 1)).all()
    if exact and np.isin(base, (0, 1)).all():
        assert_same(one, other)
    else:
        assert astuple(one)[:2] == astuple(other)[:2]
        assert one.low_pp == pytest.approx(other.low_pp, abs=1e-9)
        assert one.high_pp == pytest.approx(other.high_pp, abs=1e-9)


def test_questions_without_a_score_are_left_out() -> None:
    rng = np.random.default_rng(3)
    arms, base = crossed(80, 3, rng)
    strata = np.repeat([0, 1], 40)
    holed, holed_base = arms.copy(), base.copy()
    holed[5, 1] = holed[5, 2] = holed[50] = np.nan
    holed_base[7] = np.nan
    left = np.setdiff1d(np.arange(80), [5, 7, 50])
    found = paired_gain(holed, holed_base, strata)
    assert found.n == 77
    assert_same(found, paired_gain(arms[left], base[left], strata[left]))


def test_gains_are_in_percentage_points() -> None:
    arm, base = right_or_wrong(8, 3, 1)
    gain = paired_gain(arm, base)
    assert gain.mean_pp == 25 and gain.n == 8 and gain.n_differing == 4


def test_several_base_arms_count_by_their_mean() -> None:
    rng = np.random.default_rng(4)
    arms, _ = crossed(200, 3, rng)
    bases, _ = crossed(200, 2, rng)
    gain = paired_gain(arms, bases)
    interval = stats.ttest_1samp(arms.mean(axis=1) - bases.mean(axis=1), 0).confidence_interval()
    np.testing.assert_allclose([gain.low_pp, gain.high_pp], 100 * np.array(interval), atol=1e-10)


@pytest.mark.parametrize(
    ("arms", "base", "strata", "match"),
    [
        (np.zeros(3), np.zeros(4), None, "of one length"),
        (np.zeros(3), np.zeros(3), np.zeros(2, dtype=np.int64), "of one length"),
        (np.full(3, 1.01), np.zeros(3), None, r"lie in \[0, 1\]"),
        (np.zeros(3), np.full(3, -0.1), None, r"lie in \[0, 1\]"),
        (np.zeros((3, 1, 1)), np.zeros(3), None, "must be"),
    ],
)
def test_scores_that_do_not_fit_are_refused(
    arms: np.ndarray, base: np.ndarray, strata: np.ndarray | None, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        paired_gain(arms, base, strata)


@pytest.mark.parametrize(
    ("gained", "lost", "method"),
    [
        (DIFFERING_FOR_T - 20 - 1, 20, "score"),
        (20, DIFFERING_FOR_T - 20, "t"),
        (EITHER_WAY_FOR_T - 1, DIFFERING_FOR_T, "score"),
        (EITHER_WAY_FOR_T, DIFFERING_FOR_T, "t"),
        (ONE_WAY_FOR_T - 1, 0, "score"),
        (ONE_WAY_FOR_T, 0, "t"),
        (1000 - DIFFERING_FOR_T + 1, 10, "score"),
        (1000 - DIFFERING_FOR_T, 10, "t"),
        (0, 1000 - ONE_WAY_FOR_T + 1, "score"),
    ],
)
def test_the_method_is_chosen_by_questions_off_the_most_common_difference_and_told(
    gained: int, lost: int, method: str
) -> None:
    gain = paired_gain(*right_or_wrong(1000, gained, lost))
    assert gain.method == method
    if method == "score":
        low, high = tango(1000, gained, lost, gain.quantile)
        assert (gain.low_pp, gain.high_pp) == (100 * low, 100 * high)
        assert gain.p == mcnemar(gained, lost)
        assert gain.quantile > stats.norm.ppf(0.975)


def test_means_over_arms_use_the_weighted_score_interval_while_few_differ() -> None:
    rng = np.random.default_rng(5)
    arms, base = crossed(400, 8, rng, 0.0, 0.0)
    assert paired_gain(arms, base).method == "weighted score"
    arms[:10, 0] = 1
    assert paired_gain(arms, base).method == "weighted score"
    arms[:200, 0] = 1
    assert paired_gain(arms, base).method == "t"


@pytest.mark.parametrize("n", [2, 10, 50, 400])
@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("score", [0.0, 1.0])
def test_all_equal_scores_have_an_interval_around_zero_that_shrinks_with_n(
    n: int, m: int, score: float
) -> None:
    gain = paired_gain(np.full((n, m), score), np.full(n, score))
    more = paired_gain(np.full((4 * n, m), score), np.full(4 * n, score))
    assert gain.mean_pp == 0 and gain.p == 1
    assert gain.low_pp == pytest.approx(-gain.high_pp)
    assert 0 < more.high_pp < gain.high_pp < 100


@pytest.mark.parametrize("m", [1, 2])
def test_an_effect_confined_to_whole_subtasks_has_no_interval_of_zero_width(m: int) -> None:
    # One subtask gained throughout, the other never: no variance within either of them.
    arms = np.repeat([[1.0], [0.0]], [100, 100], axis=0) @ np.ones((1, m))
    gain = paired_gain(arms, np.zeros(200), np.repeat([0, 1], 100))
    assert gain.mean_pp == 50
    assert gain.high_pp - gain.low_pp > 5
    assert gain.method == ("score" if m == 1 else "weighted score")
    assert 0 < gain.p < 1e-6


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_questions_are_unknown(n: int) -> None:
    for arms in (np.ones(n), np.ones((n, 3))):
        gain = paired_gain(arms, np.zeros(n))
        assert gain.method == "none" and gain.n == n
        assert math.isnan(gain.low_pp) and math.isnan(gain.high_pp) and math.isnan(gain.p)
        assert math.isnan(gain.mean_pp) if n == 0 else gain.mean_pp == 100


@settings(max_examples=30)
@given(scores(), st.floats(0.5, 0.99))
def test_intervals_hold_the_mean_are_bounded_have_width_and_widen_with_the_level(
    made: tuple[np.ndarray, np.ndarray, np.ndarray], level: float
) -> None:
    gain, wider = (paired_gain(*made, level=x) for x in (level, level + 0.005))
    assert -100 <= gain.low_pp <= gain.mean_pp + 1e-9
    assert gain.mean_pp - 1e-9 <= gain.high_pp <= 100
    assert gain.high_pp - gain.low_pp > 0.1
    assert wider.low_pp <= gain.low_pp + 1e-9 and gain.high_pp <= wider.high_pp + 1e-9
    assert 0 <= gain.p <= 1


@settings(max_examples=30)
@given(scores())
def test_exchanging_arm_and_base_turns_the_gain_round(
    made: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    arms, base, strata = made
    one, other = paired_gain(arms, base, strata), paired_gain(base, arms, strata)
    assert one.mean_pp == pytest.approx(-other.mean_pp, abs=1e-9)
    assert one.low_pp == pytest.approx(-other.high_pp, abs=1e-9)
    assert one.method == other.method


@given(st.lists(st.tuples(*[st.integers(0, 60)] * 3), min_size=1, max_size=5))
def test_gain_from_counts_is_gain_from_scores(counts: list[Counts]) -> None:
    n_h = np.array([sum(c) for c in counts])
    gained, lost = np.array(counts)[:, 0], np.array(counts)[:, 1]
    pairs = [right_or_wrong(int(n), g, b) for n, g, b in zip(n_h, gained, lost, strict=True)]
    arm = np.concatenate([pair[0] for pair in pairs])
    base = np.concatenate([pair[1] for pair in pairs])
    strata = np.repeat(np.arange(len(counts)), n_h)
    with np.errstate(all="ignore"):
        counted = gains_of_counts(n_h[:, None], gained[:, None], lost[:, None])[0]
    scored = paired_gain(arm, base, strata)
    assert_same(counted, scored) if scored.n >= 2 else None
    if scored.method == "t":
        variance, df = stratified_variance(arm - base, strata)
        assert scored.se_pp == pytest.approx(100 * math.sqrt(variance), abs=1e-9)
        assert scored.quantile == pytest.approx(float(t_quantile(0.95, df)))


def test_many_gains_at_once_keep_their_shape_and_place() -> None:
    n, gained, lost = np.full(6, 100), np.arange(6) * 9, np.arange(6)[::-1]
    many = gains_of_counts(n, gained, lost).reshaped((2, 3))
    assert many.p.shape == (2, 3)
    assert many[1, 2] == paired_gain(*right_or_wrong(100, 45, 0))
    assert many[0, 1] == paired_gain(*right_or_wrong(100, 9, 4))
    assert benjamini_hochberg(many.p).shape == (2, 3)


@pytest.mark.parametrize("n", [100, 250])
def test_a_rare_large_loss_beside_small_gains_is_not_ruled_out(n: int) -> None:
    # Means over 22 stimuli: 0.4% of questions lose under all of them, 2.6% gain under one.
    rng = np.random.default_rng(11)
    truth = 100 * (-0.004 + 0.026 / 22)
    draws = rng.choice([-1.0, 1 / 22, 0.0], p=[0.004, 0.026, 0.97], size=(600, n))
    gains = [paired_gain(np.maximum(draw, 0), np.maximum(-draw, 0)) for draw in draws]
    assert np.mean([g.low_pp <= truth <= g.high_pp for g in gains]) >= 0.93
