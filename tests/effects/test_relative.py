from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from emo_harness.effects import paired_gain, relative_gain
from tests.effects.scores import right_or_wrong


def fieller_by_grid(arm: np.ndarray, control: np.ndarray, level: float) -> tuple[float, float]:
    """Per cent: ends of the ratios r for which a t test does not reject mean(arm - r control)."""
    ratios = np.linspace(0, 3, 60_001)
    products = np.cov(arm, control) / len(arm)
    means = arm.mean() - ratios * control.mean()
    variance = products[0, 0] - 2 * ratios * products[0, 1] + ratios**2 * products[1, 1]
    t = stats.t.ppf((1 + level) / 2, len(arm) - 1)
    kept = ratios[means**2 <= t**2 * variance]
    return 100 * (kept[0] - 1), 100 * (kept[-1] - 1)


def graded(seed: int, n: int = 200, mean: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    control = rng.beta(2, 2 / mean - 2, n)
    return np.clip(control + rng.normal(0.03, 0.3, n), 0, 1), control


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_is_that_of_inverted_t_tests_or_the_gains_over_control(
    seed: int, level: float
) -> None:
    arm, control = graded(seed)
    found = relative_gain(arm, control, level=level)
    low, high = fieller_by_grid(arm, control, level)
    gain = paired_gain(arm, control, level=level)
    assert found.percent == pytest.approx(100 * (arm.mean() / control.mean() - 1))
    assert found.low_percent == pytest.approx(min(low, gain.low_pp / control.mean()), abs=0.006)
    assert found.high_percent == pytest.approx(max(high, gain.high_pp / control.mean()), abs=0.006)


def test_fiellers_interval_is_near_the_delta_methods_where_control_is_sure() -> None:
    arm, control = graded(0, 20_000, 0.6)
    ratio = arm.mean() / control.mean()
    se = np.std(arm - ratio * control) / control.mean() / np.sqrt(len(arm))
    found = relative_gain(arm, control)
    assert found.low_percent == pytest.approx(100 * (ratio - 1 - 1.96 * se), abs=0.2)
    assert found.high_percent == pytest.approx(100 * (ratio - 1 + 1.96 * se), abs=0.2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("right", [0.3, 0.9])
def test_it_is_never_narrower_than_the_gains_interval_over_control(seed: int, right: float) -> None:
    rng = np.random.default_rng(seed)
    control = (rng.random(60) < right).astype(float)
    arm = np.where(rng.random(60) < 0.03, 1 - control, control)
    strata = np.arange(60) % 2
    found, gain = relative_gain(arm, control, strata), paired_gain(arm, control, strata)
    assert not found.refused
    assert found.low_percent <= gain.low_pp / control.mean() < 0
    assert found.high_percent >= gain.high_pp / control.mean() > 0


@pytest.mark.parametrize("n_right", [0, 1, 3])
def test_a_control_of_about_zero_is_refused_with_the_reason(n_right: int) -> None:
    control, _ = right_or_wrong(100, n_right, 0)
    found = relative_gain(np.full(100, 0.5), control)
    assert "touches zero" in found.refused
    assert np.isnan([found.percent, found.low_percent, found.high_percent]).all()


def test_a_control_that_never_varies_is_no_reason_to_refuse() -> None:
    found = relative_gain(right_or_wrong(50, 40, 0)[0], np.ones(50))
    assert found.percent == pytest.approx(-20) and not found.refused


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_questions_are_refused(n: int) -> None:
    assert relative_gain(np.ones(n), np.ones(n)).refused == "fewer than two questions"


def test_unscored_questions_are_left_out() -> None:
    arm, control = graded(1)
    holed = arm.copy()
    holed[3] = np.nan
    assert relative_gain(holed, control) == relative_gain(np.delete(arm, 3), np.delete(control, 3))
