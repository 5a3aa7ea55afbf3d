from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emo_harness.effects import between_stimuli_variance, paired_gain, two_way_gain
from tests.effects.scores import crossed


def experiment(
    rng: np.random.Generator, n: int, m: int, effect: float = 0.0, spread: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Right-or-wrong scores with a random effect of each stimulus."""
    right = np.clip(0.5 + effect + spread * rng.standard_normal(m), 0, 1)
    return (rng.random((n, m)) < right).astype(float), (rng.random(n) < 0.5).astype(float)


@given(
    st.integers(2, 80),
    st.integers(2, 9),
    st.floats(-0.4, 0.4),
    st.sampled_from([0.0, 0.2]),
    st.integers(0, 99),
)
def test_sentences_like_these_are_never_surer_than_these_sentences(
    n: int, m: int, effect: float, spread: float, seed: int
) -> None:
    arms, base = experiment(np.random.default_rng(seed), n, m, effect, spread)
    strata = np.arange(n) % 3
    these, like = paired_gain(arms, base, strata), two_way_gain(arms, base, strata)
    assert like.mean_pp == these.mean_pp and like.n == these.n
    assert like.low_pp <= these.low_pp + 1e-9 and these.high_pp <= like.high_pp + 1e-9
    assert like.low_pp >= -100 and like.high_pp <= 100
    assert like.method == "two-way t"


@given(st.integers(20, 200), st.integers(2, 9), st.floats(0.1, 0.3), st.integers(0, 99))
def test_p_is_below_5_percent_exactly_where_the_interval_leaves_zero_out(
    n: int, m: int, effect: float, seed: int
) -> None:
    gain = two_way_gain(*experiment(np.random.default_rng(seed), n, m, effect, 0.1))
    assert (gain.p < 0.05) == (gain.low_pp > 0 or gain.high_pp < 0)


def test_p_and_interval_both_ways_occur_and_a_gain_of_zero_has_p_one() -> None:
    rng = np.random.default_rng(0)
    assert two_way_gain(*experiment(rng, 300, 8, 0.3)).p < 0.001
    assert two_way_gain(*experiment(rng, 300, 8, -0.3)).high_pp < 0
    assert two_way_gain(np.ones((30, 4)), np.ones(30)).p == 1


def test_the_interval_is_t_with_the_variances_added() -> None:
    arms, base = experiment(np.random.default_rng(1), 400, 12, 0.1, 0.1)
    these, like = paired_gain(arms, base), two_way_gain(arms, base)
    assert these.method == "t"
    variance = (these.se_pp / 100) ** 2 + between_stimuli_variance(arms, base)
    half = 100 * stats.t.ppf(0.975, 11) * math.sqrt(variance)
    assert like.low_pp == pytest.approx(like.mean_pp - half)
    assert like.high_pp == pytest.approx(like.mean_pp + half)
    statistic = like.mean_pp / 100 / math.sqrt(variance)
    assert like.p == pytest.approx(2 * stats.t.sf(abs(statistic), 11))


@pytest.mark.parametrize(("n", "m", "df"), [(100, 5, 4), (6, 30, 5)])
def test_degrees_of_freedom_are_those_of_the_rarer_factor(n: int, m: int, df: int) -> None:
    gain = two_way_gain(*crossed(n, m, np.random.default_rng(2)), level=0.9)
    assert gain.quantile == pytest.approx(stats.t.ppf(0.95, df))


@pytest.mark.parametrize("arms", [np.ones((50, 1)), np.ones(50), np.ones((1, 5))])
def test_one_stimulus_or_one_question_leaves_the_population_unknown(arms: np.ndarray) -> None:
    gain = two_way_gain(arms, np.zeros(len(arms)))
    assert gain.method == "none" and gain.mean_pp == 100
    assert math.isnan(gain.low_pp) and math.isnan(gain.p)
    assert math.isnan(between_stimuli_variance(np.ones((50, 1)), np.zeros(50)))


def test_variance_between_stimuli_is_right_on_average() -> None:
    rng = np.random.default_rng(3)
    n, m, spread = 60, 6, 0.1
    found = []
    for _ in range(600):
        appeal = rng.uniform(-spread, spread, m)
        ability = rng.uniform(-0.1, 0.1, (n, 1))
        arms = 0.5 + appeal + ability + rng.uniform(-0.3, 0.3, (n, m))
        found.append(between_stimuli_variance(arms, np.full(n, 0.5) + ability[:, 0]))
    truth = spread**2 / 3 / m
    assert np.mean(found) == pytest.approx(truth, abs=3 * np.std(found) / math.sqrt(600))


def test_stimuli_that_do_not_differ_add_nothing_but_chance() -> None:
    arms = np.repeat(np.random.default_rng(4).integers(0, 2, (100, 1)), 7, axis=1).astype(float)
    assert between_stimuli_variance(arms, np.zeros(100)) == 0


def test_unscored_questions_are_left_out_of_the_variance_between_stimuli() -> None:
    arms, base = experiment(np.random.default_rng(5), 50, 5, 0.0, 0.3)
    holed = arms.copy()
    holed[3, 2] = np.nan
    assert between_stimuli_variance(holed, base) == pytest.approx(
        between_stimuli_variance(np.delete(arms, 3, axis=0), np.delete(base, 3))
    )
