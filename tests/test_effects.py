import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emo_harness.effects import binary_gain, paired_gain, score_interval


def differences(n: int, gained: int, lost: int) -> np.ndarray:
    made = np.zeros(n)
    made[:gained], made[gained : gained + lost] = 1, -1
    return made


def test_t_interval_equals_scipys_one_sample_interval() -> None:
    rng = np.random.default_rng(0)
    arm, base = rng.integers(0, 2, 300).astype(float), rng.integers(0, 2, 300).astype(float)
    gain = paired_gain(arm, base)
    reference = stats.ttest_1samp(arm - base, 0).confidence_interval(0.95)
    assert gain.method == "t"
    assert gain.low_pp == pytest.approx(100 * reference.low)
    assert gain.high_pp == pytest.approx(100 * reference.high)


def test_score_interval_is_asymmetric_around_one_differing_question() -> None:
    low, high = score_interval(differences(44, 1, 0))
    assert low < 0 < 1 / 44 < high
    assert high - 1 / 44 > 1 / 44 - low


def test_score_bounds_are_where_the_score_statistic_equals_z() -> None:
    n, gained, lost = 60, 7, 2
    z = stats.norm.ppf(0.975)
    for delta in score_interval(differences(n, gained, lost)):
        grid = np.linspace(max(0, -delta) + 1e-9, (1 - delta) / 2 - 1e-9, 200_001)
        likelihood = (
            gained * np.log(grid + delta)
            + lost * np.log(grid)
            + (n - gained - lost) * np.log(1 - 2 * grid - delta)
        )
        q = grid[np.argmax(likelihood)]
        statistic = (gained - lost - n * delta) / np.sqrt(n * (2 * q + delta * (1 - delta)))
        assert abs(statistic) == pytest.approx(z, rel=2e-3)


@given(st.lists(st.integers(-22, 22), min_size=2, max_size=60))
def test_intervals_are_never_of_zero_width_and_hold_the_mean(values: list[int]) -> None:
    difference = np.array(values) / 22
    gain = paired_gain(difference, np.zeros(len(values)))
    assert gain.low_pp <= gain.mean_pp + 1e-9 and gain.mean_pp <= gain.high_pp + 1e-9
    assert gain.high_pp - gain.low_pp > 0.1
    assert gain.method == "t" or (gain.low_pp >= -100 - 1e-9 and gain.high_pp <= 100 + 1e-9)


@pytest.mark.parametrize("n", [2, 10, 50, 400])
def test_all_equal_scores_give_a_symmetric_interval_that_shrinks_with_n(n: int) -> None:
    gain = paired_gain(np.ones(n), np.ones(n))
    assert gain.low_pp == pytest.approx(-gain.high_pp)
    assert gain.high_pp == pytest.approx(100 * 1.96**2 / (n + 1.96**2), rel=1e-3)


def test_one_question_has_an_unknown_interval() -> None:
    gain = paired_gain(np.array([1.0]), np.array([0.0]))
    assert gain.method == "none" and np.isnan(gain.low_pp) and np.isnan(gain.high_pp)


@given(st.integers(2, 200), st.data())
def test_gain_from_counts_equals_gain_from_scores(n: int, data: st.DataObject) -> None:
    gained = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - gained))
    arm = np.zeros(n)
    base = np.zeros(n)
    arm[:gained], base[gained : gained + lost] = 1, 1
    assert binary_gain(n, gained, lost) == paired_gain(arm, base)


@pytest.mark.parametrize(
    ("n", "p_gain", "p_loss"),
    [(30, 0.03, 0.03), (200, 0.0, 0.07), (200, 0.1, 0.2), (12, 0.9, 0.05), (15, 0.8, 0.02)],
)
def test_interval_covers_the_truth_at_least_93_percent_of_the_time(
    n: int, p_gain: float, p_loss: float
) -> None:
    rng = np.random.default_rng(5)
    drawn = rng.multinomial(n, [p_gain, p_loss, 1 - p_gain - p_loss], size=2000)
    truth = 100 * (p_gain - p_loss)
    gains = [binary_gain(n, int(b), int(c)) for b, c, _ in drawn]
    assert np.mean([g.low_pp <= truth <= g.high_pp for g in gains]) >= 0.93


def test_unequal_shapes_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="1-dimensional"):
        paired_gain(np.zeros(3), np.zeros(4))


@pytest.mark.parametrize("n", [100, 250])
def test_a_rare_large_loss_beside_small_gains_is_not_ruled_out(n: int) -> None:
    # Means over 22 stimuli: 0.4% of questions lose under all of them, 2.6% gain under one.
    rng = np.random.default_rng(11)
    truth = 100 * (-0.004 + 0.026 / 22)
    draws = rng.choice([-1.0, 1 / 22, 0.0], p=[0.004, 0.026, 0.97], size=(600, n))
    gains = [paired_gain(draw, np.zeros(n)) for draw in draws]
    assert np.mean([g.low_pp <= truth <= g.high_pp for g in gains]) >= 0.93
