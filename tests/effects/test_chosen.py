from __future__ import annotations

import numpy as np
import pytest

from emo_harness.effects import best_stimulus, chosen, paired_gain
from tests.effects.scores import crossed


@pytest.mark.parametrize("worst", [False, True])
def test_only_the_naive_gain_of_the_best_of_equal_stimuli_is_biased(worst: bool) -> None:
    rng = np.random.default_rng(0)
    found = [best_stimulus(*crossed(60, 10, rng), rng, worst=worst) for _ in range(150)]
    sign = -1 if worst else 1
    naive = sign * np.array([one.naive_gain.mean_pp for one in found])
    fitted = sign * np.array([one.gain.mean_pp for one in found])
    se = fitted.std() / np.sqrt(len(fitted))
    assert naive.mean() > 5 and (naive >= fitted.mean() - 60).all()
    assert abs(fitted.mean()) < 3 * se < 3


def test_each_half_is_estimated_with_the_choice_of_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    estimated = []

    def kept(arm, base, strata):
        estimated.append(arm)
        return paired_gain(arm, base, strata)

    monkeypatch.setattr(chosen, "paired_gain", kept)
    rng = np.random.default_rng(1)
    arms, base = rng.random((90, 15)), rng.random(90)
    strata = np.repeat([0, 1, 2], [21, 40, 29])
    found = best_stimulus(arms, base, rng, strata)
    first, second = found.halves
    assert first != second
    in_first = estimated[0] == arms[:, second]
    np.testing.assert_array_equal(estimated[0][~in_first], arms[~in_first, first])
    gains = arms - base[:, None]
    assert gains[in_first].mean(axis=0).argmax() == first
    assert gains[~in_first].mean(axis=0).argmax() == second
    assert gains.mean(axis=0).argmax() == found.naive
    for stratum in range(3):
        here = in_first[strata == stratum]
        assert abs(2 * here.sum() - len(here)) <= 1


def test_a_stimulus_that_is_truly_best_is_chosen_by_both_halves() -> None:
    rng = np.random.default_rng(2)
    arms, base = crossed(300, 6, rng, 0.4, 0.4)
    arms[:, 4] = rng.random(300) < 0.9
    found = best_stimulus(arms, base, rng)
    assert found.halves == (4, 4) and found.naive == 4
    naive = paired_gain(arms[:, 4], base)
    assert found.naive_gain == naive and found.gain.mean_pp == naive.mean_pp
    arms[:, 1] = 0
    assert best_stimulus(arms, base, rng, worst=True).halves == (1, 1)


def test_the_same_seed_halves_alike_and_unscored_questions_are_left_out() -> None:
    arms, base = crossed(80, 5, np.random.default_rng(3))
    one, same = (best_stimulus(arms, base, np.random.default_rng(9)) for _ in range(2))
    assert one == same and one.gain.n == 80
    arms[7, 2] = base[9] = np.nan
    assert best_stimulus(arms, base, np.random.default_rng(9)).gain.n == 78


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_hardly_any_questions_are_no_error(n: int) -> None:
    found = best_stimulus(np.ones((n, 3)), np.ones(n), np.random.default_rng(0))
    assert found.gain.n == n


@pytest.mark.parametrize("arms", [np.ones((20, 1)), np.ones(20)])
def test_one_stimulus_is_no_choice(arms: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least two stimuli"):
        best_stimulus(arms, np.ones(20), np.random.default_rng(0))


def test_its_interval_allows_for_both_halves_having_chosen_by_the_same_luck() -> None:
    rng = np.random.default_rng(3)
    arms, base = crossed(300, 6, rng, 0.4, 0.4)
    found = best_stimulus(arms, base, rng).gain
    plain = paired_gain(arms[:, 0], base)
    widths = [g.high_pp - g.low_pp for g in (found, plain)]
    assert widths[0] > 1.05 * widths[1] and np.isnan(found.p)
    errors = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        arms, base = crossed(120, 8, rng, 0.5, 0.5)
        gain = best_stimulus(arms, base, rng).gain
        errors.append(gain.low_pp <= 0 <= gain.high_pp)
    assert np.mean(errors) >= 0.93 - 3 * 0.015
