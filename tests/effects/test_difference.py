from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emo_harness.effects import difference_of_gains, paired_gain
from tests.effects.scores import crossed


@given(st.integers(2, 120), st.integers(1, 4), st.sampled_from([0.02, 0.5]), st.integers(0, 99))
def test_exchanging_the_runs_turns_the_difference_round(
    n: int, m: int, right: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    one, other = crossed(n, m, rng, right, right), crossed(n, m, rng, right, right)
    found = difference_of_gains(*one, *other)
    turned = difference_of_gains(*other, *one)
    assert found.mean_pp == pytest.approx(-turned.mean_pp)
    assert found.low_pp == pytest.approx(-turned.high_pp)
    assert found.high_pp == pytest.approx(-turned.low_pp)
    assert (found.method, found.n) == (turned.method, turned.n)
    assert found.p == pytest.approx(turned.p)
    gains = paired_gain(*one).mean_pp - paired_gain(*other).mean_pp
    assert found.mean_pp == pytest.approx(gains, abs=1e-9)
    assert found.low_pp < found.mean_pp + 1e-9 and found.mean_pp - 1e-9 < found.high_pp


def test_equal_runs_differ_by_zero_but_not_for_sure() -> None:
    run = crossed(100, 3, np.random.default_rng(0))
    found = difference_of_gains(*run, *run)
    assert found.mean_pp == 0 and found.p == 1
    assert found.low_pp < 0 < found.high_pp


def test_the_interval_is_t_over_questions_in_percentage_points() -> None:
    rng = np.random.default_rng(1)
    (arms, base), (other_arms, other_base) = crossed(300, 4, rng), crossed(300, 4, rng)
    found = difference_of_gains(arms, base, other_arms, other_base, level=0.9)
    by_question = (arms.mean(axis=1) - base) - (other_arms.mean(axis=1) - other_base)
    reference = stats.ttest_1samp(by_question, 0)
    interval = reference.confidence_interval(0.9)
    np.testing.assert_allclose([found.low_pp, found.high_pp], 100 * np.array(interval), atol=1e-9)
    assert found.p == pytest.approx(reference.pvalue)


def test_pairing_by_question_narrows_the_difference_of_like_runs() -> None:
    rng = np.random.default_rng(2)
    arms, base = crossed(400, 1, rng)
    other = np.where(rng.random((400, 1)) < 0.1, 1 - arms, arms)
    other_base = np.where(rng.random(400) < 0.1, 1 - base, base)
    found = difference_of_gains(arms, base, other, other_base)
    shuffled = rng.permutation(400)
    unpaired = difference_of_gains(arms, base, other[shuffled], other_base[shuffled])
    assert found.se_pp < 0.7 * unpaired.se_pp


def test_questions_without_a_score_in_either_run_are_left_out() -> None:
    run = crossed(50, 2, np.random.default_rng(3))
    holed = (run[0].copy(), run[1].copy())
    holed[0][4, 1] = holed[1][6] = np.nan
    assert difference_of_gains(*run, *holed).n == 48
